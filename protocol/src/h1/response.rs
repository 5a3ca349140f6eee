//! The head of a response (RFC 9112 §4, §5). The origin is as untrusted as the client.

use std::fmt;

use crate::bytes;
use crate::connection::ConnectionOptions;
use crate::field::{FieldId, bit};
use crate::fields::Fields;
use crate::framing::BodyFraming;
use crate::h1::framing::{FramingError, Lengths};
use crate::h1::lines::{LineError, Progress, Window};
use crate::limits::Limits;
use crate::method::Method;
use crate::span::Span;
use crate::version::{self, Version};

/// A response's head. One struct serves all responses of a connection.
#[derive(Debug, Default)]
pub struct ResponseHead {
    /// The status, 100 to 599. To change it, `set_status`.
    pub status: u16,
    /// The version the origin speaks.
    pub version: Version,
    /// The fields. Those of the connection and of the framing are parsed, but not kept.
    pub fields: Fields,
    /// Where the body ends.
    pub framing: BodyFraming,
    /// What Content-Length said, also where no body follows (HEAD, 304).
    pub content_length: Option<u64>,
    /// Whether the connection can carry another request once the body has ended.
    pub keep_alive: bool,
    /// Seconds the origin keeps an idle connection (`Keep-Alive: timeout=N`).
    pub keep_alive_timeout: Option<u32>,
    /// Whether Connection and Upgrade name a protocol, as a 101 has to.
    pub upgrade: bool,
    pub(crate) nominates: bool,
    /// The status line while it still holds and is written as an encoder would.
    pub(crate) canonical_line: Option<Span>,
    upgrade_value: Span,
    reason: Span,
    progress: Progress,
    stage: Stage,
}

#[derive(Debug, Copy, Clone, Default)]
enum Stage {
    #[default]
    StartLine,
    Fields,
    Done,
    Failed(ResponseError),
}

impl ResponseHead {
    /// An empty head.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes ready for another message. Keeps the memory.
    pub fn reset(&mut self) {
        self.fields.clear();
        self.status = 0;
        self.framing = BodyFraming::None;
        self.content_length = None;
        self.keep_alive = false;
        self.keep_alive_timeout = None;
        self.upgrade = false;
        self.nominates = false;
        self.canonical_line = None;
        self.progress = Progress::default();
        self.stage = Stage::StartLine;
    }

    /// Fed the bytes received so far, always from the message's first. `Ok(Some(n))`: the head
    /// takes `n` bytes. `Ok(None)`: more are needed. After a 1xx other than 101, reset and parse
    /// the next head from byte `n` on.
    ///
    /// # Errors
    /// The head is refused for good: the connection is not to be used again.
    #[inline]
    pub fn parse(
        &mut self,
        bytes: &[u8],
        request_method: Method,
        limits: &Limits,
    ) -> Result<Option<usize>, ResponseError> {
        match self.stage {
            Stage::Done => return Ok(Some(self.progress.at)),
            Stage::Failed(error) => return Err(error),
            Stage::StartLine | Stage::Fields => {}
        }
        let result = self.advance(bytes, request_method, limits);
        match result {
            Ok(Some(_)) => self.stage = Stage::Done,
            Ok(None) => {}
            Err(error) => self.stage = Stage::Failed(error),
        }
        result
    }

    #[inline]
    fn advance(
        &mut self,
        bytes: &[u8],
        request_method: Method,
        limits: &Limits,
    ) -> Result<Option<usize>, ResponseError> {
        let mut window = Window::default();
        if let Stage::StartLine = self.stage {
            match self.progress.start_line(bytes, &mut window, limits)? {
                Some(line) => self.status_line(bytes, line)?,
                None => return unfinished_line(bytes),
            }
            self.stage = Stage::Fields;
        }
        if !self
            .progress
            .field_lines(bytes, &mut window, limits, &mut self.fields)?
        {
            return Ok(None);
        }
        self.judge(bytes, request_method)?;
        Ok(Some(self.progress.at))
    }

    #[inline]
    fn status_line(&mut self, bytes: &[u8], line: Span) -> Result<(), ResponseError> {
        let text = line.of(bytes);
        let Some((version, rest)) = text.split_first_chunk::<8>() else {
            return Err(ResponseError::StatusLine);
        };
        self.version = version::parse(version).map_err(|_| ResponseError::Version)?;
        let (digits, reason) = match rest {
            [b' ', a, b, c] => ([*a, *b, *c], &b""[..]),
            [b' ', a, b, c, b' ', reason @ ..] => ([*a, *b, *c], reason),
            _ => return Err(ResponseError::StatusLine),
        };
        if !digits.iter().all(u8::is_ascii_digit) || bytes::value_end(reason) != reason.len() {
            return Err(ResponseError::StatusLine);
        }
        self.status = digits
            .iter()
            .fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        if !(100..=599).contains(&self.status) {
            return Err(ResponseError::Status);
        }
        self.reason = Span::new(line.end() - reason.len(), line.end());
        // Shorter: the space after the status is missing.
        let full = text.len() >= b"HTTP/1.1 200 ".len();
        self.canonical_line = (self.version == Version::H11 && full).then_some(line);
        Ok(())
    }

