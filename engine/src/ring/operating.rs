//! What is not a socket's own receive or send: closing, accepting, connecting, the wake from other threads.

use std::os::fd::{AsRawFd, RawFd};

use io_uring::{opcode, squeue, types};

use super::limits::ACCEPTS_ARMED;
use super::operation::{Address, Operation};
use super::reactor::{IGNORED, Kind, State, user_data};
use super::slots::Key;
use super::socket::{CLOSED, Receive};

/// Has the kernel wait for a connection before it tries to accept one (`IORING_ACCEPT_POLL_FIRST`, 6.10): an attempt in vain
/// makes a socket and a file and frees them, which costs as much as an accept.
fn wait_before_accepting(accept: &mut squeue::Entry) {
    const IORING_ACCEPT_POLL_FIRST: u16 = 1 << 2;
    const IOPRIO_OFFSET: usize = 2;
    const { assert!(size_of::<squeue::Entry>() == 64) };
    // SAFETY: an entry is the kernel's `struct io_uring_sqe` and nothing else, whose u16 at this offset holds an accept's flags.
    unsafe {
        std::ptr::from_mut(accept)
            .byte_add(IOPRIO_OFFSET)
            .cast::<u16>()
            .write(IORING_ACCEPT_POLL_FIRST);
    }
}

/// A close, of whose success nothing is heard.
pub(super) fn close_of(fd: types::Fd) -> squeue::Entry {
    opcode::Close::new(fd)
        .build()
        .flags(squeue::Flags::SKIP_SUCCESS)
        .user_data(IGNORED)
}

