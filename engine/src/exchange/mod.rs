//! One request from its head to its log line: route, upstream, relay, retry, failure.

mod failure;
mod forward;
mod quick;
mod record;
mod relay;
mod services;
mod tunnel;
mod watch;

pub use failure::Failure;
pub use forward::{Exchange, serve, text_of};
pub use quick::{Pending, begin, complete, resume};
pub use record::{Outcome, Remembered};
pub use services::Services;

use std::net::SocketAddr;
use std::task::{Context, Poll};

use ringway_protocol::h1::encode::{ConnectionField, SimpleResponse};
use ringway_protocol::{BodyError, BodyFraming, ResponseHead};

use crate::message::{Sink, Source};
use crate::ring::{Lease, Timer};
use crate::transport::Stream;

/// Why a client's body cannot be had.
#[derive(Debug)]
pub enum ClientError {
    /// The client went away.
    Gone,
    /// Its framing is broken.
    Body(BodyError),
    /// It is longer than allowed.
    TooLarge,
}

/// What a client is to an exchange: the request's body comes from it, the response goes to it.
pub trait Client: Source<Error = ClientError> + Sink {
    /// The response's head and what of the body is in `lease` behind its first `length` bytes, which are the head as
    /// received. `framing` is the body's; `last` when it is complete.
    fn respond(&mut self, head: &ResponseHead, lease: Lease, length: usize, response: Respond<'_>);

    /// A 1xx.
    fn inform(&mut self, head: &ResponseHead, bytes: &[u8]);

    /// A response of our own.
    fn answer(&mut self, response: &SimpleResponse<'_>);

    /// Ready when the client closed its side. While it is not `keen`, nothing is armed just to notice.
    fn poll_gone(&mut self, cx: &Context<'_>, keen: bool) -> Poll<()>;

    /// The byte stream, once the protocol was left.
    fn stream(&mut self) -> &mut Stream;

    /// The request's body begins, framed so, of at most `bytes_max` bytes (0: no limit).
    fn begin_body(&mut self, framing: BodyFraming, bytes_max: u64);
}

/// How a response's head is to be written.
#[derive(Debug, Clone, Copy)]
pub struct Respond<'a> {
    /// The body's framing towards the client.
    pub framing: BodyFraming,
    /// What Connection says.
    pub connection: ConnectionField<'a>,
    /// The body in the lease is all of it, and no trailers follow.
    pub last: bool,
}

/// How long an exchange waits, and how much it takes: the listener's part.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Between two reads of a body, or two writes that are taken; milliseconds.
    pub body_idle_ms: u64,
    /// Bytes per second under which a body or reader is closed; 0: no limit.
    pub min_rate: u64,
    /// Without a byte either way, a tunnel is closed; milliseconds.
    pub tunnel_idle_ms: u64,
    /// Bytes of a request's body, where the route says nothing else; 0: no limit.
    pub body_bytes: u64,
}

/// Who asks.
pub struct Peer<'a> {
    /// The client's address.
    pub address: SocketAddr,
    /// Its IP as text.
    pub text: &'a [u8],
    /// Whether its `Forwarded` is believed.
    pub trusted: bool,
    /// The connection's timer; the exchange sets it and leaves it set to nothing that matters.
    pub timer: &'a Timer,
    /// The connection's first request: nothing is armed yet that would notice the client going away.
    pub first: bool,
    /// The connection's last request, by its limit.
    pub last: bool,
    /// The listener's patience.
    pub patience: Patience,
}
