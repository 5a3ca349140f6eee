//! The head of a request (RFC 9112 §3, §5).
//!
//! Never looks behind the empty line, never keeps a byte of the wire except a path it had to
//! normalise. Invariant: `Ok(Some(n))` means that every rule of this crate about a request's head
//! holds for the first `n` bytes.

use std::fmt;

use crate::authority;
use crate::bytes::{self, TOKEN};
use crate::connection::ConnectionOptions;
use crate::field::{FieldId, bit};
use crate::fields::Fields;
use crate::framing::BodyFraming;
use crate::h1::framing::{FramingError, Lengths};
use crate::h1::lines::{LineError, Progress, Window};
use crate::limits::Limits;
use crate::method::Method;
use crate::path::PathError;
use crate::span::Span;
use crate::target::{Target, TargetError};
use crate::version::{self, Version};

/// Longest method, in bytes. The longest registered one has 17.
pub const METHOD_BYTES_MAX: usize = 64;

/// Whether a request asks to leave HTTP (RFC 9110 §7.8).
#[derive(Debug, Copy, Clone, Default, PartialEq, Eq)]
pub enum Upgrade {
    /// It does not, or not in a way that is offered to the origin.
    #[default]
    None,
    /// GET with `Upgrade: websocket`.
    Websocket,
    /// Another protocol than HTTP itself.
    Other,
}

/// A request's head. One struct serves all requests of a connection.
#[derive(Debug, Default)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The version the client speaks.
    pub version: Version,
    /// The fields. Those of the connection and of the framing are parsed, but not kept.
    pub fields: Fields,
    /// Where the body ends.
    pub framing: BodyFraming,
    /// Whether the client wants to send more requests after this one.
    pub keep_alive: bool,
    /// Whether the client waits for a 100 before it sends the body.
    pub expect_continue: bool,
    /// Whether it asks for another protocol.
    pub upgrade: Upgrade,
    /// Whether the client takes trailers (`TE: trailers`).
    pub te_trailers: bool,
    pub(crate) nominates: bool,
    pub(crate) upgrade_value: Span,
    method_token: Span,
    target: Target,
    host: Span,
    progress: Progress,
    stage: Stage,
}

#[derive(Debug, Copy, Clone, Default)]
enum Stage {
    #[default]
    StartLine,
    Fields,
    Done,
    Failed(RequestError),
}

impl RequestHead {
    /// An empty head.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes ready for another message. Keeps the memory.
    pub fn reset(&mut self) {
        self.fields.clear();
        self.target.reset();
        self.framing = BodyFraming::None;
        self.keep_alive = false;
        self.expect_continue = false;
        self.upgrade = Upgrade::None;
        self.te_trailers = false;
        self.nominates = false;
        self.host = Span::default();
        self.progress = Progress::default();
        self.stage = Stage::StartLine;
    }