impl State {
    /// Gives a socket up: its operations are stopped, and when the last has ended its descriptor is closed.
    pub(super) fn close(&mut self, key: Key) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        if socket.closing {
            return;
        }
        socket.closing = true;
        socket.unattended = None;
        self.together.came(&mut socket.due_since);
        let in_flight = socket.send_in_flight();
        if in_flight {
            let flow = socket.flow();
            flow.receive_waker = None;
            flow.send_waker = None;
            while flow.inbox.pop().is_some() {}
            while flow.outbox.pop().is_some() {}
        } else {
            let flow = socket.discard_flow();
            self.keep_flow(flow);
        }
        self.stop_receive(key);
        if in_flight {
            self.cancel(user_data(Kind::Send, key));
        }
        self.finish_close(key);
    }

    pub(super) fn finish_close(&mut self, key: Key) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        if socket.receive != Receive::Idle || socket.send_in_flight() {
            return;
        }
        let fd = socket.fd;
        self.sockets.remove(key);
        if fd != CLOSED {
            self.close_descriptor(fd);
        }
    }

    pub(super) fn close_descriptor(&mut self, fd: RawFd) {
        self.push(&close_of(types::Fd(fd)));
    }

    pub(super) fn arm_accepts(&mut self, acceptor: Key) {
        loop {
            let Some(entry) = self.acceptors.get(acceptor) else {
                return;
            };
            if entry.stopped || entry.error.is_some() || entry.armed.len() >= ACCEPTS_ARMED {
                return;
            }
            let fd = types::Fd(entry.fd);
            let mut address = Address::empty();
            let storage = (&raw mut address.storage).cast();
            let length = &raw mut address.length;
            let key = self.operations.insert(Operation::Accept {
                acceptor,
                address,
                waits_first: self.accept_waits_first,
            });
            self.acceptors
                .get(acceptor)
                .expect("it was there")
                .armed
                .push(key);
            let mut accept = opcode::Accept::new(fd, storage, length)
                .flags(libc::SOCK_CLOEXEC)
                .build();
            if self.accept_waits_first {
                wait_before_accepting(&mut accept);
            }
            self.push(&accept.user_data(user_data(Kind::Operation, key)));
        }
    }

    pub(super) fn stop_accepts(&mut self, acceptor: Key) {
        let Some(entry) = self.acceptors.get(acceptor) else {
            return;
        };
        entry.stopped = true;
        for key in entry.armed.clone() {
            self.cancel(user_data(Kind::Operation, key));
        }
    }

    pub(super) fn start_connect(&mut self, fd: RawFd, address: Box<Address>) -> Key {
        let storage = (&raw const address.storage).cast();
        let length = address.length;
        let key = self.operations.insert(Operation::Connect {
            fd,
            _address: address,
            result: None,
            waker: None,
            abandoned: false,
        });
        let connect = opcode::Connect::new(types::Fd(fd), storage, length).build();
        self.push(&connect.user_data(user_data(Kind::Operation, key)));
        key
    }

    pub(super) fn abandon_connect(&mut self, key: Key) {
        let Some(Operation::Connect {
            fd,
            result,
            abandoned,
            ..
        }) = self.operations.get(key)
        else {
            return;
        };
        let fd = *fd;
        if result.is_some() {
            self.operations.remove(key);
            self.close_descriptor(fd);
        } else {
            *abandoned = true;
            self.cancel(user_data(Kind::Operation, key));
        }
    }

    pub(super) fn arm_remote(&mut self) {
        let Some(remote) = &self.remote else { return };
        let (fd, key) = (types::Fd(remote.fd.as_raw_fd()), remote.operation);
        let Some(Operation::Remote { counter }) = self.operations.get(key) else {
            return;
        };
        let buffer = std::ptr::from_mut(&mut **counter).cast();
        self.push(
            &opcode::Read::new(fd, buffer, 8)
                .build()
                .user_data(user_data(Kind::Operation, key)),
        );
    }

    pub(super) fn completed(&mut self, key: Key, outcome: i32) {
        match self.operations.get(key) {
            Some(Operation::Remote { .. }) => {
                if let Some(remote) = &mut self.remote {
                    remote.raised = true;
                    if let Some(waker) = &remote.waker {
                        waker.wake_by_ref();
                    }
                }
                self.arm_remote();
            }
            Some(Operation::Connect {
                result,
                waker,
                abandoned,
                fd,
                ..
            }) => {
                if *abandoned {
                    let fd = *fd;
                    self.operations.remove(key);
                    self.close_descriptor(fd);
                } else {
                    *result = Some(outcome);
                    if let Some(waker) = waker {
                        waker.wake_by_ref();
                    }
                }
            }
            Some(Operation::Accept {
                acceptor,
                address,
                waits_first,
            }) => {
                let (acceptor, peer) = (*acceptor, address.get());
                let unknown = *waits_first && outcome == -libc::EINVAL;
                self.operations.remove(key);
                // The kernel does not know how to wait first: tried again without.
                self.accept_waits_first &= !unknown;
                let outcome = if unknown { -libc::EAGAIN } else { outcome };
                self.accepted(acceptor, key, outcome, peer);
            }
            None => {}
        }
    }

    pub(super) fn accepted(
        &mut self,
        acceptor: Key,
        key: Key,
        outcome: i32,
        peer: Option<std::net::SocketAddr>,
    ) {
        let Some(entry) = self.acceptors.get(acceptor) else {
            if outcome >= 0 {
                self.close_descriptor(outcome);
            }
            return;
        };
        entry.armed.retain(|&armed| armed != key);
        if outcome >= 0 {
            match peer {
                Some(peer) => entry.accepted.push_back((outcome, peer)),
                None => {
                    self.close_descriptor(outcome);
                    return self.arm_accepts(acceptor);
                }
            }
        } else if !entry.stopped {
            match -outcome {
                // The connection went away while it waited: not this listener's trouble (accept(2)).
                libc::ECANCELED
                | libc::ECONNABORTED
                | libc::EINTR
                | libc::EAGAIN
                | libc::EPROTO => {}
                error => entry.error = Some(error),
            }
        }
        if let Some(waker) = &entry.waker {
            waker.wake_by_ref();
        }
        self.arm_accepts(acceptor);
    }
}
