//! One connected socket as the reactor sees it: what is armed, what has arrived, what is still to be sent.
//!
//! Receiving and sending go on by themselves; a task only takes what has arrived and adds what is to go. A socket that
//! no task looks after (an idle connection) reports what happens to it by its tag.

use std::collections::VecDeque;
use std::num::{NonZeroI32, NonZeroU64};
use std::os::fd::RawFd;
use std::task::Waker;

use super::buffers::{Group, Lease};
use super::limits::{INBOX_BYTES_MAX, INBOX_LEASES_MAX};

/// A queue whose first place costs no allocation: most sockets never hold more than one buffer.
#[derive(Default)]
pub(super) struct Queue {
    first: Option<Lease>,
    rest: VecDeque<Lease>,
    bytes: usize,
}

impl Queue {
    pub(super) fn push(&mut self, lease: Lease) {
        self.bytes += lease.len();
        if self.first.is_none() && self.rest.is_empty() {
            self.first = Some(lease);
        } else {
            self.rest.push_back(lease);
        }
    }

    pub(super) fn push_front(&mut self, lease: Lease) {
        self.bytes += lease.len();
        if let Some(second) = self.first.replace(lease) {
            self.rest.push_front(second);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Lease> {
        let lease = self.first.take().or_else(|| self.rest.pop_front())?;
        self.bytes -= lease.len();
        Some(lease)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The receive operation of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receive {
    /// Nothing is armed.
    Idle,
    /// An operation waits for data.
    Armed,
    /// An operation was told to stop; its last completion is awaited.
    Stopping,
    /// No buffer was free; armed again when one comes back.
    Starved,
}

/// What one send operation carries.
pub(super) enum Sending {
    Nothing,
    One(Lease),
    /// A gathered send; the header and vector stay where they are until it completes.
    Many(Box<Gather>),
    /// Nothing: room for a splice is awaited.
    Room,
}

impl Sending {
    /// Takes off the front what the kernel has taken: less than all.
    pub(super) fn advance(&mut self, mut taken: usize) {
        match self {
            Self::Nothing | Self::Room => {}
            Self::One(lease) => lease.advance(taken),
            Self::Many(gather) => {
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
    }
}

/// Buffers of a gathered send and the structures the kernel reads.
pub(super) struct Gather {
    pub(super) header: libc::msghdr,
    pub(super) vector: Vec<libc::iovec>,
    pub(super) leases: Vec<Lease>,
}

/// How a socket's receiving side ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Eof,
    Error(i32),
}

/// The descriptor of an entry whose socket the kernel has closed.
pub(super) const CLOSED: RawFd = -1;

/// Whether a socket closes once all is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    No,
    /// It is to.
    Awaited,
    /// The close is linked to the send in flight.
    Linked,
}

/// What is under way on a socket: only those that are looked after, or still have something to send, have one.
pub(super) struct Flow {
    pub(super) inbox: Queue,
    pub(super) receive_waker: Option<Waker>,
    pub(super) sending: Sending,
    pub(super) outbox: Queue,
    /// Among those whose sends this round submits.
    pub(super) queued: bool,
    /// Serial of the send in flight where it completes with its submission and says so only if it falls short; 0: not
    /// such a one.
    pub(super) quiet: u32,
    /// Bytes of the send in flight.
    pub(super) sending_bytes: usize,
    pub(super) send_waker: Option<Waker>,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            inbox: Queue::default(),
            receive_waker: None,
            sending: Sending::Nothing,
            outbox: Queue::default(),
            queued: false,
            quiet: 0,
            sending_bytes: 0,
            send_waker: None,
        }
    }
}

impl Flow {
    fn is_over(&self) -> bool {
        self.inbox.is_empty() && self.unsent_bytes() == 0 && !self.send_in_flight() && !self.queued
    }

    /// Bytes not yet taken by the kernel.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.outbox.bytes() + self.sending_bytes
    }

    pub(super) fn send_in_flight(&self) -> bool {
        !matches!(self.sending, Sending::Nothing)
    }

    /// Whether more is waiting than one socket may have.
    pub(super) fn inbox_full(&self) -> bool {
        self.inbox.bytes() >= INBOX_BYTES_MAX || self.inbox.len() >= INBOX_LEASES_MAX
    }
}

pub(super) struct Entry {
    pub(super) fd: RawFd,
    /// Where the armed receive takes its buffers from, and where the next one will.
    pub(super) group: Group,
    pub(super) next_group: Group,
    /// Whether receives are armed as multishot: once keep-alive is known.
    pub(super) multishot: bool,
    pub(super) receive: Receive,
    /// Whether calls on the descriptor itself never wait.
    pub(super) unwaiting: bool,
    pub(super) last: Last,
    /// The unattended event was reported.
    pub(super) reported: bool,
    /// Since when something is due from the peer, as [`Together`](super::together::Together) counts.
    pub(super) due_since: u16,
    /// The socket is given up: closed once no operation of its own is left.
    pub(super) closing: bool,
    flow: Option<Box<Flow>>,
    /// Whom events are reported to while no task looks after the socket.
    pub(super) unattended: Option<NonZeroU64>,
    pub(super) end: Option<End>,
    pub(super) send_error: Option<NonZeroI32>,
    /// How many bytes have to be there before the kernel reports any.
    low_water: u32,
    /// Bytes ever received and sent.
    pub(super) received_total: u64,
    pub(super) sent_total: u64,
}

// One line of the processor's cache is all that an idle connection costs here.
const _: () = assert!(size_of::<Entry>() <= 64);

impl Entry {
    pub(super) fn new(fd: RawFd, group: Group, flow: Option<Box<Flow>>) -> Self {
        Self {
            fd,
            group,
            next_group: group,
            multishot: false,
            receive: Receive::Idle,
            unwaiting: false,
            last: Last::No,
            reported: false,
            due_since: 0,
            closing: false,
            flow,
            unattended: None,
            end: None,
            send_error: None,
            low_water: 1,
            received_total: 0,
            sent_total: 0,
        }
    }

