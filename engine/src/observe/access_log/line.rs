//! One line of the access log, as JSON or as text.
//!
//! What a client chose (method, path, user agent, request id) is bounded and escaped: a line has one line feed, at its
//! end, and no control character, so that nobody writes lines for others or sequences for terminals. A query, a cookie,
//! a credential or a body never gets here.
//! Invariant: appending allocates only where the batch's space runs out.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::observe::Format;
use crate::observe::date::{CommonLogCache, Rfc3339Cache};

/// Bytes of a path that are logged.
pub const PATH_BYTES_MAX: usize = 2048;
/// Bytes of a user agent that are logged.
pub const USER_AGENT_BYTES_MAX: usize = 512;
/// Bytes of any other text that are logged.
pub const TEXT_BYTES_MAX: usize = 256;

/// Bytes that are looked at together: what a vector register holds on every x86-64 and ARM64.
const BLOCK_BYTES: usize = 16;

/// One request, from its head to its end.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// When it was over, milliseconds since 1970.
    pub unix_millis: u64,
    /// The method as on the wire; empty where the head could not be read.
    pub method: &'a [u8],
    /// The path as the client sent it. What follows a `?` or `#` is left out.
    pub path: &'a [u8],
    /// The status sent, or 499, 408, 400 for what ended without one.
    pub status: u16,
    /// Bytes of the body sent to the client.
    pub bytes: u64,
    /// From the first byte of the head to the end.
    pub duration: Duration,
    /// The client: its address and port (RFC 6302 asks for the port as well).
    pub remote: SocketAddr,
    /// The User-Agent field.
    pub user_agent: Option<&'a [u8]>,
    /// The request's id.
    pub request_id: &'a [u8],
    /// The route's name.
    pub route: Option<&'a str>,
    /// The upstream's name.
    pub upstream: Option<&'a str>,
    /// The endpoint's authority.
    pub endpoint: Option<&'a str>,
    /// Times the request was sent to an origin.
    pub attempts: u32,
    /// `HTTP/1.1`, `HTTP/1.0` or `HTTP/2`.
    pub protocol: &'a str,
    /// The TLS version towards the client; `None`: in clear.
    pub tls: Option<&'a str>,
    /// Whether the last attempt went over a kept connection; `None`: there was no attempt.
    pub reused: Option<bool>,
    /// How long each phase took.
    pub phases: Phases,
    /// What went wrong, by its name in the table of failures.
    pub error: Option<&'a str>,
}

/// Where a request's time went; `None` for a phase it did not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases {
    /// Resolving the origin's name.
    pub dns: Option<Duration>,
    /// Connecting.
    pub connect: Option<Duration>,
    /// The TLS handshake with the origin.
    pub tls: Option<Duration>,
    /// Waiting for a connection of the pool.
    pub queue: Option<Duration>,
    /// Writing the head.
    pub head_sent: Option<Duration>,
    /// From the head written to the answer's first byte.
    pub first_byte: Option<Duration>,
}

/// Writes lines of one format.
#[derive(Debug)]
pub struct Lines {
    format: Format,
    dates: Dates,
}

impl Lines {
    /// Of this format.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            dates: Dates::default(),
        }
    }

    /// Appends `record` as a line, with its line feed.
    pub fn append(&mut self, to: &mut Vec<u8>, record: &Record<'_>) {
        match self.format {
            Format::Json => append_json(to, record, &mut self.dates),
            Format::Text => append_text(to, record, &mut self.dates),
        }
    }
}

/// Dates of the lines, cached for a second.
#[derive(Debug, Default)]
struct Dates {
    rfc3339: Rfc3339Cache,
    common_log: CommonLogCache,
}

