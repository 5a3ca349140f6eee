//! Heads, written anew from what was parsed.
//!
//! Never copies a line that was not judged: neighbours are copied in one piece only where each
//! was found to lie exactly as it would be written (`Field::canonical`).
//! Invariant: the framing fields and Connection come from the arguments alone.

use crate::bytes::push_decimal;
use crate::fields::{Fields, Source};
use crate::framing::BodyFraming;
use crate::h1::request::RequestHead;
use crate::h1::response::ResponseHead;
use crate::version::Version;

/// A request target for the origin: its base joined with the request's path and query.
#[derive(Debug, Copy, Clone, Default)]
pub struct Target<'a> {
    /// Before the path: empty, or begins with a slash and does not end with one.
    pub prefix: &'a [u8],
    /// The path, or `*`.
    pub path: &'a [u8],
    /// The base's own query, before the request's; empty for none.
    pub base_query: &'a [u8],
    /// The request's query.
    pub query: Option<&'a [u8]>,
}

/// What Connection is to say.
#[derive(Debug, Copy, Clone, Default, PartialEq, Eq)]
pub enum ConnectionField<'a> {
    /// Nothing: the connection is kept, as 1.1 does by itself.
    #[default]
    KeepAliveImplied,
    /// `keep-alive`, for a peer that speaks 1.0.
    KeepAlive10,
    /// `close`
    Close,
    /// `upgrade`, with this protocol in Upgrade.
    Upgrade(&'a [u8]),
}

