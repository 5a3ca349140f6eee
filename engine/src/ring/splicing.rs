//! Bytes that pass from socket to socket without passing through this process: splice(2) through pooled pipes.
//!
//! Readiness comes from the ring; the calls are made here and never wait. io_uring's own splice would run on kernel
//! worker threads, one for each transfer that waits.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};

use io_uring::{opcode, types};
use rustix::io::Errno;

use super::handles::Socket;
use super::limits::{PIPE_BYTES, PIPE_BYTES_MIN, PIPES_MAX};
use super::reactor::{Kind, Ring, State, user_data};
use super::slots::Key;
use super::socket::{End, Receive, Sending};
use super::store_waker;

/// A pipe's two ends and how many bytes it takes.
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
}

impl Ends {
    /// None where descriptors or the user's pipe pages (`fs.pipe-user-pages-soft`, pipe(7)) are used up.
    fn open() -> Option<Self> {
        use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        let capacity =
            fcntl_setpipe_size(&write, PIPE_BYTES).or_else(|_| fcntl_getpipe_size(&write));
        capacity
            .ok()
            .filter(|&capacity| capacity >= PIPE_BYTES_MIN)
            .map(|capacity| Self {
                read,
                write,
                capacity,
            })
    }
}

/// One reactor's pipes.
#[derive(Default)]
pub(super) struct Pipes {
    idle: RefCell<Vec<Ends>>,
    open: Cell<usize>,
}

impl Pipes {
    /// An empty pipe; `None` where all are in use or none can be made.
    pub(super) fn take(self: &Rc<Self>) -> Option<Pipe> {
        let idle = self.idle.borrow_mut().pop();
        let ends = match idle {
            Some(ends) => ends,
            None if self.open.get() >= PIPES_MAX => return None,
            None => {
                let ends = Ends::open()?;
                self.open.set(self.open.get() + 1);
                ends
            }
        };
        Some(Pipe {
            ends: Some(ends),
            held: 0,
            pipes: Rc::clone(self),
        })
    }
}

/// A pipe on loan. Dropping it gives it back; one that still holds bytes is closed with them.
pub struct Pipe {
    /// There until it is dropped.
    ends: Option<Ends>,
    held: usize,
    pipes: Rc<Pipes>,
}

impl Pipe {
    /// Bytes it takes.
    pub fn capacity(&self) -> usize {
        self.ends.as_ref().map_or(0, |ends| ends.capacity)
    }

    /// Bytes in it.
    pub fn held(&self) -> usize {
        self.held
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        match self.ends.take() {
            Some(ends) if self.held == 0 => self.pipes.idle.borrow_mut().push(ends),
            _ => self.pipes.open.set(self.pipes.open.get() - 1),
        }
    }
}

impl Ring {
    /// An empty pipe; `None` where all are in use or none can be made.
    pub fn pipe(&self) -> Option<Pipe> {
        self.shared.pipes.take()
    }
}

/// Moves up to `bytes`; neither end waits.
fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, bytes: usize) -> rustix::io::Result<usize> {
    use rustix::pipe::{self, SpliceFlags};
    pipe::splice(from, None, to, None, bytes, SpliceFlags::NONBLOCK)
}

impl Socket {
    fn descriptor(&self) -> BorrowedFd<'_> {
        let fd = self.with(|socket| socket.fd);
        // SAFETY: the descriptor is open as long as the entry lives, and who looks after the socket keeps that alive.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }

