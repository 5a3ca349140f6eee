//! A connection to an origin, seen from its client side: requests go in, a response's head and body come out.
//!
//! The origin is as untrusted as the client. Invariant: a connection goes back to its pool only when the last response
//! ended where its framing said, nothing followed it, and the request was sent whole.

use std::io;
use std::task::{Context, Poll, ready};

use ringway_protocol::{
    BodyError, BodyFraming, Limits, Method, ResponseError, ResponseHead, is_whole_body,
};

use super::queue::Permit;
use super::settings::Pool;
use crate::message::{Part, Sink, Source, Trailers};
use crate::ring::{Group, Lease, Ring};
use crate::transport::{BodyReader, BodyWriter, Fill, ReadError, Stream};

/// Bytes towards the origin that may wait before more of a body is taken from the client.
const UNSENT_BYTES_MAX: usize = 64 * 1024;

/// Bounds of a response's head.
const HEAD: Limits = Limits {
    head_bytes: 65536,
    fields: 200,
    target_bytes: 0,
};

/// Why an origin's answer cannot be used, or did not come.
#[derive(Debug)]
pub enum OriginError {
    /// The connection failed or ended before the head did.
    Closed(Option<io::Error>),
    /// The head is refused.
    Head(ResponseError),
    /// The body's framing is broken, or the body was cut short.
    Body(BodyError),
    /// No buffer could be had for the head.
    NoMemory,
}

/// A connection with at most one exchange on it.
pub struct Connection {
    ring: Ring,
    stream: Stream,
    reader: BodyReader,
    writer: BodyWriter,
    scratch: Vec<u8>,
    /// Whether it carried an exchange before this one.
    pub reused: bool,
    /// Index of the upstream.
    pub upstream: usize,
    /// Index of the endpoint in its upstream.
    pub endpoint: usize,
    /// From the request sent to the answer's head, in milliseconds.
    pub head_timeout_ms: u64,
    /// How long a body is held back for a 100 (Continue), in milliseconds.
    pub expect_timeout_ms: u64,
    request_sent: bool,
    /// Its last answer was spliced: the next may be as long, and is to stay in the kernel but for its head.
    spliced: bool,
    pub(super) idle_since_ms: u64,
    pub(super) idle_for_ms: u64,
    pub(super) serial: u32,
    _permit: Option<Permit>,
}

impl Connection {
    pub(super) fn new(
        ring: &Ring,
        stream: Stream,
        upstream: usize,
        endpoint: usize,
        pool: &Pool,
        permit: Option<Permit>,
    ) -> Self {
        Self {
            ring: ring.clone(),
            stream,
            reader: BodyReader::default(),
            writer: BodyWriter::default(),
            scratch: Vec::new(),
            reused: false,
            upstream,
            endpoint,
            head_timeout_ms: pool.response_head_timeout.as_millis() as u64,
            expect_timeout_ms: pool.expect_continue_timeout.as_millis() as u64,
            request_sent: false,
            spliced: false,
            idle_since_ms: 0,
            idle_for_ms: u64::MAX,
            serial: 0,
            _permit: permit,
        }
    }

    /// The stream below, for tunnels.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Sends a request's head; its body, framed as `framing`, follows through [`Sink`].
    pub fn send_head(&mut self, head: Lease, framing: BodyFraming) {
        self.writer.begin(framing);
        self.request_sent = framing.is_empty();
        self.stream.socket().send(head);
        // Not where a body is to come: its answer may be there before its end.
        if self.request_sent {
            self.stream.socket().expect_soon();
        }
    }

    /// Waits for the next head, final or not; its length, at the front of what was received.
    pub fn poll_head(
        &mut self,
        cx: &Context<'_>,
        method: Method,
        head: &mut ResponseHead,
    ) -> Poll<Result<usize, OriginError>> {
        loop {
            if !self.stream.received().is_empty()
                && let Some(length) = head
                    .parse(self.stream.received(), method, &HEAD)
                    .map_err(OriginError::Head)?
            {
                return Poll::Ready(Ok(length));
            }
            match ready!(self.stream.poll_fill(cx, &self.ring, HEAD.head_bytes * 2)) {
                Ok(Fill::More) => {}
                Ok(Fill::End) => return Poll::Ready(Err(OriginError::Closed(None))),
                Ok(Fill::Full) => return Poll::Ready(Err(OriginError::NoMemory)),
                Err(error) => return Poll::Ready(Err(OriginError::Closed(Some(error)))),
            }
        }
    }

    /// Has its socket at hand when it is used next; the connection itself is.
    pub(super) fn prefetch(&self) {
        self.stream.socket().prefetch();
    }

    /// Whether the body was read to its end and no trailers came with it.
    pub fn is_whole(&self) -> bool {
        self.reader.is_ended() && !self.reader.has_trailers()
    }

