//! HTTP/1 bodies on a stream: taken out of their framing, and put into one.

use std::io;
use std::task::{Context, Poll, ready};

use ringway_protocol::{
    BodyDecoder, BodyError, BodyFraming, CHUNK_SUFFIX, LAST_CHUNK, chunk_prefix,
    write_last_chunk_with_trailers,
};

use super::stream::Stream;
use crate::ring::{Lease, Ring};

/// Why a body could not be read to its end.
#[derive(Debug)]
pub enum ReadError {
    /// Its framing is broken, or it was cut short.
    Framing(BodyError),
    /// The connection failed.
    Io(io::Error),
}

/// Reads one body after another from a stream.
#[derive(Default)]
pub struct BodyReader {
    decoder: BodyDecoder,
    /// Bytes of data so far.
    bytes: u64,
    ended: bool,
}

impl BodyReader {
    /// Makes ready for a body.
    pub fn begin(&mut self, framing: BodyFraming) {
        self.decoder.reset(framing);
        self.bytes = 0;
        self.ended = framing.is_empty();
    }

    /// Whether the body has been read to its end.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Bytes of data read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes still to come that are nothing but data; `None` where the framing is among them or the end is unknown.
    pub fn bare_bytes(&self) -> Option<u64> {
        self.decoder.bare_bytes()
    }

    /// `bytes` of those passed by without being read.
    pub fn pass(&mut self, bytes: u64) {
        self.decoder.skip(bytes);
        self.bytes += bytes;
        self.ended = self.decoder.is_done();
    }

    /// The trailer fields; empty before the end.
    pub fn trailers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.decoder.trailers()
    }

    /// Whether there are trailer fields.
    pub fn has_trailers(&self) -> bool {
        self.decoder.has_trailers()
    }

    /// Takes the body's bytes out of those behind the first `skip` of `lease`, in place: `lease` is left with the
    /// skipped ones and data. What belongs to the next message is returned.
    pub fn decode(
        &mut self,
        lease: &mut Lease,
        skip: usize,
        ring: &Ring,
    ) -> Result<Option<Lease>, ReadError> {
        let bytes = &mut lease.bytes_mut()[skip..];
        let length = bytes.len();
        let decoded = self
            .decoder
            .decode_in_place(bytes)
            .map_err(ReadError::Framing)?;
        let rest = if decoded.consumed < length {
            let surplus = &lease.bytes()[skip + decoded.consumed..];
            let mut rest = ring.lease(surplus.len()).ok_or_else(no_memory)?;
            rest.append(surplus);
            Some(rest)
        } else {
            None
        };
        lease.truncate(skip + decoded.data);
        self.bytes += decoded.data as u64;
        self.ended = decoded.done;
        Ok(rest)
    }

    /// The next data of the body; `None` at its end.
    pub fn poll_part(
        &mut self,
        cx: &Context<'_>,
        stream: &mut Stream,
        ring: &Ring,
    ) -> Poll<Result<Option<Lease>, ReadError>> {
        loop {
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            match ready!(stream.poll_next(cx)).map_err(ReadError::Io)? {
                Some(mut lease) => {
                    if let Some(rest) = self.decode(&mut lease, 0, ring)? {
                        stream.put_back(rest);
                    }
                    if !lease.is_empty() {
                        return Poll::Ready(Ok(Some(lease)));
                    }
                }
                None => {
                    self.decoder.finish().map_err(ReadError::Framing)?;
                    self.ended = true;
                }
            }
        }
    }
}

fn no_memory() -> ReadError {
    ReadError::Io(io::Error::from(io::ErrorKind::OutOfMemory))
}

/// Puts a body into its framing.
#[derive(Default)]
pub struct BodyWriter {
    framing: BodyFraming,
}

impl BodyWriter {
    /// Makes ready for a body.
    pub fn begin(&mut self, framing: BodyFraming) {
        self.framing = framing;
    }

    /// Whether data goes out as it is.
    pub fn is_bare(&self) -> bool {
        self.framing != BodyFraming::Chunked
    }

    /// Frames `lease`'s bytes behind the first `skip`, which `head` replaces. `last`: no more data and no trailers
    /// follow, so the end can go along; `Some(true)` is returned
    /// where it did, and `None` where no memory could be had and the lease is not fit to be sent.
    fn frame(
        &self,
        lease: &mut Lease,
        skip: usize,
        head: &mut Vec<u8>,
        last: bool,
        ring: &Ring,
    ) -> Option<bool> {
        let chunked = self.framing == BodyFraming::Chunked;
        let data = lease.len() - skip;
        if chunked && data > 0 {
            let mut prefix = [0; 18];
            let length = chunk_prefix(data, &mut prefix);
            head.extend_from_slice(&prefix[..length]);
        }
        if (skip > 0 || !head.is_empty()) && !lease.replace_prefix(skip, head) {
            // The head grew beyond the room before the body: both move.
            let mut larger =
                ring.lease(head.len() + data + CHUNK_SUFFIX.len() + LAST_CHUNK.len())?;
            larger.append(head);
            larger.append(&lease.bytes()[skip..]);
            *lease = larger;
        }
        if chunked && data > 0 {
            lease.append(CHUNK_SUFFIX);
        }
        Some(if chunked && last {
            lease.append(LAST_CHUNK)
        } else {
            last && !chunked
        })
    }

    /// Sends `lease`'s bytes behind the first `skip` in their framing, after `head`. `last`: the end follows at once,
    /// without trailers. Where no memory can be had the stream fails: a body must not end where it did not.
    pub fn send(
        &self,
        stream: &Stream,
        mut lease: Lease,
        skip: usize,
        head: &mut Vec<u8>,
        last: bool,
        ring: &Ring,
    ) {
        match self.frame(&mut lease, skip, head, last, ring) {
            Some(ended) => {
                stream.socket().send(lease);
                if last && !ended {
                    self.end(stream, None, ring);
                }
            }
            None => stream.socket().fail(),
        }
    }

    /// Sends what ends the body after its last data, where anything has to be.
    pub fn end(&self, stream: &Stream, trailers: Option<&[(&[u8], &[u8])]>, ring: &Ring) {
        if self.framing != BodyFraming::Chunked {
            return;
        }
        let mut text = Vec::new();
        match trailers {
            Some(trailers) => write_last_chunk_with_trailers(trailers.iter().copied(), &mut text),
            None => text.extend_from_slice(LAST_CHUNK),
        }
        stream.send_text(&text, ring);
    }
}
