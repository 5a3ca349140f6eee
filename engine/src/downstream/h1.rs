//! A client that speaks HTTP/1: the request's body comes out of its stream, the response goes into it.

use std::io;
use std::task::{Context, Poll, ready};

use ringway_protocol::h1::encode::{self, ConnectionField, SimpleResponse};
use ringway_protocol::{BodyFraming, ResponseHead, Version};

use crate::exchange::{Client, ClientError, Respond};
use crate::message::{Part, Sink, Source, Trailers};
use crate::ring::{Group, Lease, Ring};
use crate::transport::{BodyReader, BodyWriter, ReadError, Stream};

/// Bytes towards the client that may wait before more of a body is taken from the origin.
const UNSENT_BYTES_MAX: usize = 16 * 1024;

/// Memory of one exchange's client side, reused.
#[derive(Default)]
pub(super) struct H1 {
    reader: BodyReader,
    writer: BodyWriter,
    body_bytes_max: u64,
    /// The request's body was spliced: the next may be as long, and is to stay in the kernel but for its head.
    pub(super) spliced: bool,
    scratch: Vec<u8>,
}

impl H1 {
    /// The client of a request of `version` that came by `stream`.
    pub(super) fn client<'a>(
        &'a mut self,
        ring: &'a Ring,
        stream: &'a mut Stream,
        version: Version,
    ) -> H1Client<'a> {
        H1Client {
            ring,
            stream,
            h1: self,
            version,
        }
    }
}

/// The client of one request.
pub(super) struct H1Client<'a> {
    pub(super) ring: &'a Ring,
    pub(super) stream: &'a mut Stream,
    pub(super) h1: &'a mut H1,
    pub(super) version: Version,
}

impl Source for H1Client<'_> {
    type Error = ClientError;

    fn poll_part(&mut self, cx: &Context<'_>) -> Poll<Result<Part, ClientError>> {
        let H1 {
            reader,
            body_bytes_max,
            ..
        } = &mut *self.h1;
        let part = ready!(reader.poll_part(cx, self.stream, self.ring));
        if *body_bytes_max > 0 && reader.bytes() > *body_bytes_max {
            return Poll::Ready(Err(ClientError::TooLarge));
        }
        Poll::Ready(part.map(Part::from).map_err(|error| match error {
            ReadError::Framing(error) => ClientError::Body(error),
            ReadError::Io(_) => ClientError::Gone,
        }))
    }

    fn is_ended(&self) -> bool {
        self.h1.reader.is_ended()
    }

    fn bare(&mut self) -> Option<(&mut Stream, u64)> {
        let left = self.h1.reader.bare_bytes()?;
        Some((self.stream, left))
    }

    fn passed(&mut self, bytes: u64) {
        self.h1.spliced = true;
        self.h1.reader.pass(bytes);
    }

    fn with_trailers(&self, f: &mut dyn FnMut(Option<Trailers<'_>>)) {
        if self.h1.reader.has_trailers() {
            f(Some(&self.h1.reader.trailers().collect::<Vec<_>>()));
        } else {
            f(None);
        }
    }
}

impl Sink for H1Client<'_> {
    fn poll_ready(&mut self, cx: &Context<'_>) -> Poll<Result<(), io::Error>> {
        self.stream.socket().poll_unsent(cx, UNSENT_BYTES_MAX)
    }

    fn bare(&mut self) -> Option<&mut Stream> {
        self.h1.writer.is_bare().then_some(self.stream)
    }

    fn passed(&mut self, _last: bool) {}

    fn data(&mut self, lease: Lease, last: bool) {
        let H1 {
            writer, scratch, ..
        } = &mut *self.h1;
        scratch.clear();
        writer.send(self.stream, lease, 0, scratch, last, self.ring);
    }

    fn end(&mut self, trailers: Option<Trailers<'_>>) {
        self.h1.writer.end(self.stream, trailers, self.ring);
    }
}

impl Client for H1Client<'_> {
    fn respond(&mut self, head: &ResponseHead, lease: Lease, length: usize, response: Respond<'_>) {
        let H1 {
            writer, scratch, ..
        } = &mut *self.h1;
        scratch.clear();
        let bytes = &lease.bytes()[..length];
        encode::response_head(
            head,
            bytes,
            self.version,
            response.framing,
            response.connection,
            scratch,
        );
        writer.begin(response.framing);
        writer.send(
            self.stream,
            lease,
            length,
            scratch,
            response.last,
            self.ring,
        );
    }

    fn inform(&mut self, head: &ResponseHead, bytes: &[u8]) {
        let text = &mut self.h1.scratch;
        text.clear();
        encode::response_head(
            head,
            bytes,
            self.version,
            BodyFraming::None,
            ConnectionField::default(),
            text,
        );
        self.stream.send_text(text, self.ring);
    }

    fn answer(&mut self, response: &SimpleResponse<'_>) {
        let text = &mut self.h1.scratch;
        text.clear();
        encode::simple_response(response, text);
        self.stream.send_text(text, self.ring);
    }

    fn poll_gone(&mut self, cx: &Context<'_>, keen: bool) -> Poll<()> {
        self.stream.socket().poll_gone(cx, keen)
    }

    fn stream(&mut self) -> &mut Stream {
        self.stream
    }

    fn begin_body(&mut self, framing: BodyFraming, bytes_max: u64) {
        self.h1.reader.begin(framing);
        self.h1.body_bytes_max = bytes_max;
        self.h1.spliced = false;
        // One with a length is spliced where it is long.
        if framing == BodyFraming::Chunked {
            self.stream.socket().set_group(Group::Large);
        }
    }
}
