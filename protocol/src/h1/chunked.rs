//! Chunked coding, the reading side (RFC 9112 §7.1).
//!
//! Fed slices, decodes them in place, says how much it took. Never sees a socket or a clock.
//! Invariant: bytes handed out never exceed the declared chunk size, and every byte that is
//! neither data nor part of the coding is an error.

use crate::field::{FieldId, bit};
use crate::fields::Fields;
use crate::h1::body::{BodyError, Decoded};
use crate::h1::lines::{LineError, Progress, Window};
use crate::limits::Limits;

/// Longest chunk-size line accepted, in bytes. RFC 9112 §7.1.1 sets no bound;
/// 256 leaves room for honest extensions and none for a flood.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;

/// Longest trailer section, in bytes, its empty line included.
pub const TRAILER_BYTES_MAX: usize = 8192;

/// Field lines in a trailer section.
pub const TRAILER_FIELDS_MAX: usize = 32;

const TRAILER_LIMITS: Limits = Limits {
    head_bytes: TRAILER_BYTES_MAX,
    fields: TRAILER_FIELDS_MAX,
    target_bytes: 0,
};

/// Hex digits of a size, leading zeros included: 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

/// Where the decoder stands. `Failed` is terminal.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
enum State {
    /// Before or inside a size.
    Size {
        so_far: u64,
        digits: u8,
    },
    /// After the size, before the line's end.
    Extension {
        size: u64,
        line_bytes: u16,
    },
    /// The size line's CR was seen.
    SizeLf {
        size: u64,
    },
    /// Inside a chunk.
    Data {
        left: u64,
    },
    /// After a chunk's last byte.
    DataCr,
    /// And its CR was seen.
    DataLf,
    /// After the last chunk's size line.
    Trailers,
    Done,
    Failed(BodyError),
}

/// Before a chunk's size line.
const START: State = State::Size {
    so_far: 0,
    digits: 0,
};

/// Decodes one body in chunked coding.
#[derive(Debug)]
pub struct ChunkDecoder {
    state: State,
    /// The trailer section as it came. Most messages have none: two bytes.
    section: Vec<u8>,
    progress: Progress,
    fields: Fields,
}

impl Default for ChunkDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkDecoder {
    /// At the start of a body. Allocates nothing until trailers come.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: START,
            section: Vec::new(),
            progress: Progress::default(),
            fields: Fields::new(),
        }
    }

    /// Makes ready for another body. Keeps the memory.
    pub fn reset(&mut self) {
        self.state = START;
        self.section.clear();
        self.progress = Progress::default();
        self.fields.clear();
    }

    /// Whether the body has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The trailer fields that may pass, as (name, value), once done.
    pub fn trailers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter(&self.section)
    }

    /// Whether any trailer field is to be passed on.
    #[must_use]
    pub fn has_trailers(&self) -> bool {
        self.is_done() && !self.fields.is_empty()
    }

    /// Decodes in place: data is moved together to the front. `bytes[..data]` is data, everything
    /// up to `consumed` was taken; what is behind that, when done, belongs to the next message.
    ///
    /// # Errors
    /// The coding is broken; the same error comes again from then on.
    pub fn decode_in_place(&mut self, bytes: &mut [u8]) -> Result<Decoded, BodyError> {
        let result = self.advance(bytes);
        if let Err(error) = result {
            self.state = State::Failed(error);
        }
        result
    }

    fn advance(&mut self, bytes: &mut [u8]) -> Result<Decoded, BodyError> {
        let mut at = 0;
        let mut data = 0;
        while at < bytes.len() {
            let b = bytes[at];
            match self.state {
                State::Data { left } => {
                    let rest = bytes.len() - at;
                    let take = usize::try_from(left).map_or(rest, |left| left.min(rest));
                    if data != at {
                        bytes.copy_within(at..at + take, data);
                    }
                    at += take;
                    data += take;
                    let left = left - take as u64;
                    self.state = if left == 0 {
                        State::DataCr
                    } else {
                        State::Data { left }
                    };
                    continue;
                }
                State::Trailers => {
                    at += self.take_trailers(&bytes[at..])?;
                    continue;
                }
                State::Done => break,
                State::Failed(error) => return Err(error),
                state => self.state = step(state, b)?,
            }
            at += 1;
        }
        Ok(Decoded {
            consumed: at,
            data,
            done: self.is_done(),
        })
    }

    /// Takes trailer lines up to the empty one; says how many bytes.
    fn take_trailers(&mut self, bytes: &[u8]) -> Result<usize, BodyError> {
        // The usual case, without copying anything.
        if self.section.is_empty() && bytes.starts_with(b"\r\n") {
            self.state = State::Done;
            return Ok(2);
        }
        let mut at = 0;
        while at < bytes.len() {
            let end = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |lf| at + lf + 1);
            // Never more than one byte over the limit is kept.
            let room = TRAILER_BYTES_MAX + 1 - self.section.len();
            let end = end.min(at + room);
            self.section.extend_from_slice(&bytes[at..end]);
            at = end;
            let done = self
                .progress
                .field_lines(
                    &self.section,
                    &mut Window::default(),
                    &TRAILER_LIMITS,
                    &mut self.fields,
                )
                .map_err(BodyError::Trailer)?;
            if done {
                self.judge_trailers()?;
                self.state = State::Done;
                return Ok(at);
            }
        }
        Ok(at)
    }

    /// RFC 9110 §6.5.1: a trailer must not change how the message was framed or routed. Fields of
    /// one connection, and those that tell who the client is, are dropped.
    fn judge_trailers(&mut self) -> Result<(), BodyError> {
        const FORBIDDEN: u64 = bit(FieldId::TransferEncoding)
            | bit(FieldId::ContentLength)
            | bit(FieldId::Host)
            | bit(FieldId::Expect)
            | bit(FieldId::Authorization)
            | bit(FieldId::ContentEncoding)
            | bit(FieldId::ContentType);
        if self.fields.saw(FORBIDDEN) {
            return Err(BodyError::ForbiddenTrailer);
        }
        for at in 0..self.fields.list.len() {
            let id = self.fields.list[at].id;
            if id.is_forwarding() || matches!(id, FieldId::Via | FieldId::RequestId) {
                self.fields.drop_at(at);
            }
        }
        // Nominated trailers go with the Connection line that nominates them.
        if self.fields.saw(bit(FieldId::Connection)) {
            crate::connection::drop_nominated(&mut self.fields, &self.section);
        }
        Ok(())
    }
}

