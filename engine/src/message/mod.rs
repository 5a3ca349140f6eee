//! What a client and an origin both are to the relay: a source of a body's parts and a sink for them.

mod pump;

use std::io;
use std::task::{Context, Poll};

pub use pump::{Pump, PumpError};

use crate::ring::Lease;
use crate::transport::Stream;

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

    /// The stream that all the rest of the body comes from as it is, and its length; `None` where it is not so.
    fn bare(&mut self) -> Option<(&mut Stream, u64)>;

    /// `bytes` of what is bare were taken out of the stream.
    fn passed(&mut self, bytes: u64);

    /// The trailers, where the body had any, once it has ended.
    fn with_trailers(&self, f: &mut dyn FnMut(Option<Trailers<'_>>));
}

/// Where a body goes.
pub trait Sink {
    /// Ready when it takes more.
    fn poll_ready(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>>;

    /// The stream that data is put into as it is; `None` where it is not so.
    fn bare(&mut self) -> Option<&mut Stream>;

    /// Bytes were put into the bare stream; `last`: all there are.
    fn passed(&mut self, last: bool);

    /// Takes data; `last` when the end follows at once and without trailers.
    fn data(&mut self, lease: Lease, last: bool);

    /// The body ends here.
    fn end(&mut self, trailers: Option<Trailers<'_>>);
}
