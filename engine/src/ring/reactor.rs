//! The reactor: one io_uring per thread, entered once a round.
//!
//! A round: tasks run and queue operations; then one system call submits them and brings completions, which fill
//! inboxes and wake tasks. Invariant: whatever the kernel may still touch is owned by a slot of this reactor.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::buffers::{BufferRing, Buffers, Group, Lease};
use super::clock;
use super::limits::{
    ACCEPTS_ARMED, CQ_ENTRIES, GATHER_MAX, LARGE_BYTES, LARGE_COUNT, QUIET_BYTES_MAX, RING_DRY_MS,
    SMALL_BYTES, SMALL_COUNT, SQ_ENTRIES,
};
use super::operation::{AcceptorEntry, Address, Operation};
use super::slots::{Key, Slots};
use super::socket::{End, Entry, Gather, Receive, Sending};
use super::timer::Wheel;

/// What an operation's user data says: kind in the top byte, then 24 bits of generation, then the slot's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Receive = 1,
    Send = 2,
    Operation = 3,
    /// Its completion says nothing anyone waits for: cancels, closes.
    Ignored = 4,
}

fn user_data(kind: Kind, key: Key) -> u64 {
    ((kind as u64) << 56) | (u64::from(key.generation) << 32) | u64::from(key.index)
}

fn key_of(user_data: u64) -> Key {
    Key {
        index: user_data as u32,
        generation: ((user_data >> 32) & 0x00ff_ffff) as u32,
    }
}

/// What one reactor counted; read by whoever exposes it.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counters {
    /// `io_uring_enter` calls.
    pub enters: u64,
    /// Completions reaped.
    pub completions: u64,
    /// Receives that found no buffer and were armed again later.
    pub buffer_exhausted: u64,
    /// Completions the kernel could not place in the queue.
    pub overflows: u64,
    /// Panics kept to their task.
    pub panics: u64,
}

pub(super) struct State {
    uring: IoUring,
    pub(super) sockets: Slots<Entry>,
    pub(super) operations: Slots<Operation>,
    pub(super) acceptors: Slots<AcceptorEntry>,
    starved: VecDeque<Key>,
    unattended: Vec<u64>,
    pub(super) wheel: Wheel,
    pub(super) counters: Counters,
    remote: Option<RemoteState>,
    #[allow(
        clippy::vec_box,
        reason = "the kernel reads a gather where it lies: it must not move"
    )]
    gathers: Vec<Box<Gather>>,
    /// Sockets whose send goes out without a completion to come, and that send's serial: a key can stand here twice.
    quiet: Vec<(Key, u32)>,
    quiet_serial: u32,
}

struct RemoteState {
    fd: Arc<OwnedFd>,
    operation: Key,
    raised: bool,
    waker: Option<Waker>,
}

pub(super) struct Shared {
    pub(super) state: RefCell<State>,
    pub(super) buffers: Rc<Buffers>,
    now_ns: Cell<u64>,
    /// Sockets dropped while the state was borrowed.
    orphans: RefCell<Vec<Key>>,
    /// Polls of tasks other than the one that turns the reactor.
    pub(super) polls: Cell<u64>,
    pub(super) finished: Cell<bool>,
}

/// A handle on the thread's reactor.
#[derive(Clone)]
pub struct Ring {
    pub(super) shared: Rc<Shared>,
}