    /// Fed the bytes received so far, always from the message's first. `Ok(Some(n))`: the head
    /// takes `n` bytes. `Ok(None)`: more are needed; what was judged is not judged again.
    ///
    /// # Errors
    /// The head is refused for good: answer with the error's status and close.
    #[inline]
    pub fn parse(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, RequestError> {
        match self.stage {
            Stage::Done => return Ok(Some(self.progress.at)),
            Stage::Failed(error) => return Err(error),
            Stage::StartLine | Stage::Fields => {}
        }
        let result = self.advance(bytes, limits);
        match result {
            Ok(Some(_)) => self.stage = Stage::Done,
            Ok(None) => {}
            Err(error) => self.stage = Stage::Failed(error),
        }
        result
    }

    #[inline]
    fn advance(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, RequestError> {
        let mut window = Window::default();
        if let Stage::StartLine = self.stage {
            // RFC 9112 §2.2: one empty line before the request is a relic of old clients.
            if self.progress.at == 0 {
                match bytes {
                    [] | [b'\r'] => return Ok(None),
                    [b'\r', b'\n', ..] => self.progress = Progress::restart(2),
                    _ => {}
                }
            }
            let start = self.progress.at;
            match self.progress.start_line(bytes, &mut window, limits)? {
                Some(line) => self.request_line(bytes, line, limits)?,
                None => return unfinished_line(&bytes[start..], limits),
            }
            self.stage = Stage::Fields;
        }
        if !self
            .progress
            .field_lines(bytes, &mut window, limits, &mut self.fields)?
        {
            return Ok(None);
        }
        self.judge(bytes)?;
        Ok(Some(self.progress.at))
    }

    #[inline]
    fn request_line(
        &mut self,
        bytes: &[u8],
        line: Span,
        limits: &Limits,
    ) -> Result<(), RequestError> {
        let text = line.of(bytes);
        let method_len = text
            .iter()
            .position(|&b| !bytes::is(b, TOKEN))
            .ok_or(RequestError::RequestLine)?;
        if method_len == 0 || method_len > METHOD_BYTES_MAX || text[method_len] != b' ' {
            return Err(RequestError::Method);
        }
        if text.len() > method_len + limits.target_bytes + b"  HTTP/1.1".len() {
            return Err(RequestError::TargetTooLong);
        }
        let [target @ .., b' '] =
            &text[method_len + 1..text.len().saturating_sub(8).max(method_len + 1)]
        else {
            return Err(RequestError::RequestLine);
        };
        self.version = version::parse(&text[text.len() - 8..]).map_err(|known| {
            if known {
                RequestError::Version
            } else {
                RequestError::RequestLine
            }
        })?;
        self.method = Method::of(&text[..method_len]);
        self.method_token = Span::new(line.start(), line.start() + method_len);
        if self.method == Method::Connect {
            return Err(RequestError::Connect);
        }
        let start = line.start() + method_len + 1;
        self.target
            .parse(bytes, Span::new(start, start + target.len()), self.method)
            .map_err(RequestError::Target)
    }

    /// The rules about fields taken together.
    #[inline]
    fn judge(&mut self, bytes: &[u8]) -> Result<(), RequestError> {
        let mut lengths = Lengths::default();
        let mut options = ConnectionOptions::default();
        let mut host = None;
        let mut expects = false;
        for field in &self.fields.list {
            match field.id {
                FieldId::Host if host.replace(field.value).is_some() => {
                    return Err(RequestError::DuplicateHost);
                }
                FieldId::ContentLength => lengths.content_length(field, bytes)?,
                FieldId::TransferEncoding => lengths.transfer_encoding(field, bytes)?,
                FieldId::Connection if !options.add(field.value.of(bytes)) => {
                    return Err(RequestError::Connection);
                }
                FieldId::Te => {
                    self.te_trailers |= bytes::list(field.value.of(bytes))
                        .any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
                }
                FieldId::Expect => {
                    // RFC 9110 §10.1.1: only 100-continue is defined.
                    if !field.value.of(bytes).eq_ignore_ascii_case(b"100-continue") {
                        return Err(RequestError::Expect);
                    }
                    expects = true;
                }
                _ => {}
            }
        }
        lengths.check(self.version)?;
        self.framing = match lengths.length {
            Some(length) => BodyFraming::Length(length),
            None if lengths.chunked => BodyFraming::Chunked,
            None => BodyFraming::None,
        };
        self.keep_alive = match self.version {
            Version::H11 => !options.close,
            Version::H10 => options.keep_alive && !options.close,
        };
        self.nominates = options.nominates;
        // RFC 9110 §10.1.1: ignored in 1.0, and without a body there is nothing to wait for.
        self.expect_continue = expects && self.version == Version::H11 && !self.framing.is_empty();
        if expects && !self.expect_continue {
            self.fields.remove_id(FieldId::Expect);
        }
        if options.upgrade && self.fields.saw(bit(FieldId::Upgrade)) {
            self.judge_upgrade(bytes);
        }
        self.judge_host(bytes, host)
    }

    /// RFC 9112 §3.2: exactly one Host in 1.1; an absolute target has to agree with it.
    #[inline]
    fn judge_host(&mut self, bytes: &[u8], host: Option<Span>) -> Result<(), RequestError> {
        match (host, self.target.authority()) {
            (Some(host), authority) => {
                if !authority::is_valid(host.of(bytes)) {
                    return Err(RequestError::Host);
                }
                if let Some(authority) = authority
                    && !authority.of(bytes).eq_ignore_ascii_case(host.of(bytes))
                {
                    return Err(RequestError::HostMismatch);
                }
                self.host = host;
            }
            (None, _) if self.version == Version::H11 => return Err(RequestError::HostMissing),
            (None, Some(authority)) => self.host = authority,
            (None, None) => {}
        }
        Ok(())
    }

    /// An upgrade is offered when it is the only one asked for, and no body comes before it.
    #[cold]
    fn judge_upgrade(&mut self, bytes: &[u8]) {
        let mut lines = self
            .fields
            .list
            .iter()
            .filter(|field| field.id == FieldId::Upgrade);
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return;
        };
        if self.version == Version::H10 || !self.framing.is_empty() {
            return;
        }
        let value = line.value.of(bytes);
        let mut protocols = bytes::list(value);
        let (Some(protocol), None) = (protocols.next(), protocols.next()) else {
            return;
        };
        let (name, version) = match protocol.iter().position(|&b| b == b'/') {
            Some(slash) => (&protocol[..slash], Some(&protocol[slash + 1..])),
            None => (protocol, None),
        };
        // h2c would carry requests past every rule of this proxy (RFC 9113 §3.1 drops it).
        if !bytes::is_token(name)
            || !version.is_none_or(bytes::is_token)
            || name.eq_ignore_ascii_case(b"h2c")
            || name.eq_ignore_ascii_case(b"HTTP")
        {
            return;
        }
        self.upgrade_value = line.value;
        self.upgrade = if !value.eq_ignore_ascii_case(b"websocket") {
            Upgrade::Other
        } else if self.method == Method::Get {
            Upgrade::Websocket
        } else {
            Upgrade::None
        };
    }

    /// The method as it was sent.
    #[must_use]
    pub fn method_bytes<'a>(&'a self, bytes: &'a [u8]) -> &'a [u8] {
        match self.method {
            Method::Other => self.method_token.of(bytes),
            known => known.as_bytes(),
        }
    }

    /// The normalised path, which routes and is forwarded; `*` for `OPTIONS *`.
    #[must_use]
    #[inline]
    pub fn path<'a>(&'a self, bytes: &'a [u8]) -> &'a [u8] {
        self.target.path(bytes)
    }

    /// The query without its `?`.
    #[must_use]
    #[inline]
    pub fn query<'a>(&'a self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        self.target.query_span().map(|span| span.of(bytes))
    }