/// Appends a request's head. Written as HTTP/1.1 always: that is what this hop speaks.
pub fn request_head(
    head: &RequestHead,
    bytes: &[u8],
    target: Target<'_>,
    framing: BodyFraming,
    connection: ConnectionField<'_>,
    out: &mut Vec<u8>,
) {
    // Most heads grow by the forwarding fields, and those are counted in `extra`.
    out.reserve(bytes.len() + head.fields.extra.len() + target.prefix.len() + 256);
    out.extend_from_slice(head.method_bytes(bytes));
    out.push(b' ');
    if target.path != b"*" {
        out.extend_from_slice(target.prefix);
    }
    out.extend_from_slice(target.path);
    if !target.base_query.is_empty() || target.query.is_some() {
        out.push(b'?');
        out.extend_from_slice(target.base_query);
        if let Some(query) = target.query {
            if !target.base_query.is_empty() && !query.is_empty() {
                out.push(b'&');
            }
            out.extend_from_slice(query);
        }
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    fields(&head.fields, bytes, None, out);
    if head.te_trailers {
        out.extend_from_slice(b"te: trailers\r\n");
    }
    framing_field(framing, out);
    connection_field(connection, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends a response's head. `framing` is how the body goes out, which need not be how it came:
/// `Chunked` becomes `UntilClose` for a client of `Version::H10`.
pub fn response_head(
    head: &ResponseHead,
    bytes: &[u8],
    client_version: Version,
    framing: BodyFraming,
    connection: ConnectionField<'_>,
    out: &mut Vec<u8>,
) {
    out.reserve(bytes.len() + head.fields.extra.len() + 128);
    let mut run = None;
    match head.canonical_line {
        Some(line) => run = Some((line.start(), line.end() + 2)),
        None => {
            out.extend_from_slice(b"HTTP/1.1 ");
            push_decimal(u64::from(head.status), out);
            out.push(b' ');
            match head.reason_phrase(bytes) {
                b"" => out.extend_from_slice(reason_phrase(head.status).as_bytes()),
                phrase => out.extend_from_slice(phrase),
            }
            out.extend_from_slice(b"\r\n");
        }
    }
    fields(&head.fields, bytes, run, out);
    let framing = match framing {
        BodyFraming::Chunked if client_version == Version::H10 => BodyFraming::UntilClose,
        // The length of what HEAD would have got is worth telling; 1xx and 204 must not have one
        // (RFC 9110 §8.6).
        BodyFraming::None if head.status >= 200 && head.status != 204 => {
            head.content_length.map_or(framing, BodyFraming::Length)
        }
        _ => framing,
    };
    framing_field(framing, out);
    connection_field(connection, out);
    out.extend_from_slice(b"\r\n");
}

/// A response of the proxy's own: error pages, fixed answers, redirects.
#[derive(Debug, Copy, Clone, Default)]
pub struct SimpleResponse<'a> {
    /// The status.
    pub status: u16,
    /// Content-Type; empty for none.
    pub content_type: &'a [u8],
    /// The body; not written with `head_only`, but its length is.
    pub body: &'a [u8],
    /// More fields, valid names and values.
    pub fields: &'a [(&'a [u8], &'a [u8])],
    /// What Connection says.
    pub connection: ConnectionField<'a>,
    /// Date, formatted; empty for none.
    pub date: &'a [u8],
    /// The request was HEAD.
    pub head_only: bool,
}

/// Appends a response of the proxy's own, body included.
pub fn simple_response(response: &SimpleResponse<'_>, out: &mut Vec<u8>) {
    out.reserve(response.body.len() + 512);
    out.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(u64::from(response.status), out);
    out.push(b' ');
    out.extend_from_slice(reason_phrase(response.status).as_bytes());
    out.extend_from_slice(b"\r\n");
    if !response.date.is_empty() {
        field(b"date", response.date, out);
    }
    if !response.content_type.is_empty() {
        field(b"content-type", response.content_type, out);
    }
    for (name, value) in response.fields {
        field(name, value, out);
    }
    let bodiless = response.status < 200 || matches!(response.status, 204 | 304);
    if !bodiless {
        framing_field(BodyFraming::Length(response.body.len() as u64), out);
    }
    connection_field(response.connection, out);
    out.extend_from_slice(b"\r\n");
    if !bodiless && !response.head_only {
        out.extend_from_slice(response.body);
    }
}

/// Appends one field line.
#[inline]
pub(crate) fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends the kept fields. `run` is a piece of `bytes` that goes before them.
#[inline]
fn fields(fields: &Fields, bytes: &[u8], run: Option<(usize, usize)>, out: &mut Vec<u8>) {
    let (mut start, mut end) = run.unwrap_or_default();
    for one in fields.kept() {
        if one.source == Source::Extra && fields.extra_whole {
            continue;
        }
        if one.source == Source::Wire && one.canonical {
            if one.name.start() != end {
                out.extend_from_slice(&bytes[start..end]);
                start = one.name.start();
            }
            end = one.value.end() + 2;
            continue;
        }
        out.extend_from_slice(&bytes[start..end]);
        (start, end) = (0, 0);
        field(fields.name(one, bytes), fields.value(one, bytes), out);
    }
    out.extend_from_slice(&bytes[start..end]);
    if fields.extra_whole {
        out.extend_from_slice(&fields.extra);
    }
}

#[inline]
fn framing_field(framing: BodyFraming, out: &mut Vec<u8>) {
    match framing {
        BodyFraming::None | BodyFraming::UntilClose => {}
        BodyFraming::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            push_decimal(length, out);
            out.extend_from_slice(b"\r\n");
        }
        BodyFraming::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
}

#[inline]
fn connection_field(connection: ConnectionField<'_>, out: &mut Vec<u8>) {
    match connection {
        ConnectionField::KeepAliveImplied => {}
        ConnectionField::KeepAlive10 => out.extend_from_slice(b"connection: keep-alive\r\n"),
        ConnectionField::Close => out.extend_from_slice(b"connection: close\r\n"),
        ConnectionField::Upgrade(protocol) => {
            out.extend_from_slice(b"connection: upgrade\r\n");
            field(b"upgrade", protocol, out);
        }
    }
}

/// The usual phrase for a status (RFC 9110 §15); empty for an unknown one.
#[must_use]
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "",
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
