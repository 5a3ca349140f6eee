//! What a connection speaks, seen from the worker: exchanges go in, bytes come out; bytes go in, outcomes come out.

use std::{io::IoSlice, time::Instant};

use super::request::Requests;

/// One request and its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exchange {
    /// When it should have been sent. Latency counts from here, however late it was sent in fact.
    pub(super) intended: Instant,
    /// When it was handed to the connection. Timeouts count from here.
    pub(super) begun: Instant,
    /// Which of the prepared requests.
    pub(super) request: u32,
}

/// An exchange that has come to its end: the length of the answer's content, or what went wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finished {
    pub(super) exchange: Exchange,
    pub(super) outcome: Result<u64, ErrorKind>,
}

/// Why an exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The connection could not be opened.
    Connect,
    /// The connection was reset.
    Reset,
    /// The connection ended before the answer did.
    EarlyClose,
    /// The answer took too long.
    Timeout,
    /// The status was not 2xx.
    Non2xx,
    /// The content was not what was expected, in length or in bytes.
    BodyMismatch,
    /// The answer was not HTTP.
    Malformed,
}

impl ErrorKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Reset,
        Self::EarlyClose,
        Self::Timeout,
        Self::Non2xx,
        Self::BodyMismatch,
        Self::Malformed,
    ];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::EarlyClose => "early_close",
            Self::Timeout => "timeout",
            Self::Non2xx => "non_2xx",
            Self::BodyMismatch => "body_mismatch",
            Self::Malformed => "malformed",
        }
    }
}

/// Pieces of requests handed to the kernel at a time.
pub(super) const SLICES_MAX: usize = 16;

/// One connection's protocol state. It never sees a socket.
pub(super) trait Protocol: Default {
    /// Takes on an exchange; its bytes are due from now on.
    fn begin(&mut self, exchange: Exchange);

    /// Exchanges that have begun and not finished.
    fn in_flight(&self) -> usize;

    /// When the oldest of them began.
    fn oldest(&self) -> Option<Instant>;

    /// The next bytes to send; how many of `slices` were filled.
    fn gather<'a>(&self, requests: &'a Requests, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> usize;

    /// So many of the gathered bytes were sent.
    fn sent(&mut self, bytes: usize, requests: &Requests);

    /// Takes in what arrived and adds to `finished`.
    fn receive(
        &mut self,
        input: &[u8],
        requests: &Requests,
        finished: &mut Vec<Finished>,
    ) -> Result<(), ErrorKind>;

    /// So many bytes that come next are counted, not looked at: they may be dropped unread.
    fn unseen(&self, requests: &Requests) -> u64;

    /// So many of those were dropped; else as [`receive`](Self::receive).
    fn dropped(
        &mut self,
        bytes: usize,
        requests: &Requests,
        finished: &mut Vec<Finished>,
    ) -> Result<(), ErrorKind>;

    /// The peer has ended its side, which may be what an answer was waiting for.
    fn end_of_stream(&mut self, requests: &Requests, finished: &mut Vec<Finished>);

    /// Whether another exchange may begin on this connection.
    fn is_reusable(&self) -> bool;

    /// Takes what has not finished out, oldest first. With it, whether the peer had announced that it would not answer
    /// any more, so that they may be sent again elsewhere. The state is then as new.
    fn abandon(&mut self, unfinished: &mut Vec<Exchange>) -> bool;
}