    /// Leaves the connection to itself until something comes, of the answer, or its end: reported by `tag`.
    pub fn leave(&self, tag: u64) {
        self.stream.socket().leave(tag);
    }

    /// Looks after the connection again.
    pub fn attend(&self) {
        self.stream.socket().attend();
    }

    /// Whether a final head of `length` bytes and all of its body, framed so and without trailers, are at hand, and nothing
    /// more.
    pub fn has_whole_answer(&self, length: usize, framing: BodyFraming) -> bool {
        let body = &self.stream.received()[length..];
        !self.stream.socket().has_arrived()
            && match framing {
                BodyFraming::None => body.is_empty(),
                BodyFraming::Length(whole) => body.len() as u64 == whole,
                BodyFraming::Chunked => is_whole_body(body),
                BodyFraming::UntilClose => false,
            }
    }

    /// Whether anything of an answer has arrived.
    pub fn has_answer(&self) -> bool {
        self.stream.has_more()
    }

    /// What was received from the head on.
    pub fn received(&self) -> &[u8] {
        self.stream.received()
    }

    /// Drops a head that was passed on (1xx).
    pub fn skip_head(&mut self, length: usize) {
        if let Some(mut lease) = self.stream.take() {
            lease.advance(length);
            self.stream.put_back(lease);
        }
    }

    /// Takes a final head, with what of the body came along, decoded: head bytes, then data.
    pub fn take_head(&mut self, length: usize, framing: BodyFraming) -> Result<Lease, OriginError> {
        let mut lease = self.stream.take().ok_or(OriginError::NoMemory)?;
        self.reader.begin(framing);
        let rest = self
            .reader
            .decode(&mut lease, length, &self.ring)
            .map_err(read_error)?;
        if let Some(rest) = rest {
            self.stream.put_back(rest);
        }
        Ok(lease)
    }

    /// Gets ready for the next request.
    pub(super) fn rest(&mut self) {
        let socket = self.stream.socket();
        if std::mem::take(&mut self.spliced) {
            socket.set_group(Group::Small);
            socket.receive_singly();
        } else {
            socket.set_group(Group::Large);
            socket.keep_receiving();
        }
    }

    /// Whether another request may follow: the exchange is complete and nothing is left over.
    pub fn is_reusable(&self) -> bool {
        self.reader.is_ended()
            && self.request_sent
            && !self.stream.has_more()
            && !self.stream.socket().is_stale()
            // A splice takes no more than the body: what follows it was not seen.
            && !(self.spliced && self.stream.socket().has_unread())
    }

    /// Body bytes received.
    pub fn body_bytes(&self) -> u64 {
        self.reader.bytes()
    }
}

fn read_error(error: ReadError) -> OriginError {
    match error {
        ReadError::Framing(error) => OriginError::Body(error),
        ReadError::Io(error) => OriginError::Closed(Some(error)),
    }
}

impl Source for Connection {
    type Error = OriginError;

    fn poll_part(&mut self, cx: &Context<'_>) -> Poll<Result<Part, OriginError>> {
        self.reader
            .poll_part(cx, &mut self.stream, &self.ring)
            .map_ok(Part::from)
            .map_err(read_error)
    }

    fn is_ended(&self) -> bool {
        self.reader.is_ended()
    }

    fn bare(&mut self) -> Option<(&mut Stream, u64)> {
        let left = self.reader.bare_bytes()?;
        Some((&mut self.stream, left))
    }

    fn passed(&mut self, bytes: u64) {
        self.spliced = true;
        self.reader.pass(bytes);
    }

    fn with_trailers(&self, f: &mut dyn FnMut(Option<Trailers<'_>>)) {
        if self.reader.has_trailers() {
            f(Some(&self.reader.trailers().collect::<Vec<_>>()));
        } else {
            f(None);
        }
    }
}

impl Sink for Connection {
    fn poll_ready(&mut self, cx: &Context<'_>) -> Poll<Result<(), io::Error>> {
        self.stream.socket().poll_unsent(cx, UNSENT_BYTES_MAX)
    }

    fn bare(&mut self) -> Option<&mut Stream> {
        self.writer.is_bare().then_some(&mut self.stream)
    }

    fn passed(&mut self, last: bool) {
        self.request_sent |= last;
    }

    fn data(&mut self, lease: Lease, last: bool) {
        self.scratch.clear();
        self.request_sent |= last;
        self.writer
            .send(&self.stream, lease, 0, &mut self.scratch, last, &self.ring);
    }

    fn end(&mut self, trailers: Option<Trailers<'_>>) {
        self.request_sent = true;
        self.writer.end(&self.stream, trailers, &self.ring);
    }
}
