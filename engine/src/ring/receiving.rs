//! Receives: armed, stopped, starved, and what they bring.

use std::rc::Rc;

use io_uring::{cqueue, opcode, squeue, types};

use super::buffers::{Buffers, Group};
use super::limits::FLOWS_KEPT;
use super::reactor::{IGNORED, Kind, State, user_data};
use super::slots::Key;
use super::socket::{End, Entry, Flow, Receive};

impl State {
    pub(super) fn arm_receive(&mut self, key: Key) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        socket.report_from(1);
        if socket.receive != Receive::Idle || socket.end.is_some() || socket.closing {
            return;
        }
        socket.receive = Receive::Armed;
        socket.group = socket.next_group;
        let fd = types::Fd(socket.fd);
        let group = socket.group as u16;
        let entry = if socket.multishot {
            opcode::RecvMulti::new(fd, group).build()
        } else {
            opcode::Recv::new(fd, std::ptr::null_mut(), 0)
                .buf_group(group)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT)
        };
        self.push(&entry.user_data(user_data(Kind::Receive, key)));
    }

    pub(super) fn stop_receive(&mut self, key: Key) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        match socket.receive {
            Receive::Armed => {
                socket.receive = Receive::Stopping;
                self.cancel(user_data(Kind::Receive, key));
            }
            Receive::Starved => {
                socket.receive = Receive::Idle;
            }
            Receive::Idle | Receive::Stopping => {}
        }
    }

    pub(super) fn cancel(&mut self, target: u64) {
        self.push(&opcode::AsyncCancel::new(target).build().user_data(IGNORED));
    }

    pub(super) fn received(&mut self, key: Key, result: i32, flags: u32, buffers: &Rc<Buffers>) {
        let Some(socket) = self.sockets.get(key) else {
            debug_assert!(
                cqueue::buffer_select(flags).is_none(),
                "a slot outlives its operations"
            );
            return;
        };
        if result >= 0 {
            self.together.came(&mut socket.due_since);
        }
        if let Some(index) = cqueue::buffer_select(flags) {
            let lease = buffers.filled(socket.group, index, result.max(0) as usize);
            if result > 0 {
                socket.received_total += result as u64;
                if !socket.closing {
                    socket.begin_flow(|| self.flows.pop());
                    socket.flow().inbox.push(buffers.relieve(lease));
                }
            }
        }
        if result == 0 {
            socket.end = Some(End::Eof);
        }
        if !cqueue::more(flags) {
            socket.receive = Receive::Idle;
        }
        match -result {
            libc::ENOBUFS => {
                self.counters.buffer_exhausted += 1;
                socket.receive = Receive::Starved;
                let group = socket.group;
                buffers.ring(group).missed();
                self.starved[group as usize].push_back(key);
                if socket.closing {
                    socket.receive = Receive::Idle;
                    self.finish_close(key);
                }
                return;
            }
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
            error if error > 0 => socket.end = Some(End::Error(error)),
            _ => {}
        }
        if socket.closing {
            self.finish_close(key);
            return;
        }
        if socket.receive == Receive::Armed && socket.any_flow().is_some_and(Flow::inbox_full) {
            // From here on each receive is asked for: the reader is slower than the writer.
            socket.multishot = false;
            self.stop_receive(key);
        }
        self.notify(key);
    }

    /// Reports an unattended socket, once.
    pub(super) fn report(&mut self, key: Key) {
        if let Some(socket) = self.sockets.get(key)
            && let Some(tag) = socket.unattended
            && !socket.reported
        {
            socket.reported = true;
            self.unattended.push(tag.get());
        }
    }

    /// Tells whoever looks after the socket that its inbox or end changed.
    pub(super) fn notify(&mut self, key: Key) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        let news = socket.has_arrived() || socket.end.is_some();
        if socket.unattended.is_none() {
            socket.wake_receiver();
        } else if news {
            self.report(key);
        } else if socket.receive == Receive::Idle {
            // Stopped without news: it goes on listening.
            self.arm_receive(key);
        }
    }

    /// Takes back what is over on a socket that nobody looks after.
    pub(super) fn end_flow(&mut self, key: Key) {
        let flow = self.sockets.get(key).and_then(Entry::end_flow);
        self.keep_flow(flow);
    }

    /// Keeps an empty flow for the next socket that needs one.
    pub(super) fn keep_flow(&mut self, flow: Option<Box<Flow>>) {
        if self.flows.len() < FLOWS_KEPT {
            self.flows.extend(flow);
        }
    }

    /// Arms again those that found no buffer, as many as half of the buffers: what they find at once must not leave those
    /// that are armed without any, or one crowd keeps everyone starving in turns. True where more can be armed next.
    pub(super) fn feed_starved(&mut self, buffers: &Rc<Buffers>, now_ms: u64) -> bool {
        let mut more = false;
        for group in [Group::Small, Group::Large] {
            let ring = buffers.ring(group);
            if self.starved[group as usize].is_empty() || !ring.feed(now_ms) {
                continue;
            }
            let mut room = ring.available().div_ceil(2);
            while room > 0
                && let Some(key) = self.starved[group as usize].pop_front()
            {
                if let Some(socket) = self.sockets.get(key)
                    && socket.receive == Receive::Starved
                {
                    room -= 1;
                    socket.receive = Receive::Idle;
                    self.arm_receive(key);
                }
            }
            more |= !self.starved[group as usize].is_empty();
        }
        more
    }

    /// Whether anyone waits for a buffer.
    pub(super) fn is_starved(&self) -> bool {
        self.starved.iter().any(|queue| !queue.is_empty())
    }
}
