//! What a client and an origin both are to the relay: a source of a body's parts and a sink for them.

use std::task::{Context, Poll};

use crate::ring::Lease;

/// One step of a body.
pub enum Part {
    /// Data, out of its framing.
    Data(Lease),
    /// The body's end; trailers can be asked for now.
    End,
}

impl From<Option<Lease>> for Part {
    fn from(data: Option<Lease>) -> Self {
        data.map_or(Self::End, Self::Data)
    }
}

/// Trailer fields, name and value.
pub type Trailers<'a> = &'a [(&'a [u8], &'a [u8])];

/// Where a body comes from.
pub trait Source {
    /// Why it may fail.
    type Error;

    /// The next part. After an error or the end it is not asked again.
    fn poll_part(&mut self, cx: &Context<'_>) -> Poll<Result<Part, Self::Error>>;

    /// Whether the end has been reached.
    fn is_ended(&self) -> bool;

    /// The trailers, where the body had any, once it has ended.
    fn with_trailers(&self, f: &mut dyn FnMut(Option<Trailers<'_>>));
}

/// Where a body goes.
pub trait Sink {
    /// Why it may fail.
    type Error;

    /// Ready when it takes more.
    fn poll_ready(&mut self, cx: &Context<'_>) -> Poll<Result<(), Self::Error>>;

    /// Takes data; `last` when the end follows at once and without trailers.
    fn data(&mut self, lease: Lease, last: bool);

    /// The body ends here.
    fn end(&mut self, trailers: Option<Trailers<'_>>);
}

/// Moves parts from `source` to `sink` until the end, or until either has to wait.
pub fn poll_pump<A: Source, B: Sink>(
    source: &mut A,
    sink: &mut B,
    cx: &Context<'_>,
) -> Poll<Pumped<A, B>> {
    loop {
        match sink.poll_ready(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(PumpError::Sink(error))),
            Poll::Pending => return Poll::Pending,
        }
        match source.poll_part(cx) {
            Poll::Ready(Ok(Part::Data(lease))) => {
                let mut last = false;
                if source.is_ended() {
                    source.with_trailers(&mut |trailers| last = trailers.is_none());
                }
                sink.data(lease, last);
                if last {
                    return Poll::Ready(Ok(()));
                }
            }
            Poll::Ready(Ok(Part::End)) => {
                source.with_trailers(&mut |trailers| sink.end(trailers));
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(PumpError::Source(error))),
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// How a pump ended.
pub type Pumped<A, B> = Result<(), PumpError<<A as Source>::Error, <B as Sink>::Error>>;

/// Which side of a pump failed.
#[derive(Debug)]
pub enum PumpError<A, B> {
    /// Where the body comes from.
    Source(A),
    /// Where it goes.
    Sink(B),
}