/// Appends `record` as one JSON object and a line feed. Every key is in every line; what does not apply is `null`.
fn append_json(line: &mut Vec<u8>, record: &Record<'_>, dates: &mut Dates) {
    line.extend_from_slice(b"{\"time\":\"");
    line.extend_from_slice(dates.rfc3339.text(record.unix_millis));
    line.extend_from_slice(b"\",\"method\":");
    quoted(line, record.method, TEXT_BYTES_MAX);
    line.extend_from_slice(b",\"path\":");
    quoted(line, without_query(record.path), PATH_BYTES_MAX);
    line.extend_from_slice(b",\"status\":");
    decimal(line, u64::from(record.status));
    line.extend_from_slice(b",\"bytes\":");
    decimal(line, record.bytes);
    line.extend_from_slice(b",\"duration_ms\":");
    millis(line, record.duration);
    line.extend_from_slice(b",\"remote\":\"");
    address(line, record.remote);
    line.extend_from_slice(b"\",\"ua\":");
    quoted_or_null(line, record.user_agent, USER_AGENT_BYTES_MAX);
    line.extend_from_slice(b",\"request_id\":");
    quoted(line, record.request_id, TEXT_BYTES_MAX);
    line.extend_from_slice(b",\"route\":");
    text_or_null(line, record.route);
    line.extend_from_slice(b",\"upstream\":");
    text_or_null(line, record.upstream);
    line.extend_from_slice(b",\"endpoint\":");
    text_or_null(line, record.endpoint);
    line.extend_from_slice(b",\"attempts\":");
    decimal(line, u64::from(record.attempts));
    line.extend_from_slice(b",\"protocol\":");
    text_or_null(line, Some(record.protocol));
    line.extend_from_slice(b",\"tls\":");
    text_or_null(line, record.tls);
    line.extend_from_slice(match record.reused {
        None => b",\"reused\":null",
        Some(true) => b",\"reused\":true",
        Some(false) => b",\"reused\":false",
    });
    for (key, phase) in record.phases.named() {
        line.extend_from_slice(b",\"");
        line.extend_from_slice(key.as_bytes());
        line.extend_from_slice(b"\":");
        match phase {
            Some(duration) => millis(line, duration),
            None => line.extend_from_slice(b"null"),
        }
    }
    line.extend_from_slice(b",\"error\":");
    text_or_null(line, record.error);
    line.extend_from_slice(b"}\n");
}

/// Appends `record` as a line in the common log's order, the user agent after it, then the rest as `key=value` where it
/// applies.
fn append_text(line: &mut Vec<u8>, record: &Record<'_>, dates: &mut Dates) {
    address(line, record.remote);
    line.extend_from_slice(b" - - [");
    line.extend_from_slice(dates.common_log.text(record.unix_millis / 1000));
    line.extend_from_slice(b"] \"");
    escaped(line, record.method, TEXT_BYTES_MAX);
    line.push(b' ');
    escaped(line, without_query(record.path), PATH_BYTES_MAX);
    line.push(b' ');
    escaped(line, record.protocol.as_bytes(), TEXT_BYTES_MAX);
    line.extend_from_slice(b"\" ");
    decimal(line, u64::from(record.status));
    line.push(b' ');
    decimal(line, record.bytes);
    line.extend_from_slice(b" \"");
    escaped(
        line,
        record.user_agent.unwrap_or(b"-"),
        USER_AGENT_BYTES_MAX,
    );
    line.extend_from_slice(b"\" duration_ms=");
    millis(line, record.duration);
    line.extend_from_slice(b" request_id=");
    quoted(line, record.request_id, TEXT_BYTES_MAX);
    pair(line, "route", record.route);
    pair(line, "upstream", record.upstream);
    pair(line, "endpoint", record.endpoint);
    line.extend_from_slice(b" attempts=");
    decimal(line, u64::from(record.attempts));
    pair(line, "tls", record.tls);
    match record.reused {
        None => {}
        Some(true) => line.extend_from_slice(b" reused=true"),
        Some(false) => line.extend_from_slice(b" reused=false"),
    }
    for (key, phase) in record.phases.named() {
        if let Some(duration) = phase {
            line.push(b' ');
            line.extend_from_slice(key.as_bytes());
            line.push(b'=');
            millis(line, duration);
        }
    }
    pair(line, "error", record.error);
    line.push(b'\n');
}

impl Phases {
    /// The phases by their keys, in the log's order.
    fn named(&self) -> [(&'static str, Option<Duration>); 6] {
        [
            ("dns_ms", self.dns),
            ("connect_ms", self.connect),
            ("tls_ms", self.tls),
            ("queue_ms", self.queue),
            ("head_sent_ms", self.head_sent),
            ("first_byte_ms", self.first_byte),
        ]
    }
}

/// ` key="value"`, or nothing.
fn pair(line: &mut Vec<u8>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        line.push(b' ');
        line.extend_from_slice(key.as_bytes());
        line.push(b'=');
        quoted(line, value.as_bytes(), TEXT_BYTES_MAX);
    }
}

/// Queries carry tokens and names: they stay out whatever the caller hands in.
fn without_query(path: &[u8]) -> &[u8] {
    match memchr::memchr2(b'?', b'#', path) {
        Some(end) => &path[..end],
        None => path,
    }
}

fn text_or_null(line: &mut Vec<u8>, text: Option<&str>) {
    quoted_or_null(line, text.map(str::as_bytes), TEXT_BYTES_MAX);
}