    /// What is under way.
    #[inline]
    pub(super) fn flow(&mut self) -> &mut Flow {
        self.flow.get_or_insert_default()
    }

    /// What is under way, where anything is.
    pub(super) fn any_flow(&self) -> Option<&Flow> {
        self.flow.as_deref()
    }

    /// Gets ready for something to be under way.
    pub(super) fn begin_flow(&mut self, flow: impl FnOnce() -> Option<Box<Flow>>) {
        if self.flow.is_none() {
            self.flow = flow();
        }
    }

    /// What was under way on a socket that nobody looks after, once it is over.
    pub(super) fn end_flow(&mut self) -> Option<Box<Flow>> {
        self.unattended?;
        let mut flow = self.flow.take_if(|flow| flow.is_over())?;
        flow.receive_waker = None;
        flow.send_waker = None;
        Some(flow)
    }

    /// What was under way, emptied; no send is in flight.
    pub(super) fn discard_flow(&mut self) -> Option<Box<Flow>> {
        let mut flow = self.flow.take()?;
        flow.receive_waker = None;
        flow.send_waker = None;
        flow.queued = false;
        while flow.inbox.pop().is_some() {}
        while flow.outbox.pop().is_some() {}
        Some(flow)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some() || self.send_error.is_some()
    }

    pub(super) fn has_arrived(&self) -> bool {
        self.any_flow().is_some_and(|flow| !flow.inbox.is_empty())
    }

    pub(super) fn unsent_bytes(&self) -> usize {
        self.any_flow().map_or(0, Flow::unsent_bytes)
    }

    pub(super) fn send_in_flight(&self) -> bool {
        self.any_flow().is_some_and(Flow::send_in_flight)
    }

    /// Ends a send of one buffer that went out whole, where nothing and nobody waits for that: the flow is given up where it
    /// is over. `None`, and nothing done, where there is more to it.
    pub(super) fn settle(&mut self) -> Option<Option<Box<Flow>>> {
        let plain = self.last == Last::No && !self.closing && self.send_error.is_none();
        let flow = self.flow.as_mut()?;
        if !plain
            || flow.send_waker.is_some()
            || !flow.outbox.is_empty()
            || !matches!(flow.sending, Sending::One(_))
        {
            return None;
        }
        self.sent_total += flow.sending_bytes as u64;
        flow.quiet = 0;
        flow.sending_bytes = 0;
        flow.sending = Sending::Nothing;
        Some(self.end_flow())
    }

    /// Whether its next send is to go with this round's submission; then it counts as queued.
    pub(super) fn may_send(&mut self) -> bool {
        let flow = self.flow();
        if flow.queued || flow.send_in_flight() || flow.outbox.is_empty() {
            return false;
        }
        flow.queued = true;
        true
    }

    /// Has the kernel report what arrives once there are `bytes` of it, the end and a window that is all but full at once
    /// (`SO_RCVLOWAT`, socket(7); `tcp_epollin_ready`, 6.18). It may enlarge the receive buffer for that.
    #[inline]
    pub(super) fn report_from(&mut self, bytes: u32) {
        if self.low_water != bytes {
            self.low_water = bytes;
            self.set_low_water();
        }
    }

    fn set_low_water(&self) {
        // SAFETY: the descriptor is open as long as the entry lives; the field outlives the call and has an int's size.
        unsafe {
            libc::setsockopt(
                self.fd,
                libc::SOL_SOCKET,
                libc::SO_RCVLOWAT,
                (&raw const self.low_water).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            );
        }
    }

    /// Nobody looks after it from now on; what happens is reported by `tag`, which is not 0.
    pub(super) fn leave(&mut self, tag: u64) {
        debug_assert!(tag != 0);
        self.report_from(1);
        self.unattended = NonZeroU64::new(tag);
        self.reported = false;
        if let Some(flow) = &mut self.flow {
            flow.receive_waker = None;
            flow.send_waker = None;
        }
    }

    pub(super) fn wake_receiver(&self) {
        if let Some(waker) = self.any_flow().and_then(|flow| flow.receive_waker.as_ref()) {
            waker.wake_by_ref();
        }
    }
}