impl Ring {
    /// Sets the ring and its buffers up. Fails where the kernel is older than 6.1 or forbids io_uring.
    pub fn new() -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(CQ_ENTRIES);
        // NO_SQARRAY is 6.6; everything else is required.
        let mut lean = builder.clone();
        lean.setup_no_sqarray();
        let uring = lean
            .build(SQ_ENTRIES)
            .or_else(|_| builder.build(SQ_ENTRIES))?;
        let small = BufferRing::register(&uring, Group::Small, SMALL_COUNT, SMALL_BYTES)?;
        let large = BufferRing::register(&uring, Group::Large, LARGE_COUNT, LARGE_BYTES)?;
        let now_ns = clock::now_ns();
        Ok(Self {
            shared: Rc::new(Shared {
                state: RefCell::new(State {
                    uring,
                    sockets: Slots::new(),
                    operations: Slots::new(),
                    acceptors: Slots::new(),
                    starved: VecDeque::new(),
                    unattended: Vec::new(),
                    wheel: Wheel::new(now_ns / 1_000_000),
                    counters: Counters::default(),
                    remote: None,
                    gathers: Vec::new(),
                    quiet: Vec::new(),
                    quiet_serial: 0,
                }),
                buffers: Buffers::new(small, large),
                now_ns: Cell::new(now_ns),
                orphans: RefCell::default(),
                polls: Cell::new(0),
                finished: Cell::new(false),
            }),
        })
    }

    /// Monotonic nanoseconds at this round's start.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.shared.now_ns.get()
    }

    /// Monotonic milliseconds at this round's start.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.now_ns() / 1_000_000
    }

    /// An empty pooled buffer with room for `bytes`; `None` when the pool is used up.
    pub fn lease(&self, bytes: usize) -> Option<Lease> {
        self.shared.buffers.lease(bytes)
    }

    /// Buffers in somebody's hands: small and large ones of the kernel's rings, bytes of the pool.
    pub fn leased(&self) -> (u16, u16, usize) {
        self.shared.buffers.leased()
    }

    /// Sockets this reactor holds.
    pub fn sockets(&self) -> usize {
        self.shared.state.borrow_mut().sockets.len()
    }

    /// What it counted so far.
    pub fn counters(&self) -> Counters {
        self.shared.state.borrow().counters
    }

    /// Tags of sockets and timers that nobody looks after and something happened to; swapped into `tags`.
    pub fn take_unattended(&self, tags: &mut Vec<u64>) {
        tags.clear();
        std::mem::swap(&mut self.shared.state.borrow_mut().unattended, tags);
    }

    /// A handle other threads wake this reactor with.
    pub fn remote(&self) -> io::Result<Remote> {
        let mut state = self.shared.state.borrow_mut();
        if let Some(remote) = &state.remote {
            return Ok(Remote {
                fd: Arc::clone(&remote.fd),
            });
        }
        let fd = Arc::new(rustix::event::eventfd(
            0,
            rustix::event::EventfdFlags::CLOEXEC,
        )?);
        let operation = state.operations.insert(Operation::Remote {
            counter: Box::new(0),
        });
        state.remote = Some(RemoteState {
            fd: Arc::clone(&fd),
            operation,
            raised: false,
            waker: None,
        });
        state.arm_remote();
        Ok(Remote { fd })
    }

    /// Ready once after each time another thread raised its [`Remote`].
    pub fn poll_remote(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.shared.state.borrow_mut();
        let Some(remote) = &mut state.remote else {
            return Poll::Pending;
        };
        if std::mem::take(&mut remote.raised) {
            return Poll::Ready(());
        }
        super::store_waker(&mut remote.waker, cx);
        Poll::Pending
    }

    /// One round: submits what is queued, waits for a completion where `block`, takes what completed, fires timers.
    pub(super) fn turn(&self, block: bool) {
        // Closing may drop a task's last waker, and with it sockets that come here.
        let orphans = std::mem::take(&mut *self.shared.orphans.borrow_mut());
        for key in orphans {
            self.shared.state.borrow_mut().close(key);
        }
        let mut state = self.shared.state.borrow_mut();
        let state = &mut *state;
        state.feed_starved(&self.shared.buffers, self.now_ms());
        let block = block && state.unattended.is_empty() && !state.quiet_awaited();
        state.enter(block, self.now_ms());
        self.shared.now_ns.set(clock::now_ns());
        let submitted = state.submitted_quiet();
        state.reap(&self.shared.buffers);
        state.settle_quiet(submitted);
        state.wheel.advance(self.now_ms(), &mut state.unattended);
    }

    pub(super) fn close(&self, key: Key) {
        match self.shared.state.try_borrow_mut() {
            Ok(mut state) => state.close(key),
            Err(_) => self.shared.orphans.borrow_mut().push(key),
        }
    }
}

/// Wakes a reactor from another thread.
#[derive(Clone)]
pub struct Remote {
    fd: Arc<OwnedFd>,
}

impl Remote {
    /// Makes the reactor's [`poll_remote`](Ring::poll_remote) ready.
    pub fn raise(&self) {
        // A full counter means it is raised already.
        let _ = rustix::io::write(&*self.fd, &1u64.to_ne_bytes());
    }
}

