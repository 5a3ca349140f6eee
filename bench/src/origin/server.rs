//! One thread of the origin: a listener of its own and the connections it accepted.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    net::{SocketAddr, TcpListener},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use super::{
    answer::Heads,
    connection::{Connection, Shared, Waits},
};
use crate::{
    pattern::PatternFile,
    poll::{Interest, Poller, Ready, Token},
};

/// Longest queue of connections nobody accepted yet. The kernel caps it at `net.core.somaxconn`.
pub(crate) const BACKLOG: i32 = 8192;

/// How often a thread looks whether it is to stop, and at the clock for its date.
const TICK: Duration = Duration::from_millis(100);

/// How long accepting rests when the process has no descriptor left.
const ACCEPT_REST: Duration = Duration::from_millis(100);

const READ_BUFFER_BYTES: usize = 256 * 1024;

const LISTENER: Token = Token {
    slot: u32::MAX,
    generation: 0,
};

/// A socket that listens at `address` together with others that do.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    net::bind(&socket, &address)?;
    net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

pub(super) fn local_address(listener: &TcpListener) -> io::Result<SocketAddr> {
    listener.local_addr()
}

pub(super) struct Server {
    listener: TcpListener,
    poller: Poller,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// When a delayed answer is due.
    alarms: BinaryHeap<Reverse<(Instant, u32, u32)>>,
    shared: Shared,
    accept_again_at: Option<Instant>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    occupant: Option<(Connection, Interest)>,
}

impl Server {
    pub(super) fn new(listener: TcpListener) -> io::Result<Self> {
        let poller = Poller::new()?;
        poller.add(&listener, LISTENER, Interest::Read)?;
        let read_buffer = vec![0; READ_BUFFER_BYTES].into_boxed_slice();
        let shared = Shared {
            heads: Heads::new(),
            read_buffer,
            file: PatternFile::new()?,
            now: Instant::now(),
        };
        let alarms = BinaryHeap::new();
        Ok(Self {
            listener,
            poller,
            slots: Vec::new(),
            free: Vec::new(),
            alarms,
            shared,
            accept_again_at: None,
        })
    }

    pub(super) fn run(mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut ready: Vec<Ready> = Vec::new();
        let mut next_tick = self.shared.now + TICK;
        while !stop.load(Ordering::Relaxed) {
            let wake = self
                .alarms
                .peek()
                .map_or(next_tick, |Reverse((at, ..))| next_tick.min(*at));
            let timeout = wake.saturating_duration_since(Instant::now());
            ready.extend(self.poller.wait(timeout)?);
            self.shared.now = Instant::now();
            for Ready { token, .. } in ready.drain(..) {
                match token {
                    LISTENER => self.accept()?,
                    token => self.drive(token),
                }
            }
            while let Some(&Reverse((at, slot, generation))) = self.alarms.peek() {
                if at > self.shared.now {
                    break;
                }
                self.alarms.pop();
                self.drive(Token { slot, generation });
            }
            if self.shared.now >= next_tick {
                next_tick = self.shared.now + TICK;
                self.shared.heads.tick();
                if self
                    .accept_again_at
                    .take_if(|at| *at <= self.shared.now)
                    .is_some()
                {
                    self.poller
                        .modify(&self.listener, LISTENER, Interest::Read)?;
                }
            }
        }
        Ok(())
    }

    /// Accepts one connection and drives it at once: its request is often there already. One at a time, because
    /// the listener stays readable while there are more, and others should not wait behind all of them.
    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..16 {
            let socket = match net::accept_with(
                &self.listener,
                SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            ) {
                Ok(socket) => socket,
                Err(errno) => {
                    let error = io::Error::from(errno);
                    return match error.kind() {
                        io::ErrorKind::WouldBlock => Ok(()),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => continue,
                        _ => {
                            // Out of descriptors or memory: it passes, and the queue keeps the others.
                            self.accept_again_at = Some(self.shared.now + ACCEPT_REST);
                            self.poller
                                .modify(&self.listener, LISTENER, Interest::Hangup)
                        }
                    };
                }
            };
            // Answers leave in one piece each; waiting for acknowledgements would only delay them.
            sockopt::set_tcp_nodelay(&socket, true)?;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.slots.push(Slot::default());
                self.slots.len() as u32 - 1
            });
            let entry = &mut self.slots[slot as usize];
            let token = Token {
                slot,
                generation: entry.generation,
            };
            let connection = Connection::new(socket.into());
            self.poller
                .add(connection.socket(), token, Interest::Read)?;
            entry.occupant = Some((connection, Interest::Read));
        }
        Ok(())
    }

    fn drive(&mut self, token: Token) {
        let entry = &mut self.slots[token.slot as usize];
        if entry.generation != token.generation {
            return;
        }
        let Some((connection, interest)) = &mut entry.occupant else {
            return;
        };
        let wanted = match connection.drive(&mut self.shared) {
            Ok(Waits::Readable) => Some(Interest::Read),
            Ok(Waits::Writable) => Some(Interest::ReadAndWrite),
            Ok(Waits::Until(at)) => {
                if let Some(at) = at {
                    self.alarms
                        .push(Reverse((at, token.slot, token.generation)));
                }
                Some(Interest::Hangup)
            }
            Ok(Waits::Closed) | Err(_) => None,
        };
        let kept = match wanted {
            Some(wanted) if wanted == *interest => true,
            Some(wanted) => {
                *interest = wanted;
                self.poller
                    .modify(connection.socket(), token, wanted)
                    .is_ok()
            }
            None => false,
        };
        if !kept {
            entry.occupant = None;
            entry.generation = entry.generation.wrapping_add(1);
            self.free.push(token.slot);
        }
    }
}
