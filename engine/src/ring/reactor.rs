//! The reactor: one io_uring per thread, entered once a round.
//!
//! A round: tasks run and queue operations; then one system call submits them and brings completions, which fill
//! inboxes and wake tasks. Invariant: whatever the kernel may still touch is owned by a slot of this reactor.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use io_uring::{IoUring, squeue, types};

use super::buffers::{BufferRing, Buffers, Group, Lease};
use super::clock;
use super::limits::{
    CQ_ENTRIES, LARGE_BYTES, LARGE_COUNT, RING_DRY_MS, SMALL_BYTES, SMALL_COUNT, SQ_ENTRIES,
    TOGETHER_US,
};
use super::operation::{AcceptorEntry, Operation};
use super::slots::{Key, Slots};
use super::socket::{Entry, Flow, Gather};
use super::splicing::Pipes;
use super::timer::Wheel;
use super::together::Together;

/// Completions taken at a time: their sockets' memory is asked for together.
const BATCH: usize = 32;

/// What an operation's user data says: kind in the top byte, then 24 bits of generation, then the slot's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Receive = 1,
    Send = 2,
    Operation = 3,
    /// Its completion says nothing anyone waits for: cancels, closes.
    Ignored = 4,
}

pub(super) fn user_data(kind: Kind, key: Key) -> u64 {
    ((kind as u64) << 56) | (u64::from(key.generation) << 32) | u64::from(key.index)
}

/// User data of operations of whose end nothing is heard.
pub(super) const IGNORED: u64 = (Kind::Ignored as u64) << 56;

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
    pub(super) uring: IoUring,
    pub(super) sockets: Slots<Entry>,
    pub(super) operations: Slots<Operation>,
    pub(super) acceptors: Slots<AcceptorEntry>,
    /// Sockets that found no buffer, by group.
    pub(super) starved: [VecDeque<Key>; 2],
    /// Until a kernel refuses it.
    pub(super) accept_waits_first: bool,
    pub(super) unattended: Vec<u64>,
    pub(super) wheel: Wheel,
    pub(super) together: Together,
    pub(super) counters: Counters,
    pub(super) remote: Option<RemoteState>,
    #[allow(
        clippy::vec_box,
        reason = "the kernel reads a gather where it lies: it must not move"
    )]
    pub(super) gathers: Vec<Box<Gather>>,
    /// Sockets whose send goes out without a completion to come, and that send's serial: a key can stand here twice.
    pub(super) quiet: Vec<(Key, u32)>,
    pub(super) quiet_serial: u32,
    /// Kept for the next sockets on which something is under way.
    #[allow(clippy::vec_box, reason = "moving the boxes is the point")]
    pub(super) flows: Vec<Box<Flow>>,
    /// Completions taken out of the queue: user data, result, flags.
    pub(super) batch: Vec<(u64, i32, u32)>,
    /// Sockets whose next send goes with this round's submission.
    pub(super) to_send: Vec<Key>,
}

pub(super) struct RemoteState {
    pub(super) fd: Arc<OwnedFd>,
    pub(super) operation: Key,
    pub(super) raised: bool,
    pub(super) waker: Option<Waker>,
}