    /// The rules about fields taken together.
    #[inline]
    fn judge(&mut self, bytes: &[u8], request_method: Method) -> Result<(), ResponseError> {
        let mut lengths = Lengths::default();
        let mut options = ConnectionOptions::default();
        let mut upgrades = 0;
        for field in &self.fields.list {
            match field.id {
                FieldId::ContentLength => lengths.content_length(field, bytes)?,
                FieldId::TransferEncoding => lengths.transfer_encoding(field, bytes)?,
                FieldId::Connection if !options.add(field.value.of(bytes)) => {
                    return Err(ResponseError::Connection);
                }
                FieldId::KeepAlive => {
                    self.keep_alive_timeout = keep_alive_timeout(field.value.of(bytes));
                }
                FieldId::Upgrade => {
                    upgrades += 1;
                    self.upgrade_value = field.value;
                }
                _ => {}
            }
        }
        lengths.check(self.version)?;
        self.content_length = lengths.length;
        self.nominates = options.nominates;
        self.upgrade = options.upgrade && upgrades == 1 && !self.upgrade_value.is_empty();
        // RFC 9112 §6.3: these never have a body, whatever the fields say.
        let bodiless = request_method == Method::Head
            || self.status < 200
            || self.status == 204
            || self.status == 304;
        self.framing = match lengths.length {
            _ if bodiless => BodyFraming::None,
            Some(length) => BodyFraming::Length(length),
            None if lengths.chunked => BodyFraming::Chunked,
            None => BodyFraming::UntilClose,
        };
        // RFC 9112 §6.1 forbids a length here. One that announces bytes means an origin that
        // may send them: they would be read as the next answer.
        let doubtful = (self.status < 200 || self.status == 204)
            && (lengths.chunked || lengths.length.is_some_and(|length| length > 0));
        if doubtful && self.status == 101 {
            return Err(ResponseError::SwitchWithBody);
        }
        self.keep_alive = !options.close
            && (self.version == Version::H11 || options.keep_alive)
            && self.framing != BodyFraming::UntilClose
            && !doubtful;
        Ok(())
    }

    /// Changes the status; the reason phrase becomes the status's usual one.
    pub fn set_status(&mut self, status: u16) {
        self.status = status;
        self.reason = Span::default();
        self.canonical_line = None;
    }

    /// The reason phrase as the origin sent it; may be empty.
    #[must_use]
    pub fn reason_phrase<'a>(&'a self, bytes: &'a [u8]) -> &'a [u8] {
        self.reason.of(bytes)
    }

    /// The protocol that a 101 switches to; empty without `upgrade`.
    #[must_use]
    pub fn upgrade_protocol<'a>(&'a self, bytes: &'a [u8]) -> &'a [u8] {
        if self.upgrade {
            self.upgrade_value.of(bytes)
        } else {
            b""
        }
    }

    /// Whether a Date is there: a forwarded response has to have one (RFC 9110 §6.6.1).
    #[must_use]
    #[inline]
    pub fn has_date(&self) -> bool {
        self.fields.saw(bit(FieldId::Date)) && self.fields.has(FieldId::Date)
    }
}

/// What does not begin like a status line never becomes one.
#[cold]
fn unfinished_line(line: &[u8]) -> Result<Option<usize>, ResponseError> {
    let start = b"HTTP/1.";
    let len = line.len().min(start.len());
    if line[..len] == start[..len] {
        Ok(None)
    } else {
        Err(ResponseError::Version)
    }
}

/// The `timeout` parameter of Keep-Alive (RFC 2068 §19.7.1).
fn keep_alive_timeout(value: &[u8]) -> Option<u32> {
    let text = bytes::list(value).find_map(|parameter| {
        let (name, value) = parameter.split_at_checked(b"timeout=".len())?;
        name.eq_ignore_ascii_case(b"timeout=").then_some(value)
    })?;
    bytes::decimal(text).map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// Why a response is refused: 502 towards the client, and the connection is closed.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum ResponseError {
    /// A line is malformed, or there are too many.
    Line(LineError),
    /// Not HTTP/1.0 or HTTP/1.1.
    Version,
    /// Not a version, three digits and a phrase.
    StatusLine,
    /// A status outside 100 to 599.
    Status,
    /// The body's length is not certain.
    Framing(FramingError),
    /// Connection holds something that is no token, or too many.
    Connection,
    /// A 101 that announces a body.
    SwitchWithBody,
}

impl ResponseError {
    /// The status towards the client.
    #[must_use]
    pub fn status(&self) -> u16 {
        502
    }

    /// A short name for the log.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Line(error) => error.reason(),
            Self::Framing(error) => error.reason(),
            Self::Version => "bad_response_version",
            Self::StatusLine => "bad_status_line",
            Self::Status => "bad_status",
            Self::Connection => "bad_connection",
            Self::SwitchWithBody => "switch_with_body",
        }
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for ResponseError {}

impl From<LineError> for ResponseError {
    fn from(error: LineError) -> Self {
        Self::Line(error)
    }
}

impl From<FramingError> for ResponseError {
    fn from(error: FramingError) -> Self {
        Self::Framing(error)
    }
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