    /// The descriptor, from now on one that does not wait: splice(2) asks no less. The ring's operations wait all the same,
    /// by polls of their own; where the kernel gives those up it says EAGAIN and the operation is begun again.
    fn unwaiting(&self) -> rustix::io::Result<BorrowedFd<'_>> {
        let descriptor = self.descriptor();
        if !self.with(|socket| std::mem::replace(&mut socket.unwaiting, true)) {
            rustix::io::ioctl_fionbio(descriptor, true)?;
        }
        Ok(descriptor)
    }

    /// Ready when no receive is armed, so that what arrives stays in the kernel.
    pub fn poll_still(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.ring.shared.state.borrow_mut();
        state.stop_receive(self.key);
        match state.sockets.get(self.key) {
            Some(socket) if socket.receive != Receive::Idle => {
                store_waker(&mut socket.flow().receive_waker, cx);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// Whether no receive is armed, nor an arrival awaited.
    pub fn is_still(&self) -> bool {
        self.with(|socket| socket.receive == Receive::Idle)
    }

    /// Whether bytes or the end wait in the kernel, unread.
    pub fn has_unread(&self) -> bool {
        use rustix::net::{RecvFlags, recv};
        let peeked = recv(
            self.descriptor(),
            &mut [0u8; 1],
            RecvFlags::PEEK | RecvFlags::DONTWAIT,
        );
        !peeked.is_err_and(would_wait)
    }

    /// Bytes that wait in the kernel.
    pub fn unread_bytes(&self) -> usize {
        rustix::io::ioctl_fionread(self.descriptor()).map_or(0, |bytes| bytes as usize)
    }

    /// Ready when `bytes` or the end may be there for [`poll_splice_in`](Self::poll_splice_in). For more than one, have a
    /// timer beside it: a peer that sends fewer and pauses is not heard of. Whoever receives next hears of every byte.
    pub fn poll_arrival(&self, cx: &Context<'_>, bytes: u32) -> Poll<()> {
        let mut state = self.ring.shared.state.borrow_mut();
        let Some(socket) = state.sockets.get(self.key) else {
            return Poll::Ready(());
        };
        if socket.end.is_some() {
            return Poll::Ready(());
        }
        store_waker(&mut socket.flow().receive_waker, cx);
        socket.report_from(bytes);
        state.arm_poll(self.key, libc::POLLIN | libc::POLLRDHUP);
        Poll::Pending
    }

    /// Moves what has arrived into an empty pipe, up to `bytes`; the socket must be still and nothing of it in its inbox.
    /// Pending: nothing is there, and this task is woken when something may be. `Ok(0)`: the end.
    pub fn poll_splice_in(
        &self,
        cx: &Context<'_>,
        pipe: &mut Pipe,
        bytes: u64,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(pipe.held == 0);
        let Some(ends) = &pipe.ends else {
            return Poll::Pending;
        };
        let bytes = usize::try_from(bytes).map_or(ends.capacity, |bytes| bytes.min(ends.capacity));
        let moved = self
            .unwaiting()
            .and_then(|socket| splice(socket, ends.write.as_fd(), bytes));
        match moved {
            Ok(moved) => {
                pipe.held = moved;
                self.with(|socket| {
                    socket.received_total += moved as u64;
                    if moved == 0 {
                        socket.end = Some(End::Eof);
                    }
                });
                Poll::Ready(Ok(moved))
            }
            Err(error) if would_wait(error) => self.poll_arrival(cx, 1).map(|()| Ok(0)),
            Err(error) => {
                self.with(|socket| socket.end = Some(End::Error(error.raw_os_error())));
                Poll::Ready(Err(error.into()))
            }
        }
    }

    /// Moves all of the pipe's bytes on; nothing else may be unsent. Pending: there is no
    /// room for all, and this task is woken when there may be.
    pub fn poll_splice_out(&self, cx: &Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<()>> {
        let (waits, failed) = self.with(|socket| (socket.send_in_flight(), socket.send_error));
        if let Some(error) = failed {
            return Poll::Ready(Err(io::Error::from_raw_os_error(error.get())));
        }
        let Some(ends) = &pipe.ends else {
            return Poll::Pending;
        };
        if !waits && pipe.held > 0 {
            let moved = self
                .unwaiting()
                .and_then(|socket| splice(ends.read.as_fd(), socket, pipe.held));
            match moved {
                Ok(moved) => {
                    pipe.held -= moved;
                    self.with(|socket| socket.sent_total += moved as u64);
                }
                Err(error) if would_wait(error) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        if pipe.held == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut state = self.ring.shared.state.borrow_mut();
        if let Some(socket) = state.sockets.get(self.key) {
            store_waker(&mut socket.flow().send_waker, cx);
            if !waits {
                state.await_room(self.key);
            }
        }
        Poll::Pending
    }
}

fn would_wait(error: Errno) -> bool {
    matches!(error, Errno::AGAIN | Errno::INTR)
}

impl State {
    /// Waits for one of `events` in the place of a receive.
    fn arm_poll(&mut self, key: Key, events: i16) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        if socket.receive != Receive::Idle || socket.end.is_some() || socket.closing {
            return;
        }
        socket.receive = Receive::Armed;
        let poll = opcode::PollAdd::new(types::Fd(socket.fd), events as u32).build();
        self.push(&poll.user_data(user_data(Kind::Receive, key)));
    }

    /// Waits for room in the place of a send.
    fn await_room(&mut self, key: Key) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        socket.flow().sending = Sending::Room;
        let poll = opcode::PollAdd::new(types::Fd(socket.fd), libc::POLLOUT as u32).build();
        self.push(&poll.user_data(user_data(Kind::Send, key)));
    }
}
