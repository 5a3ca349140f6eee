//! Sends: one in flight for each socket, gathered where several wait, quiet where one fits at once.
//!
//! What a round's tasks queue is put together when it is submitted, so that all of it goes in one send, and a socket's
//! last can have its close linked to it.

use std::num::NonZeroI32;

use io_uring::{opcode, squeue, types};

use super::limits::{GATHER_MAX, GATHERS_KEPT, QUIET_BYTES_MAX};
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
        if socket.may_send() {
            self.to_send.push(key);
        }
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
        if socket.closing {
            return;
        }
        let failed = socket.send_error.is_some();
        let flow = socket.flow();
        flow.queued = false;
        if failed || flow.send_in_flight() {
            return;
        }
        let Some(lease) = flow.outbox.pop() else {
            return;
        };
        flow.sending_bytes = lease.len();
        flow.sending = if flow.outbox.is_empty() {
            Sending::One(lease)
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
            gather.leases.push(lease);
            while gather.leases.len() < GATHER_MAX
                && let Some(lease) = flow.outbox.pop()
            {
                flow.sending_bytes += lease.len();
                gather.leases.push(lease);
            }
            Sending::Many(gather)
        };
        if flow.sending_bytes <= QUIET_BYTES_MAX {
            self.quiet_serial = self.quiet_serial.wrapping_add(1).max(1);
            flow.quiet = self.quiet_serial;
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
                // A connection that ends with it counts among the open ones until then.
                let ends = socket.closing || socket.last == Last::Linked;
                socket.any_flow().is_some_and(|flow| {
                    flow.quiet == serial
                        && (flow.send_waker.is_some() || !flow.outbox.is_empty() || ends)
                })
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
            let Some(socket) = self.sockets.get(key) else {
                continue;
            };
            if socket.any_flow().is_none_or(|flow| flow.quiet != serial) {
                continue;
            }
            if let Some(flow) = socket.settle() {
                self.keep_flow(flow);
                continue;
            }
            let bytes = socket.flow().sending_bytes as i32;
            if socket.last == Last::Linked {
                socket.fd = CLOSED;
            }
            self.sent(key, bytes);
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
        let parts = socket.last == Last::Awaited && socket.receive == Receive::Idle;
        let fd = types::Fd(socket.fd);
        let flow = socket.flow();
        let quiet = flow.quiet != 0;
        let linked = quiet && parts && flow.outbox.is_empty();
        let mut flags = FLAGS;
        if quiet {
            flags |= libc::MSG_DONTWAIT;
        }
        if linked {
            // The last segment waits for the close behind it and carries its FIN: a packet and a wake of the peer less. Where
            // the close does not come, because this falls short, what is sent next takes it along.
            flags |= libc::MSG_MORE;
        }
        let entry = match &mut flow.sending {
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
        if linked {
            socket.last = Last::Linked;
        }
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
        if matches!(socket.flow().sending, Sending::Room) {
            socket.flow().sending = Sending::Nothing;
            // A poll ends with the peer's sending side too, room or not: that peer counts as gone, or waiting for room would
            // never wait again. All else the next splice sees for itself.
            let events = libc::POLLOUT | libc::POLLERR | libc::POLLHUP;
            if result > 0 && result & i32::from(events) == 0 {
                socket.send_error = socket.send_error.or(NonZeroI32::new(libc::EPIPE));
            }
        } else {
            // A quiet send that says something fell short: what is left waits for room, and says when it is done.
            socket.flow().quiet = 0;
            if socket.last == Last::Linked && socket.fd != CLOSED {
                // What was linked to it is cancelled.
                socket.last = Last::Awaited;
            }
            match -result {
                libc::EINTR | libc::EAGAIN if !socket.closing => {
                    self.push_send(key);
                    return;
                }
                error => socket.send_error = socket.send_error.or(NonZeroI32::new(error.max(0))),
            }
            let taken = result.max(0) as usize;
            socket.sent_total += taken as u64;
            let stopped = socket.send_error.is_some() || socket.closing;
            let flow = socket.flow();
            flow.sending_bytes -= taken.min(flow.sending_bytes);
            if flow.sending_bytes > 0 && !stopped {
                flow.sending.advance(taken);
                self.push_send(key);
                return;
            }
            flow.sending_bytes = 0;
            if let Sending::Many(mut gather) =
                std::mem::replace(&mut flow.sending, Sending::Nothing)
            {
                gather.leases.clear();
                if self.gathers.len() < GATHERS_KEPT {
                    self.gathers.push(gather);
                }
            }
            if stopped {
                while flow.outbox.pop().is_some() {}
            }
        }
        if let Some(waker) = socket.flow().send_waker.take() {
            waker.wake();
        }
        if socket.closing {
            self.finish_close(key);
            return;
        }
        if socket.unattended.is_some() {
            if let Some(error) = socket.send_error
                && socket.end.is_none()
            {
                // Nobody writes to it again: it is reported through its end.
                socket.end = Some(End::Error(error.get()));
                self.notify(key);
            } else if socket.last != Last::No && socket.flow().outbox.is_empty() {
                self.report(key);
            }
        }
        self.start_send(key);
        self.end_flow(key);
    }
}