/// Whether `coded` is one body in chunked coding from its first byte to its last, without trailers. Nothing is decoded.
#[must_use]
pub fn is_whole_body(coded: &[u8]) -> bool {
    let mut state = START;
    let mut rest = coded;
    while let Some((&b, after)) = rest.split_first() {
        match state {
            State::Data { left } => {
                let data = usize::try_from(left).unwrap_or(usize::MAX);
                let Some(behind) = rest.get(data..) else {
                    return false;
                };
                rest = behind;
                state = State::DataCr;
            }
            State::Trailers => return rest == b"\r\n",
            _ => match step(state, b) {
                Ok(next) => {
                    state = next;
                    rest = after;
                }
                Err(_) => return false,
            },
        }
    }
    false
}

/// One byte of the coding outside data and trailers.
#[inline]
fn step(state: State, b: u8) -> Result<State, BodyError> {
    Ok(match (state, b) {
        (State::Size { so_far, digits }, _) => match (b as char).to_digit(16) {
            Some(_) if digits == SIZE_DIGITS_MAX => return Err(BodyError::SizeTooLarge),
            // Sixteen digits fit 64 bits exactly.
            Some(digit) => State::Size {
                so_far: so_far << 4 | u64::from(digit),
                digits: digits + 1,
            },
            None if digits == 0 => return Err(BodyError::SizeEmpty),
            None => match b {
                b'\r' => State::SizeLf { size: so_far },
                b';' => State::Extension {
                    size: so_far,
                    line_bytes: u16::from(digits) + 1,
                },
                b'\n' => return Err(BodyError::BareLf),
                _ => return Err(BodyError::SizeNotHex(b)),
            },
        },
        (State::Extension { size, line_bytes }, _) => match b {
            b'\r' => State::SizeLf { size },
            b'\n' => return Err(BodyError::BareLf),
            b if (b < 0x20 && b != b'\t') || b == 0x7f => {
                return Err(BodyError::ExtensionByte(b));
            }
            // The line's CRLF is still to come.
            _ if usize::from(line_bytes) + 2 >= CHUNK_LINE_BYTES_MAX => {
                return Err(BodyError::LineTooLong);
            }
            _ => State::Extension {
                size,
                line_bytes: line_bytes + 1,
            },
        },
        (State::SizeLf { size: 0 }, b'\n') => State::Trailers,
        (State::SizeLf { size }, b'\n') => State::Data { left: size },
        (State::DataCr, b'\r') => State::DataLf,
        (State::DataLf, b'\n') => START,
        (State::SizeLf { .. } | State::DataLf, _) => return Err(BodyError::BareCr),
        (State::DataCr, b'\n') => return Err(BodyError::BareLf),
        _ => return Err(BodyError::DataTooLong),
    })
}

impl From<LineError> for BodyError {
    fn from(error: LineError) -> Self {
        Self::Trailer(error)
    }
}

#[cfg(test)]
#[path = "chunked_tests.rs"]
mod tests;