pub(super) struct Shared {
    pub(super) state: RefCell<State>,
    pub(super) buffers: Rc<Buffers>,
    pub(super) pipes: Rc<Pipes>,
    now_ns: Cell<u64>,
    /// Sockets dropped while the state was borrowed.
    orphans: RefCell<Vec<Key>>,
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
        let waits_for_several = uring.params().is_feature_min_timeout();
        Ok(Self {
            shared: Rc::new(Shared {
                state: RefCell::new(State {
                    uring,
                    sockets: Slots::new(),
                    operations: Slots::new(),
                    acceptors: Slots::new(),
                    starved: [VecDeque::new(), VecDeque::new()],
                    accept_waits_first: true,
                    unattended: Vec::new(),
                    wheel: Wheel::new(now_ns / 1_000_000),
                    together: Together::new(waits_for_several, now_ns, clock::thread_cpu_ns()),
                    counters: Counters::default(),
                    remote: None,
                    gathers: Vec::new(),
                    quiet: Vec::new(),
                    quiet_serial: 0,
                    flows: Vec::new(),
                    batch: Vec::with_capacity(BATCH),
                    to_send: Vec::new(),
                }),
                buffers: Buffers::new(small, large),
                pipes: Rc::default(),
                now_ns: Cell::new(now_ns),
                orphans: RefCell::default(),
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

    /// Has `tag` taken with those of the sockets and timers that nobody looks after.
    pub fn report(&self, tag: u64) {
        // Whoever drops something while the state is in use has to do with a later look.
        if let Ok(mut state) = self.shared.state.try_borrow_mut() {
            state.unattended.push(tag);
        }
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
        self.shared.buffers.fill();
        let hungry = state.feed_starved(&self.shared.buffers, self.now_ms());
        state.push_sends();
        let block = block && !hungry && state.unattended.is_empty() && !state.quiet_awaited();
        let wanted = state.enter(block, self.now_ms());
        let now_ns = clock::now_ns();
        self.shared.now_ns.set(now_ns);
        let submitted = state.submitted_quiet();
        let before = state.counters.completions;
        state.reap(&self.shared.buffers);
        state
            .together
            .slept(wanted, state.counters.completions - before);
        if state.together.is_due(now_ns) {
            state.together.look(now_ns, clock::thread_cpu_ns());
        }
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
    pub(super) fn push(&mut self, entry: &squeue::Entry) {
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

    /// Pushes two operations, the second of which runs once the first has succeeded.
    pub(super) fn push_linked(&mut self, first: squeue::Entry, second: squeue::Entry) {
        let both = [first.flags(squeue::Flags::IO_LINK), second];
        loop {
            // SAFETY: as in `push`.
            if unsafe { self.uring.submission().push_multiple(&both) }.is_ok() {
                return;
            }
            self.counters.enters += 1;
            let _ = self.uring.submitter().submit();
        }
    }

    /// For how many completions it slept, if it did.
    pub(super) fn enter(&mut self, block: bool, now_ms: u64) -> u32 {
        const GETEVENTS: u32 = 1;
        const EXT_ARG: u32 = 1 << 3;
        self.counters.enters += 1;
        let queued = self.uring.submission().len() as u32;
        let ready = !self.uring.completion().is_empty();
        let mut want = 0;
        let submitter = self.uring.submitter();
        let result = if block && !ready {
            let mut wait = self.wheel.wait_ms(now_ms);
            if self.is_starved() {
                wait = Some(wait.unwrap_or(u64::MAX).min(RING_DRY_MS));
            }
            // The time of `now_ms` is the round's start; a coarse timer may wait a little longer than it had to.
            let time =
                wait.map(|ms| types::Timespec::from(std::time::Duration::from_millis(ms.max(1))));
            let mut arguments = types::SubmitArgs::new();
            if let Some(time) = &time {
                arguments = arguments.timespec(time);
            }
            want = self.together.completions();
            if want > 1 {
                arguments = arguments.min_wait_usec(TOGETHER_US);
            }
            // SAFETY: the argument is of the kind EXT_ARG asks for and outlives the call.
            unsafe { submitter.enter(queued, want, GETEVENTS | EXT_ARG, Some(&arguments)) }
        } else {
            // SAFETY: no argument is passed.
            unsafe { submitter.enter::<libc::sigset_t>(queued, 0, GETEVENTS, None) }
        };
        if let Err(error) = result {
            match error.raw_os_error() {
                Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN) => {}
                _ => panic!("io_uring_enter: {error}"),
            }
        }
        want
    }

    pub(super) fn reap(&mut self, buffers: &Rc<Buffers>) {
        let overflow = u64::from(self.uring.completion().overflow());
        self.counters.overflows = self.counters.overflows.max(overflow);
        let mut batch = std::mem::take(&mut self.batch);
        loop {
            let completed = self.uring.completion().take(BATCH);
            batch.extend(completed.map(|entry| (entry.user_data(), entry.result(), entry.flags())));
            if batch.is_empty() {
                break;
            }
            self.counters.completions += batch.len() as u64;
            for &(data, ..) in &batch {
                self.sockets.prefetch(key_of(data).index);
            }
            for (data, result, flags) in batch.drain(..) {
                let key = key_of(data);
                match (data >> 56) as u8 {
                    kind if kind == Kind::Receive as u8 => {
                        self.received(key, result, flags, buffers);
                    }
                    kind if kind == Kind::Send as u8 => self.sent(key, result),
                    kind if kind == Kind::Operation as u8 => self.completed(key, result),
                    _ => {}
                }
            }
        }
        self.batch = batch;
    }
}
