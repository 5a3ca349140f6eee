//! Sends: one in flight for each socket, gathered where several wait, quiet where one fits at once.
//!
//! What a round's tasks queue is put together when it is submitted, so that all of it goes in one send, and a socket's
//! last can have its close linked to it.

use io_uring::{opcode, squeue, types};

use super::limits::{GATHER_MAX, QUIET_BYTES_MAX};
use super::operating::close_of;
use super::reactor::{Kind, State, user_data};
use super::slots::Key;
use super::socket::{CLOSED, End, Gather, Last, Receive, Sending};

impl State {
    /// Has the next send go with this round's submission, where none is in flight and something waits.
    pub(super) fn start_send(&mut self, key: Key) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        if socket.queued || socket.send_in_flight() || socket.outbox.is_empty() {
            return;
        }
        socket.queued = true;
        self.to_send.push(key);
    }

    /// Submits what this round's tasks queued.
    pub(super) fn push_sends(&mut self) {
        let mut keys = std::mem::take(&mut self.to_send);
        for key in keys.drain(..) {
            self.begin_send(key);
        }
        self.to_send = keys;
    }

    fn begin_send(&mut self, key: Key) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        socket.queued = false;
        if socket.send_in_flight()
            || socket.outbox.is_empty()
            || socket.send_error.is_some()
            || socket.closing
        {
            return;
        }
        if socket.outbox.len() == 1 {
            let lease = socket.outbox.pop().expect("one is there");
            socket.sending_bytes = lease.len();
            socket.sending = Sending::One(lease);
        } else {
            let mut gather = self.gathers.pop().unwrap_or_else(|| {
                // SAFETY: `msghdr` is plain old data; all zeroes is a valid value.
                let header = unsafe { std::mem::zeroed() };
                Box::new(Gather {
                    header,
                    vector: Vec::new(),
                    leases: Vec::new(),
                })
            });
            let mut total = 0;
            while gather.leases.len() < GATHER_MAX
                && let Some(lease) = socket.outbox.pop()
            {
                total += lease.len();
                gather.leases.push(lease);
            }
            socket.sending_bytes = total;
            socket.sending = Sending::Many(gather);
        }
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        if socket.sending_bytes <= QUIET_BYTES_MAX {
            self.quiet_serial = self.quiet_serial.wrapping_add(1).max(1);
            socket.quiet = self.quiet_serial;
            self.quiet.push((key, self.quiet_serial));
        }
        self.push_send(key);
    }

    /// Whether something depends on a quiet send's end: then the turn must not wait for other news.
    pub(super) fn quiet_awaited(&mut self) -> bool {
        // Their buffers may be what others wait for.
        if self.is_starved() {
            return !self.quiet.is_empty();
        }
        let (quiet, sockets) = (&self.quiet, &mut self.sockets);
        quiet.iter().any(|&(key, serial)| {
            sockets.get(key).is_some_and(|socket| {
                socket.quiet == serial
                    && (socket.send_waker.is_some() || !socket.outbox.is_empty() || socket.closing)
            })
        })
    }

    /// Quiet sends the kernel was given by now: taken before reaping, which starts and restarts sends.
    pub(super) fn submitted_quiet(&mut self) -> Vec<(Key, u32)> {
        if self.uring.submission().is_empty() {
            std::mem::take(&mut self.quiet)
        } else {
            Vec::new()
        }
    }

    /// Those of which no failure came with the submission are done (`MSG_DONTWAIT` never leaves one pending).
    pub(super) fn settle_quiet(&mut self, mut submitted: Vec<(Key, u32)>) {
        for (key, serial) in submitted.drain(..) {
            if let Some(socket) = self.sockets.get(key)
                && socket.quiet == serial
            {
                let bytes = socket.sending_bytes as i32;
                if socket.last == Last::Linked {
                    socket.fd = CLOSED;
                }
                self.sent(key, bytes);
            }
        }
        // Its space is used again.
        submitted.append(&mut self.quiet);
        self.quiet = submitted;
    }

    /// Submits what `sending` holds, from its first unsent byte.
    pub(super) fn push_send(&mut self, key: Key) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        // WAITALL: the kernel goes on after a short send, so that one completion means all of it.
        const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        // A quiet send never waits either: it is whole within the submission, or its completion says how short it fell.
        let flags = if socket.quiet != 0 {
            FLAGS | libc::MSG_DONTWAIT
        } else {
            FLAGS
        };
        let quiet = socket.quiet != 0;
        let linked = quiet
            && socket.last == Last::Awaited
            && socket.outbox.is_empty()
            && socket.receive == Receive::Idle;
        if linked {
            socket.last = Last::Linked;
        }
        let fd = types::Fd(socket.fd);
        let entry = match &mut socket.sending {
            Sending::Nothing | Sending::Room => return,
            Sending::One(lease) => opcode::Send::new(fd, lease.as_ptr(), lease.len() as u32)
                .flags(flags)
                .build(),
            Sending::Many(gather) => {
                gather.vector.clear();
                for lease in &gather.leases {
                    gather.vector.push(libc::iovec {
                        iov_base: lease.as_ptr().cast_mut().cast(),
                        iov_len: lease.len(),
                    });
                }
                gather.header.msg_iov = gather.vector.as_mut_ptr();
                gather.header.msg_iovlen = gather.vector.len();
                opcode::SendMsg::new(fd, &raw const gather.header)
                    .flags(flags as u32)
                    .build()
            }
        };
        let entry = if quiet {
            entry.flags(squeue::Flags::SKIP_SUCCESS)
        } else {
            entry
        };
        let entry = entry.user_data(user_data(Kind::Send, key));
        if linked {
            self.push_linked(entry, close_of(fd));
        } else {
            self.push(&entry);
        }
    }

    pub(super) fn sent(&mut self, key: Key, result: i32) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        if matches!(socket.sending, Sending::Room) {
            // A splice tries again and sees what failed.
            socket.sending = Sending::Nothing;
            if let Some(waker) = socket.send_waker.take() {
                waker.wake();
            }
            if socket.closing {
                self.finish_close(key);
            } else {
                self.start_send(key);
            }
            return;
        }
        // A quiet send that says something fell short: what is left waits for room, and says when it is done.
        socket.quiet = 0;
        if socket.last == Last::Linked && socket.fd != CLOSED {
            // What was linked to it is cancelled.
            socket.last = Last::Awaited;
        }
        if result < 0 {
            match -result {
                libc::EINTR | libc::EAGAIN if !socket.closing => {
                    self.push_send(key);
                    return;
                }
                error => socket.send_error = Some(error),
            }
        }
        let mut taken = result.max(0) as usize;
        socket.sent_total += taken as u64;
        socket.sending_bytes -= taken.min(socket.sending_bytes);
        if socket.sending_bytes > 0 && socket.send_error.is_none() && !socket.closing {
            match &mut socket.sending {
                Sending::Nothing | Sending::Room => {}
                Sending::One(lease) => lease.advance(taken),
                Sending::Many(gather) => {
                    let done = gather.leases.iter().take_while(|lease| {
                        let whole = lease.len() <= taken;
                        if whole {
                            taken -= lease.len();
                        }
                        whole
                    });
                    let done = done.count();
                    gather.leases.drain(..done);
                    gather.leases[0].advance(taken);
                }
            }
            self.push_send(key);
            return;
        }
        socket.sending_bytes = 0;
        let finished = std::mem::replace(&mut socket.sending, Sending::Nothing);
        if socket.send_error.is_some() {
            while socket.outbox.pop().is_some() {}
        }
        if let Some(waker) = socket.send_waker.take() {
            waker.wake();
        }
        // A connection nobody looks after that cannot be written to any more is reported through its end.
        let dead =
            socket.unattended.is_some() && socket.send_error.is_some() && socket.end.is_none();
        if dead {
            socket.end = socket.send_error.map(End::Error);
        }
        let closing = socket.closing;
        let ended = socket.last != Last::No && socket.outbox.is_empty();
        if let Sending::Many(mut gather) = finished {
            gather.leases.clear();
            if self.gathers.len() < 64 {
                self.gathers.push(gather);
            }
        }
        if closing {
            self.finish_close(key);
        } else {
            if dead {
                self.notify(key);
            } else if ended {
                self.report(key);
            }
            self.start_send(key);
        }
    }
}