    /// The authority as it was sent; empty for a 1.0 request without one.
    #[must_use]
    #[inline]
    pub fn host<'a>(&'a self, bytes: &'a [u8]) -> &'a [u8] {
        self.host.of(bytes)
    }

    /// The host without port and root dot, brackets of IPv6 kept. Compare without case.
    #[must_use]
    #[inline]
    pub fn host_name<'a>(&'a self, bytes: &'a [u8]) -> &'a [u8] {
        authority::name(self.host.of(bytes))
    }

    pub(crate) fn host_span(&self) -> Span {
        self.host
    }

    /// The protocol asked for; empty without an upgrade.
    #[must_use]
    pub fn upgrade_protocol<'a>(&'a self, bytes: &'a [u8]) -> &'a [u8] {
        match self.upgrade {
            Upgrade::None => b"",
            Upgrade::Websocket | Upgrade::Other => self.upgrade_value.of(bytes),
        }
    }
}

/// A start line that has no end yet: what can never become one is refused at once, so that a TLS
/// hello on a plain port is answered and not waited on.
#[cold]
fn unfinished_line(line: &[u8], limits: &Limits) -> Result<Option<usize>, RequestError> {
    match line {
        [] | [b'\r'] => return Ok(None),
        [b, ..] if !bytes::is(*b, TOKEN) => return Err(RequestError::Method),
        _ => {}
    }
    let longest = METHOD_BYTES_MAX + limits.target_bytes + b"  HTTP/1.1\r".len();
    if line.len() > longest {
        return Err(RequestError::TargetTooLong);
    }
    Ok(None)
}

/// Why a request is refused.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum RequestError {
    /// A line is malformed, or there are too many.
    Line(LineError),
    /// Not a method, a target and a version with single spaces between.
    RequestLine,
    /// The method is no token, or over `METHOD_BYTES_MAX`.
    Method,
    /// CONNECT, which is off.
    Connect,
    /// The target is over `Limits::target_bytes`.
    TargetTooLong,
    /// The target has no single meaning.
    Target(TargetError),
    /// Another version than 1.0 and 1.1.
    Version,
    /// The body's length is not certain.
    Framing(FramingError),
    /// HTTP/1.1 without Host.
    HostMissing,
    /// More than one Host line.
    DuplicateHost,
    /// Host is no host and port.
    Host,
    /// Host and the target's authority differ.
    HostMismatch,
    /// Connection holds something that is no token, or too many.
    Connection,
    /// An expectation other than `100-continue`.
    Expect,
}

impl RequestError {
    /// The status to answer with.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Line(LineError::HeadTooLarge | LineError::TooManyFields) => 431,
            Self::TargetTooLong => 414,
            Self::Connect => 405,
            Self::Version => 505,
            Self::Expect => 417,
            Self::Framing(FramingError::UnknownTransferCoding) => 501,
            _ => 400,
        }
    }

    /// A short name for the log.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Line(error) => error.reason(),
            Self::Framing(error) => error.reason(),
            Self::RequestLine => "bad_request_line",
            Self::Method => "bad_method",
            Self::Connect => "connect_off",
            Self::TargetTooLong => "target_too_long",
            Self::Target(TargetError::Form) => "bad_target_form",
            Self::Target(TargetError::BadByte) => "bad_target_byte",
            Self::Target(TargetError::Authority) => "bad_target_authority",
            Self::Target(TargetError::Path(error)) => match error {
                PathError::BadByte => "bad_path_byte",
                PathError::BadEscape => "bad_path_escape",
                PathError::EscapedControl => "escaped_control_in_path",
                PathError::AboveRoot => "path_above_root",
                PathError::HiddenDotSegment => "hidden_dot_segment",
            },
            Self::Version => "version_not_supported",
            Self::HostMissing => "host_missing",
            Self::DuplicateHost => "duplicate_host",
            Self::Host => "bad_host",
            Self::HostMismatch => "host_mismatch",
            Self::Connection => "bad_connection",
            Self::Expect => "unknown_expectation",
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for RequestError {}

impl From<LineError> for RequestError {
    fn from(error: LineError) -> Self {
        Self::Line(error)
    }
}

impl From<FramingError> for RequestError {
    fn from(error: FramingError) -> Self {
        Self::Framing(error)
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