impl State {
    fn push(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: every pointer in an entry leads into a slot of this reactor, a buffer ring or a lease held by a
            // slot, all of which outlive the operation.
            if unsafe { self.uring.submission().push(entry) }.is_ok() {
                return;
            }
            self.counters.enters += 1;
            // A full queue is handed over; the kernel takes all of it (SUBMIT_ALL).
            let _ = self.uring.submitter().submit();
        }
    }

    fn enter(&mut self, block: bool, now_ms: u64) {
        const GETEVENTS: u32 = 1;
        const EXT_ARG: u32 = 1 << 3;
        self.counters.enters += 1;
        let queued = self.uring.submission().len() as u32;
        let ready = !self.uring.completion().is_empty();
        let want = u32::from(block && !ready);
        let mut wait = if want == 1 {
            self.wheel.wait_ms(now_ms)
        } else {
            None
        };
        if !self.starved.is_empty() {
            wait = Some(wait.unwrap_or(u64::MAX).min(RING_DRY_MS)).filter(|_| want == 1);
        }
        let submitter = self.uring.submitter();
        // The time of `now_ms` is the round's start; a coarse timer may wait a little longer than it had to.
        let result = match wait {
            Some(ms) => {
                let time = types::Timespec::from(std::time::Duration::from_millis(ms.max(1)));
                let arguments = types::SubmitArgs::new().timespec(&time);
                // SAFETY: the argument is of the kind EXT_ARG asks for and outlives the call.
                unsafe { submitter.enter(queued, want, GETEVENTS | EXT_ARG, Some(&arguments)) }
            }
            // SAFETY: no argument is passed.
            None => unsafe { submitter.enter::<libc::sigset_t>(queued, want, GETEVENTS, None) },
        };
        if let Err(error) = result {
            match error.raw_os_error() {
                Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN) => {}
                _ => panic!("io_uring_enter: {error}"),
            }
        }
    }

    fn reap(&mut self, buffers: &Rc<Buffers>) {
        let overflow = u64::from(self.uring.completion().overflow());
        self.counters.overflows = self.counters.overflows.max(overflow);
        loop {
            let Some(entry) = self.uring.completion().next() else {
                break;
            };
            self.counters.completions += 1;
            let (data, result, flags) = (entry.user_data(), entry.result(), entry.flags());
            let key = key_of(data);
            match (data >> 56) as u8 {
                kind if kind == Kind::Receive as u8 => self.received(key, result, flags, buffers),
                kind if kind == Kind::Send as u8 => self.sent(key, result),
                kind if kind == Kind::Operation as u8 => self.completed(key, result),
                _ => {}
            }
        }
    }

    // --- receiving ---

    pub(super) fn arm_receive(&mut self, key: Key) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
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

    fn cancel(&mut self, target: u64) {
        let ignored = user_data(
            Kind::Ignored,
            Key {
                index: 0,
                generation: 0,
            },
        );
        self.push(&opcode::AsyncCancel::new(target).build().user_data(ignored));
    }

    fn received(&mut self, key: Key, result: i32, flags: u32, buffers: &Rc<Buffers>) {
        let Some(socket) = self.sockets.get(key) else {
            debug_assert!(
                cqueue::buffer_select(flags).is_none(),
                "a slot outlives its operations"
            );
            return;
        };
        if let Some(index) = cqueue::buffer_select(flags) {
            let lease = buffers.filled(socket.group, index, result.max(0) as usize);
            if result > 0 {
                socket.received_total += result as u64;
                if !socket.closing {
                    socket.inbox.push(buffers.relieve(lease));
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
                self.starved.push_back(key);
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
        if socket.inbox_full() && socket.receive == Receive::Armed {
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
            self.unattended.push(tag);
        }
    }

    /// Tells whoever looks after the socket that its inbox or end changed.
    fn notify(&mut self, key: Key) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        if socket.inbox.is_empty() && socket.end.is_none() {
            // Stopped without news: an unattended socket goes on listening; a task arms it again when it asks.
            if socket.unattended.is_some() && socket.receive == Receive::Idle {
                self.arm_receive(key);
            } else if let Some(waker) = &socket.receive_waker {
                waker.wake_by_ref();
            }
            return;
        }
        if socket.unattended.is_some() {
            self.report(key);
        } else if let Some(waker) = &socket.receive_waker {
            waker.wake_by_ref();
        }
    }

    /// Arms again those that found no buffer, as many as there are buffers.
    fn feed_starved(&mut self, buffers: &Rc<Buffers>, now_ms: u64) {
        if self.starved.is_empty() {
            return;
        }
        let mut room = [Group::Small, Group::Large].map(|group| buffers.ring(group).available());
        for _ in 0..self.starved.len() {
            let Some(key) = self.starved.pop_front() else {
                break;
            };
            let Some(socket) = self.sockets.get(key) else {
                continue;
            };
            if socket.receive != Receive::Starved {
                continue;
            }
            let ring = buffers.ring(socket.group);
            let left = &mut room[socket.group as usize];
            if *left == 0 {
                if !ring.feed(now_ms) {
                    self.starved.push_back(key);
                    continue;
                }
                *left = ring.available();
            }
            *left -= 1;
            socket.receive = Receive::Idle;
            self.arm_receive(key);
        }
    }

    // --- sending ---

    /// Starts the next send, where none is in flight and something waits.
    pub(super) fn start_send(&mut self, key: Key) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
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
    fn quiet_awaited(&mut self) -> bool {
        // Their buffers may be what others wait for.
        if !self.starved.is_empty() {
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
    fn submitted_quiet(&mut self) -> Vec<(Key, u32)> {
        if self.uring.submission().is_empty() {
            std::mem::take(&mut self.quiet)
        } else {
            Vec::new()
        }
    }

    /// Those of which no failure came with the submission are done (`MSG_DONTWAIT` never leaves one pending).
    fn settle_quiet(&mut self, mut submitted: Vec<(Key, u32)>) {
        for (key, serial) in submitted.drain(..) {
            if let Some(socket) = self.sockets.get(key)
                && socket.quiet == serial
            {
                let bytes = socket.sending_bytes as i32;
                self.sent(key, bytes);
            }
        }
        // Its space is used again.
        submitted.append(&mut self.quiet);
        self.quiet = submitted;
    }

    /// Submits what `sending` holds, from its first unsent byte.
    fn push_send(&mut self, key: Key) {
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
        let fd = types::Fd(socket.fd);
        let entry = match &mut socket.sending {
            Sending::Nothing => return,
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
        self.push(&entry.user_data(user_data(Kind::Send, key)));
    }

    fn sent(&mut self, key: Key, result: i32) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        // A quiet send that says something fell short: what is left waits for room, and says when it is done.
        socket.quiet = 0;
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
                Sending::Nothing => {}
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
            }
            self.start_send(key);
        }
    }

    // --- closing ---

    /// Gives a socket up: its operations are stopped, and when the last has ended its descriptor is closed.
    fn close(&mut self, key: Key) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        if socket.closing {
            return;
        }
        socket.closing = true;
        socket.receive_waker = None;
        socket.send_waker = None;
        socket.unattended = None;
        while socket.inbox.pop().is_some() {}
        while socket.outbox.pop().is_some() {}
        let in_flight = socket.send_in_flight();
        self.stop_receive(key);
        if in_flight {
            self.cancel(user_data(Kind::Send, key));
        }
        self.finish_close(key);
    }

    fn finish_close(&mut self, key: Key) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        if socket.receive != Receive::Idle || socket.send_in_flight() {
            return;
        }
        let fd = socket.fd;
        self.sockets.remove(key);
        self.close_descriptor(fd);
    }

    fn close_descriptor(&mut self, fd: RawFd) {
        let ignored = user_data(
            Kind::Ignored,
            Key {
                index: 0,
                generation: 0,
            },
        );
        self.push(&opcode::Close::new(types::Fd(fd)).build().user_data(ignored));
    }

    // --- accept, connect, remote ---

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
            let key = self
                .operations
                .insert(Operation::Accept { acceptor, address });
            self.acceptors
                .get(acceptor)
                .expect("it was there")
                .armed
                .push(key);
            let accept = opcode::Accept::new(fd, storage, length)
                .flags(libc::SOCK_CLOEXEC)
                .build();
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

    fn arm_remote(&mut self) {
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

    fn completed(&mut self, key: Key, outcome: i32) {
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
            Some(Operation::Accept { acceptor, address }) => {
                let (acceptor, peer) = (*acceptor, address.get());
                self.operations.remove(key);
                self.accepted(acceptor, key, outcome, peer);
            }
            None => {}
        }
    }

    fn accepted(
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
