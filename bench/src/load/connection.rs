//! One connection's life: closed, opening, open, and closed again.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    time::Instant,
};

use super::{
    protocol::{ErrorKind, Exchange, Finished, Protocol, SLICES_MAX},
    request::Requests,
    transport::{Attempt, Plain},
};
use crate::poll::{Interest, Poller, Token};

/// Content that nobody looks at is dropped without being copied while at least as much of it is to come; less comes with
/// what follows it.
const DROPPED_BYTES_MIN: usize = 64 * 1024;

/// Where the connection stands.
enum Phase {
    Closed,
    /// Requests wait for the handshake.
    Opening(Plain),
    Open(Plain),
    /// All is answered and no more may be asked: waiting for the peer to close first, since the side that does keeps
    /// the address occupied for a while.
    Parting {
        transport: Plain,
        since: Instant,
    },
}

/// What the worker has to do after the connection moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Nothing,
    /// It is closed; exchanges that were not answered failed for this reason.
    Closed(ErrorKind),
}

pub(super) struct Connection<P> {
    phase: Phase,
    interest: Interest,
    pub(super) protocol: P,
    pub(super) token: Token,
    /// Whether an answer has come on it since it was opened.
    pub(super) proven: bool,
    /// Whether it was ever opened.
    pub(super) was_open: bool,
    /// It failed to open: not to be tried again before this.
    pub(super) rests_until: Option<Instant>,
    /// Whether the worker has it on its list of connections with room.
    pub(super) listed: bool,
}

impl<P: Protocol> Connection<P> {
    /// Closed, and listed as having room.
    pub(super) fn new(slot: u32) -> Self {
        Self {
            phase: Phase::Closed,
            interest: Interest::Read,
            protocol: P::default(),
            token: Token {
                slot,
                generation: 0,
            },
            proven: false,
            was_open: false,
            rests_until: None,
            listed: true,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether another exchange may begin now, opening the connection if need be.
    pub(super) fn has_room(&self, pipeline: usize) -> bool {
        self.protocol.in_flight() < pipeline
            && self.rests_until.is_none()
            && self.protocol.is_reusable()
            && !matches!(self.phase, Phase::Parting { .. })
    }

    /// Since when it has waited for the peer to close.
    pub(super) fn parting_since(&self) -> Option<Instant> {
        match self.phase {
            Phase::Parting { since, .. } => Some(since),
            _ => None,
        }
    }

    /// Takes exchanges' bytes to the kernel, opening the connection first if it is closed.
    pub(super) fn flush(
        &mut self,
        address: SocketAddr,
        requests: &Requests,
        poller: &Poller,
    ) -> After {
        let is_new = self.is_closed();
        if is_new {
            match Plain::connect(address) {
                Ok(transport) => self.phase = Phase::Opening(transport),
                Err(_) => return After::Closed(ErrorKind::Connect),
            }
            self.was_open = true;
        }
        let (transport, mut is_opening) = match &self.phase {
            Phase::Opening(transport) => (transport, true),
            Phase::Open(transport) => (transport, false),
            Phase::Closed | Phase::Parting { .. } => return After::Nothing,
        };
        let mut wanted = Interest::Read;
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = self.protocol.gather(requests, &mut slices);
            if filled == 0 {
                break;
            }
            // Tried at once even on a new connection: over loopback the handshake is over by now, as a rule.
            match transport.send(&slices[..filled]) {
                Ok(Attempt::Done(bytes)) => {
                    is_opening = false;
                    self.protocol.sent(bytes, requests);
                }
                Ok(Attempt::WouldBlock) => {
                    wanted = Interest::ReadAndWrite;
                    break;
                }
                Err(_) if is_opening => return After::Closed(ErrorKind::Connect),
                // The peer will not read on, but what it had to say may be waiting: the next read tells.
                Err(_) => break,
            }
        }
        let registered = match (is_new, wanted == self.interest) {
            (true, _) => poller.add(transport, self.token, wanted),
            (false, true) => Ok(()),
            (false, false) => poller.modify(transport, self.token, wanted),
        };
        self.interest = wanted;
        if registered.is_err() {
            return After::Closed(ErrorKind::Connect);
        }
        if !is_opening {
            self.phase = match std::mem::replace(&mut self.phase, Phase::Closed) {
                Phase::Opening(transport) => Phase::Open(transport),
                phase => phase,
            };
        }
        After::Nothing
    }

    /// The connection is readable: takes in what there is.
    pub(super) fn on_readable(
        &mut self,
        buffer: &mut [u8],
        requests: &Requests,
        finished: &mut Vec<Finished>,
    ) -> After {
        loop {
            let (Phase::Open(transport) | Phase::Parting { transport, .. }) = &self.phase else {
                return After::Nothing;
            };
            let unseen = self.protocol.unseen(requests).min(buffer.len() as u64) as usize;
            let drops = unseen >= DROPPED_BYTES_MIN;
            let room = if drops { unseen } else { buffer.len() };
            let arrived = if drops {
                transport.discard(&mut buffer[..room])
            } else {
                transport.receive(buffer)
            };
            match arrived {
                Ok(Attempt::WouldBlock) => return After::Nothing,
                Ok(Attempt::Done(0)) => {
                    self.protocol.end_of_stream(requests, finished);
                    return After::Closed(ErrorKind::EarlyClose);
                }
                Ok(Attempt::Done(len)) => {
                    let taken = if drops {
                        self.protocol.dropped(len, requests, finished)
                    } else {
                        self.protocol.receive(&buffer[..len], requests, finished)
                    };
                    if let Err(kind) = taken {
                        return After::Closed(kind);
                    }
                    if len < room {
                        return After::Nothing;
                    }
                }
                Err(error) => return After::Closed(kind_of(&error)),
            }
        }
    }

    /// No more exchanges on this connection.
    pub(super) fn part(&mut self, now: Instant) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Open(transport) => Phase::Parting {
                transport,
                since: now,
            },
            phase => phase,
        };
    }

    /// Closes, and takes out what was not answered; true if the peer had announced that it would not answer it.
    pub(super) fn close(&mut self, unfinished: &mut Vec<Exchange>) -> bool {
        self.phase = Phase::Closed;
        self.proven = false;
        self.token.generation = self.token.generation.wrapping_add(1);
        self.protocol.abandon(unfinished)
    }
}

fn kind_of(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::TimedOut => ErrorKind::Timeout,
        _ => ErrorKind::Reset,
    }
}