fn quoted_or_null(line: &mut Vec<u8>, text: Option<&[u8]>, bytes_max: usize) {
    match text {
        Some(text) => quoted(line, text, bytes_max),
        None => line.extend_from_slice(b"null"),
    }
}

fn quoted(line: &mut Vec<u8>, text: &[u8], bytes_max: usize) {
    line.push(b'"');
    escaped(line, text, bytes_max);
    line.push(b'"');
}

/// The inside of a JSON string (RFC 8259 §7). Bytes that are not UTF-8 are taken for Latin-1, what field values once
/// were (RFC 9110 §5.5), so that none is lost.
fn escaped(line: &mut Vec<u8>, text: &[u8], bytes_max: usize) {
    let mut left = bounded(text, bytes_max);
    loop {
        let plain = plain_bytes(left);
        line.extend_from_slice(&left[..plain]);
        left = &left[plain..];
        let Some(&byte) = left.first() else { return };
        if byte.is_ascii() {
            escape(line, u32::from(byte));
            left = &left[1..];
        } else {
            left = escape_beyond_ascii(line, left);
        }
    }
}

/// Takes the bytes up to the next ASCII one, and returns what is left.
fn escape_beyond_ascii<'a>(line: &mut Vec<u8>, text: &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(u8::is_ascii).unwrap_or(text.len());
    for chunk in text[..end].utf8_chunks() {
        for character in chunk.valid().chars() {
            // C1 controls steer terminals as well, and some readers take U+2028 and U+2029 for line ends.
            if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
                escape(line, u32::from(character));
            } else {
                line.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        for &byte in chunk.invalid() {
            escape(line, u32::from(byte));
        }
    }
    &text[end..]
}

/// The first `bytes_max` bytes, less a UTF-8 character that would be cut.
fn bounded(text: &[u8], bytes_max: usize) -> &[u8] {
    if text.len() <= bytes_max {
        return text;
    }
    let continues = |&at: &usize| text[at] & 0xc0 == 0x80;
    // A character has 4 bytes at most; more continuation bytes than that are not UTF-8, and are cut anywhere.
    let start = (bytes_max - 3..=bytes_max).rev().find(|at| !continues(at));
    &text[..start.unwrap_or(bytes_max)]
}

/// How many bytes at the front are plain. Blocks are looked at whole, without a branch for each byte: most texts are
/// nothing but plain.
#[inline]
fn plain_bytes(text: &[u8]) -> usize {
    let (blocks, _) = text.as_chunks::<BLOCK_BYTES>();
    let all_plain =
        |block: &&[u8; BLOCK_BYTES]| block.iter().fold(true, |all, &byte| all & is_plain(byte));
    let whole = blocks.iter().take_while(all_plain).count() * BLOCK_BYTES;
    let rest = &text[whole..];
    let in_rest = rest.iter().position(|&byte| !is_plain(byte));
    whole + in_rest.unwrap_or(rest.len())
}

#[inline]
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\')
}

/// A JSON escape of a code point below U+10000.
fn escape(line: &mut Vec<u8>, code_point: u32) {
    match code_point {
        0x22 => line.extend_from_slice(b"\\\""),
        0x5c => line.extend_from_slice(b"\\\\"),
        0x0a => line.extend_from_slice(b"\\n"),
        0x0d => line.extend_from_slice(b"\\r"),
        0x09 => line.extend_from_slice(b"\\t"),
        _ => {
            line.extend_from_slice(b"\\u");
            for shift in [12, 8, 4, 0] {
                let digit = code_point >> shift & 15;
                line.push(b"0123456789abcdef"[digit as usize]);
            }
        }
    }
}

/// Milliseconds with three decimals: microseconds, rounded down.
fn millis(line: &mut Vec<u8>, duration: Duration) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    decimal(line, micros / 1000);
    let fraction = micros % 1000;
    line.push(b'.');
    for divisor in [100, 10, 1] {
        line.push(b'0' + (fraction / divisor % 10) as u8);
    }
}

fn decimal(line: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    line.extend_from_slice(&digits[start..]);
}

fn address(line: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => {
            for (index, octet) in ip.octets().into_iter().enumerate() {
                if index > 0 {
                    line.push(b'.');
                }
                decimal(line, u64::from(octet));
            }
        }
        IpAddr::V6(ip) => {
            // Writing to a vector does not fail.
            let _ = write!(line, "[{ip}]");
        }
    }
    line.push(b':');
    decimal(line, u64::from(address.port()));
}

#[cfg(test)]
mod tests;
