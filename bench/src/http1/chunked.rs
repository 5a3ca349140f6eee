//! Chunked coding, reading (RFC 9112 §7.1). Extensions and trailers are skipped.

use super::Malformed;

/// Where the decoder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size { so_far: u64, digits: u8 },
    Extension { size: u64 },
    SizeEnd { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailer { line_bytes: u32 },
    TrailerLf { line_bytes: u32 },
    Done,
}

/// Takes a chunked body apart, however the bytes are cut.
#[derive(Debug, Clone)]
pub struct ChunkedDecoder(State);

impl ChunkedDecoder {
    /// Stands before the first size line.
    pub fn new() -> Self {
        Self(State::Size {
            so_far: 0,
            digits: 0,
        })
    }

    /// Whether the last chunk and the trailers have been read.
    pub fn is_done(&self) -> bool {
        self.0 == State::Done
    }

    /// The next piece of content in `input`, which is moved past what was read. `None` when the input is used up or the
    /// body has ended.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Malformed> {
        while let Some(&byte) = input.first() {
            if let State::Data { left } = self.0 {
                let len = left.min(input.len() as u64) as usize;
                let (piece, rest) = input.split_at(len);
                *input = rest;
                self.0 = match left - len as u64 {
                    0 => State::DataCr,
                    left => State::Data { left },
                };
                return Ok(Some(piece));
            }
            if self.0 == State::Done {
                break;
            }
            *input = &input[1..];
            self.0 = self.0.after(byte)?;
        }
        Ok(None)
    }
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn after(self, byte: u8) -> Result<Self, Malformed> {
        Ok(match (self, byte) {
            (Self::Size { so_far, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F')
                if digits < 16 =>
            {
                let digit = (byte as char).to_digit(16).ok_or(Malformed)?;
                Self::Size {
                    so_far: so_far << 4 | u64::from(digit),
                    digits: digits + 1,
                }
            }
            (
                Self::Size {
                    so_far,
                    digits: 1..,
                },
                b'\r',
            ) => Self::SizeEnd { size: so_far },
            (
                Self::Size {
                    so_far,
                    digits: 1..,
                },
                b';' | b' ' | b'\t',
            ) => Self::Extension { size: so_far },
            (Self::Extension { size }, b'\r') => Self::SizeEnd { size },
            (Self::Extension { size }, _) => Self::Extension { size },
            (Self::SizeEnd { size: 0 }, b'\n') => Self::Trailer { line_bytes: 0 },
            (Self::SizeEnd { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size {
                so_far: 0,
                digits: 0,
            },
            (Self::Trailer { line_bytes }, b'\r') => Self::TrailerLf { line_bytes },
            (Self::Trailer { line_bytes }, _) => Self::Trailer {
                line_bytes: line_bytes.saturating_add(1),
            },
            (Self::TrailerLf { line_bytes: 0 }, b'\n') => Self::Done,
            (Self::TrailerLf { .. }, b'\n') => Self::Trailer { line_bytes: 0 },
            _ => return Err(Malformed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool), Malformed> {
        let mut decoder = ChunkedDecoder::new();
        let mut content = Vec::new();
        for mut piece in pieces.iter().copied() {
            while let Some(data) = decoder.next(&mut piece)? {
                content.extend_from_slice(data);
            }
        }
        Ok((content, decoder.is_done()))
    }

    #[test]
    fn every_split_decodes_the_same() {
        let coded = b"5\r\nhello\r\n1;x=y\r\n \r\n5\r\nworld\r\n0\r\nX-T: 1\r\n\r\n";
        for at in 0..=coded.len() {
            let (a, b) = coded.split_at(at);
            assert_eq!(
                decode(&[a, b]),
                Ok((b"hello world".to_vec(), true)),
                "split at {at}"
            );
        }
    }

    #[test]
    fn an_unfinished_body_is_not_done() {
        assert_eq!(
            decode(&[b"5\r\nhello\r\n0\r\n"]),
            Ok((b"hello".to_vec(), false))
        );
    }

    #[test]
    fn what_is_not_a_size_is_malformed() {
        for bad in [
            &b"\r\n"[..],
            b"g\r\n",
            b"5\r\nhelloX",
            b"5\n",
            b"11111111111111111\r\n",
        ] {
            assert_eq!(decode(&[bad]), Err(Malformed));
        }
    }
}
