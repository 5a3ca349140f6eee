//! A body, whichever way it is delimited, and the writing side of chunked coding.
//!
//! Invariant: a body that ended early never looks like one that ended.

use std::fmt;

use crate::framing::BodyFraming;
use crate::h1::chunked::ChunkDecoder;
use crate::h1::lines::LineError;

/// Ends each chunk's data.
pub const CHUNK_SUFFIX: &[u8] = b"\r\n";

/// Ends a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What one call of a decoder did.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes taken from the front of the input. Less than all of it only when done.
    pub consumed: usize,
    /// Bytes of data, at the front of the buffer.
    pub data: usize,
    /// Whether the body has ended.
    pub done: bool,
}

/// Why a body cannot be trusted. Every variant closes the connection.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum BodyError {
    /// The size line held a byte that is not a hex digit.
    SizeNotHex(u8),
    /// The size line began with something else than a hex digit.
    SizeEmpty,
    /// The size has more digits than 64 bits hold.
    SizeTooLarge,
    /// The size line is longer than `CHUNK_LINE_BYTES_MAX`.
    LineTooLong,
    /// A control byte in a chunk extension.
    ExtensionByte(u8),
    /// A line feed without its carriage return.
    BareLf,
    /// A carriage return without its line feed.
    BareCr,
    /// More data than the size said.
    DataTooLong,
    /// A trailer line is malformed, or there are too many.
    Trailer(LineError),
    /// A trailer that would change framing, routing or credentials.
    ForbiddenTrailer,
    /// The connection ended before the body did.
    Truncated,
}

impl BodyError {
    /// A short name for the log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::SizeNotHex(_) => "chunk_size_not_hex",
            Self::SizeEmpty => "chunk_size_empty",
            Self::SizeTooLarge => "chunk_size_too_large",
            Self::LineTooLong => "chunk_line_too_long",
            Self::ExtensionByte(_) => "bad_chunk_extension",
            Self::BareLf => "bare_lf_in_chunk",
            Self::BareCr => "bare_cr_in_chunk",
            Self::DataTooLong => "chunk_data_too_long",
            Self::Trailer(_) => "bad_trailer",
            Self::ForbiddenTrailer => "forbidden_trailer",
            Self::Truncated => "body_truncated",
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for BodyError {}

/// Reads one body.
#[derive(Debug)]
pub struct BodyDecoder {
    framing: BodyFraming,
    /// Bytes of `Length` still to come.
    left: u64,
    chunks: ChunkDecoder,
}

impl Default for BodyDecoder {
    fn default() -> Self {
        Self::new(BodyFraming::None)
    }
}

impl BodyDecoder {
    /// At the start of a body.
    #[must_use]
    pub fn new(framing: BodyFraming) -> Self {
        Self {
            framing,
            left: length(framing),
            chunks: ChunkDecoder::new(),
        }
    }

    /// Makes ready for another body. Keeps the memory.
    pub fn reset(&mut self, framing: BodyFraming) {
        if self.framing == BodyFraming::Chunked {
            self.chunks.reset();
        }
        self.framing = framing;
        self.left = length(framing);
    }

    /// Takes what belongs to the body from the front of `bytes`, and moves data together there.
    /// What is behind `consumed` belongs to the next message.
    ///
    /// # Errors
    /// The coding is broken.
    #[inline]
    pub fn decode_in_place(&mut self, bytes: &mut [u8]) -> Result<Decoded, BodyError> {
        let data = match self.framing {
            BodyFraming::Chunked => return self.chunks.decode_in_place(bytes),
            BodyFraming::UntilClose => bytes.len(),
            BodyFraming::None | BodyFraming::Length(_) => {
                usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()))
            }
        };
        self.skip(data as u64);
        Ok(Decoded {
            consumed: data,
            data,
            done: self.is_done(),
        })
    }

    /// Whether the body has ended. One that ends with the connection never has.
    #[must_use]
    #[inline]
    pub fn is_done(&self) -> bool {
        match self.framing {
            BodyFraming::None | BodyFraming::Length(_) => self.left == 0,
            BodyFraming::Chunked => self.chunks.is_done(),
            BodyFraming::UntilClose => false,
        }
    }

    /// Bytes still to come, where that is known.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        match self.framing {
            BodyFraming::None | BodyFraming::Length(_) => Some(self.left),
            BodyFraming::Chunked => self.chunks.is_done().then_some(0),
            BodyFraming::UntilClose => None,
        }
    }

    /// Bytes still to come where they are nothing but data, so that they may go past unread.
    #[must_use]
    pub fn bare_bytes(&self) -> Option<u64> {
        match self.framing {
            BodyFraming::Length(_) => Some(self.left),
            BodyFraming::None | BodyFraming::Chunked | BodyFraming::UntilClose => None,
        }
    }

    /// `n` bytes went past by another way (splice). For `Length` no more than `remaining`; not
    /// for chunked bodies.
    #[inline]
    pub fn skip(&mut self, n: u64) {
        debug_assert!(self.framing != BodyFraming::Chunked);
        if let BodyFraming::Length(_) = self.framing {
            debug_assert!(n <= self.left);
            self.left = self.left.saturating_sub(n);
        }
    }

    /// The connection ended here.
    ///
    /// # Errors
    /// `Truncated` when the body had not, and its end is not the connection's.
    pub fn finish(&self) -> Result<(), BodyError> {
        if self.is_done() || self.framing == BodyFraming::UntilClose {
            Ok(())
        } else {
            Err(BodyError::Truncated)
        }
    }

    /// The trailer fields that may pass, once done.
    pub fn trailers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.chunks.trailers()
    }

    /// Whether any trailer field is to be passed on.
    #[must_use]
    pub fn has_trailers(&self) -> bool {
        self.framing == BodyFraming::Chunked && self.chunks.has_trailers()
    }
}

fn length(framing: BodyFraming) -> u64 {
    match framing {
        BodyFraming::Length(length) => length,
        _ => 0,
    }
}

/// Writes a chunk's size line for `len` bytes of data to the front of `out`; says how long it is.
/// `len` is not 0: that would end the body.
#[inline]
pub fn chunk_prefix(len: usize, out: &mut [u8; 18]) -> usize {
    debug_assert!(len != 0);
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1) as usize;
    for (at, digit) in out[..digits].iter_mut().enumerate() {
        let nibble = (len >> (4 * (digits - 1 - at))) & 0xf;
        *digit = b"0123456789abcdef"[nibble];
    }
    out[digits..digits + 2].copy_from_slice(CHUNK_SUFFIX);
    digits + 2
}

/// Ends a chunked body with trailer fields.
pub fn write_last_chunk_with_trailers<'a>(
    trailers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        crate::h1::encode::field(name, value, out);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
