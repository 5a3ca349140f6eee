//! What the rooms above hold: sockets, listeners, connects, timers. Dropping one gives up what it names.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroI32;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::buffers::{Group, Lease};
use super::operation::{AcceptorEntry, Address, Operation, stream_socket};
use super::reactor::Ring;
use super::slots::Key;
use super::socket::{End, Entry, Last, Receive};
use super::store_waker;
use super::timer::TimerId;

/// A connected socket. Dropping it discards what is unsent and closes it.
pub struct Socket {
    pub(super) ring: Ring,
    pub(super) key: Key,
}

impl Socket {
    /// Takes a connected descriptor over.
    pub fn new(ring: &Ring, fd: OwnedFd, group: Group) -> Self {
        use std::os::fd::IntoRawFd;
        let mut state = ring.shared.state.borrow_mut();
        let flow = state.flows.pop();
        let key = state
            .sockets
            .insert(Entry::new(fd.into_raw_fd(), group, flow));
        drop(state);
        Self {
            ring: ring.clone(),
            key,
        }
    }

    /// Has it at hand when it is used next.
    pub fn prefetch(&self) {
        let state = self.ring.shared.state.borrow();
        state.sockets.prefetch(self.key.index);
    }

    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Entry) -> T) -> T {
        let mut state = self.ring.shared.state.borrow_mut();
        f(state
            .sockets
            .get(self.key)
            .expect("a handle's socket is there until it is dropped"))
    }

    /// What has arrived: `Ok(Some)` bytes, `Ok(None)` the end of the stream. While it is pending a receive is armed.
    pub fn poll_receive(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Lease>>> {
        let mut state = self.ring.shared.state.borrow_mut();
        let Some(socket) = state.sockets.get(self.key) else {
            return Poll::Ready(Ok(None));
        };
        if let Some(lease) = socket.flow().inbox.pop() {
            return Poll::Ready(Ok(Some(lease)));
        }
        match socket.end {
            Some(End::Eof) => return Poll::Ready(Ok(None)),
            Some(End::Error(error)) => {
                return Poll::Ready(Err(io::Error::from_raw_os_error(error)));
            }
            None => {}
        }
        store_waker(&mut socket.flow().receive_waker, cx);
        state.arm_receive(self.key);
        Poll::Pending
    }

    /// Ready when the peer closed or reset the connection, whatever bytes still wait. Arms a receive only if `arm`.
    pub fn poll_gone(&self, cx: &Context<'_>, arm: bool) -> Poll<()> {
        let mut state = self.ring.shared.state.borrow_mut();
        let Some(socket) = state.sockets.get(self.key) else {
            return Poll::Ready(());
        };
        if socket.has_ended() {
            return Poll::Ready(());
        }
        store_waker(&mut socket.flow().receive_waker, cx);
        if arm && socket.receive == Receive::Idle && !socket.flow().inbox_full() {
            state.arm_receive(self.key);
        }
        Poll::Pending
    }

    /// Whether the peer ended the stream and nothing it sent is left, or sent something nobody asked for.
    pub fn is_stale(&self) -> bool {
        self.with(|socket| socket.has_ended() || socket.has_arrived())
    }

    /// Whether the peer ended the stream, or either side of it failed.
    pub fn has_ended(&self) -> bool {
        self.with(|socket| socket.has_ended())
    }

    /// Puts bytes back in front of what has arrived.
    pub fn unread(&self, lease: Lease) {
        if !lease.is_empty() {
            self.with(|socket| socket.flow().inbox.push_front(lease));
        }
    }

    /// Bytes have arrived and wait to be taken.
    pub fn has_arrived(&self) -> bool {
        self.with(|socket| socket.has_arrived())
    }

    /// Queues bytes; the kernel is given them with this round's submission.
    pub fn send(&self, lease: Lease) {
        let lease = self.ring.shared.buffers.relieve(lease);
        let mut state = self.ring.shared.state.borrow_mut();
        let state = &mut *state;
        let Some(socket) = state.sockets.get(self.key) else {
            return;
        };
        if socket.send_error.is_some() || lease.is_empty() {
            return;
        }
        socket.begin_flow(|| state.flows.pop());
        socket.flow().outbox.push(lease);
        if socket.may_send() {
            state.to_send.push(self.key);
        }
    }

    /// Something is due from the peer, until anything comes: a busy reactor waits for several such sockets at once.
    pub fn expect_soon(&self) {
        let mut state = self.ring.shared.state.borrow_mut();
        let state = &mut *state;
        if let Some(socket) = state.sockets.get(self.key) {
            state.together.expect(&mut socket.due_since);
        }
    }

    /// Bytes queued that the kernel has not taken.
    pub fn unsent_bytes(&self) -> usize {
        self.with(|socket| socket.unsent_bytes())
    }

    /// Whether nothing is left to be sent, or nothing can be any more.
    pub fn is_sent(&self) -> bool {
        self.with(|socket| socket.send_error.is_some() || socket.unsent_bytes() == 0)
    }

    /// Ready when at most `bytes` wait to be sent, or with the error that sending met.
    pub fn poll_unsent(&self, cx: &Context<'_>, bytes: usize) -> Poll<io::Result<()>> {
        self.with(|socket| {
            if let Some(error) = socket.send_error {
                return Poll::Ready(Err(io::Error::from_raw_os_error(error.get())));
            }
            if socket.unsent_bytes() <= bytes {
                return Poll::Ready(Ok(()));
            }
            store_waker(&mut socket.flow().send_waker, cx);
            Poll::Pending
        })
    }

    /// Receives from now on take buffers of `group`; one that is armed is stopped, to be armed anew.
    pub fn set_group(&self, group: Group) {
        let mut state = self.ring.shared.state.borrow_mut();
        let Some(socket) = state.sockets.get(self.key) else {
            return;
        };
        if socket.next_group != group {
            socket.next_group = group;
            state.stop_receive(self.key);
        }
    }

    /// Receives stay armed from now on: the connection is kept alive.
    pub fn keep_receiving(&self) {
        self.with(|socket| socket.multishot = true);
    }

    /// Receives are armed one by one from now on: what follows the first is to stay in the kernel.
    pub fn receive_singly(&self) {
        self.with(|socket| socket.multishot = false);
    }

    /// Leaves the socket to itself: whatever arrives or ends is reported once, by `tag`.
    pub fn leave(&self, tag: u64) {
        self.leave_to(tag, true);
    }

    /// As [`leave`](Self::leave), but nothing is armed for it: what is armed already is heard of.
    pub fn leave_unarmed(&self, tag: u64) {
        self.leave_to(tag, false);
    }

    fn leave_to(&self, tag: u64, arm: bool) {
        let mut state = self.ring.shared.state.borrow_mut();
        let Some(socket) = state.sockets.get(self.key) else {
            return;
        };
        socket.leave(tag);
        if socket.has_arrived() || socket.end.is_some() {
            state.report(self.key);
            return;
        }
        let idle = socket.receive == Receive::Idle;
        let flow = socket.end_flow();
        state.keep_flow(flow);
        if arm && idle {
            state.arm_receive(self.key);
        }
    }

    /// Leaves the socket to itself until all that is queued is sent, and closes it with that; either is reported by `tag`,
    /// and so is a failure. False, and nothing done, where nothing is queued any more or a receive is armed.
    pub fn leave_last(&self, tag: u64) -> bool {
        self.with(|socket| {
            if !socket.flow().queued
                || socket.receive != Receive::Idle
                || socket.send_error.is_some()
            {
                return false;
            }
            socket.last = Last::Awaited;
            socket.leave(tag);
            true
        })
    }

    /// Looks after the socket again.
    pub fn attend(&self) {
        let mut state = self.ring.shared.state.borrow_mut();
        let state = &mut *state;
        if let Some(socket) = state.sockets.get(self.key) {
            socket.unattended = None;
            socket.begin_flow(|| state.flows.pop());
        }
    }

    /// Ends the sending side (FIN) once what was queued before is sent; call it when nothing is unsent.
    pub fn shutdown_write(&self) {
        let fd = self.with(|socket| socket.fd);
        // SAFETY: the descriptor is open as long as the entry lives; shutdown(2) touches no memory.
        unsafe { libc::shutdown(fd, libc::SHUT_WR) };
    }

    /// Sending has failed: what was to be sent could not be put into a buffer, and nothing may follow it.
    pub fn fail(&self) {
        self.reset_on_close();
        self.with(|socket| {
            socket.send_error = socket.send_error.or(NonZeroI32::new(libc::ENOMEM));
        });
    }

    /// Closing from now on resets the connection: what ends with it was cut short.
    pub fn reset_on_close(&self) {
        let fd = self.with(|socket| socket.fd);
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        // SAFETY: `linger` outlives the call and its size is given.
        unsafe {
            libc::setsockopt(
                fd,
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of::<libc::linger>() as libc::socklen_t,
            );
        }
    }

    /// Bytes ever received and sent on it.
    pub fn totals(&self) -> (u64, u64) {
        self.with(|socket| (socket.received_total, socket.sent_total))
    }

    /// Bytes of what was sent that the peer has not acknowledged (`SIOCOUTQ`).
    pub fn unacknowledged_bytes(&self) -> usize {
        let fd = self.with(|socket| socket.fd);
        let mut queued: libc::c_int = 0;
        // SAFETY: SIOCOUTQ (TIOCOUTQ) writes one int to the address given.
        let result = unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut queued) };
        if result < 0 {
            0
        } else {
            queued.max(0) as usize
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.ring.close(self.key);
    }
}

/// A listening socket with accepts armed. Dropping it closes the socket; stop it and take what was accepted first.
pub struct Listener {
    ring: Ring,
    key: Key,
    fd: OwnedFd,
}

impl Listener {
    /// Arms accepts on a bound, listening descriptor.
    pub fn new(ring: &Ring, fd: OwnedFd) -> Self {
        let mut state = ring.shared.state.borrow_mut();
        let key = state.acceptors.insert(AcceptorEntry {
            fd: fd.as_raw_fd(),
            armed: Vec::new(),
            accepted: std::collections::VecDeque::new(),
            error: None,
            waker: None,
            stopped: false,
        });
        state.arm_accepts(key);
        drop(state);
        Self {
            ring: ring.clone(),
            key,
            fd,
        }
    }

    /// The next connection and its peer. `Ok(None)`: stopped, and every accept has ended. An error (out of
    /// descriptors, say) disarms it until [`resume`](Self::resume).
    pub fn poll_accept(&self, cx: &Context<'_>) -> Poll<io::Result<Option<(OwnedFd, SocketAddr)>>> {
        let mut state = self.ring.shared.state.borrow_mut();
        let Some(entry) = state.acceptors.get(self.key) else {
            return Poll::Ready(Ok(None));
        };
        if let Some((fd, peer)) = entry.accepted.pop_front() {
            // SAFETY: the kernel made this descriptor for this accept, and nobody else has it.
            return Poll::Ready(Ok(Some((unsafe { OwnedFd::from_raw_fd(fd) }, peer))));
        }
        if let Some(error) = entry.error {
            return Poll::Ready(Err(io::Error::from_raw_os_error(error)));
        }
        if entry.stopped && entry.armed.is_empty() {
            return Poll::Ready(Ok(None));
        }
        store_waker(&mut entry.waker, cx);
        Poll::Pending
    }

    /// Arms accepts again after an error.
    pub fn resume(&self) {
        let mut state = self.ring.shared.state.borrow_mut();
        if let Some(entry) = state.acceptors.get(self.key) {
            entry.error = None;
        }
        state.arm_accepts(self.key);
    }

    /// Disarms the accepts; those that completed meanwhile still come out of `poll_accept`.
    pub fn stop(&self) {
        self.ring.shared.state.borrow_mut().stop_accepts(self.key);
    }

    /// Connections that were not accepted when the accepts ended: closing the socket would reset them.
    pub fn take_rest(&self) -> Vec<(OwnedFd, SocketAddr)> {
        use rustix::net::{SocketFlags, acceptfrom_with};
        let mut rest = Vec::new();
        if rustix::io::ioctl_fionbio(&self.fd, true).is_ok() {
            while let Ok((fd, peer)) = acceptfrom_with(&self.fd, SocketFlags::CLOEXEC) {
                if let Some(Ok(peer)) = peer.map(SocketAddr::try_from) {
                    rest.push((fd, peer));
                }
            }
        }
        rest
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut state = self.ring.shared.state.borrow_mut();
        state.stop_accepts(self.key);
        if let Some(entry) = state.acceptors.remove(self.key) {
            for (fd, _) in entry.accepted {
                // SAFETY: accepted for this listener and handed to nobody.
                drop(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
}

/// A connection being made. Dropping it cancels it; what the kernel still finishes is closed.
pub struct Connect {
    ring: Ring,
    key: Option<Key>,
}

impl Connect {
    /// Starts connecting to `address`.
    pub fn new(ring: &Ring, address: SocketAddr) -> io::Result<Self> {
        use std::os::fd::IntoRawFd;
        let fd = stream_socket(address)?.into_raw_fd();
        let key = ring
            .shared
            .state
            .borrow_mut()
            .start_connect(fd, Address::of(address));
        Ok(Self {
            ring: ring.clone(),
            key: Some(key),
        })
    }
}

impl Future for Connect {
    type Output = io::Result<OwnedFd>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(key) = self.key else {
            return Poll::Pending;
        };
        let mut state = self.ring.shared.state.borrow_mut();
        let Some(Operation::Connect {
            fd, result, waker, ..
        }) = state.operations.get(key)
        else {
            return Poll::Pending;
        };
        let Some(result) = *result else {
            store_waker(waker, cx);
            return Poll::Pending;
        };
        // SAFETY: the operation ended, and with its removal this is the descriptor's only owner.
        let fd = unsafe { OwnedFd::from_raw_fd(*fd) };
        state.operations.remove(key);
        drop(state);
        self.key = None;
        Poll::Ready(if result < 0 {
            Err(io::Error::from_raw_os_error(-result))
        } else {
            Ok(fd)
        })
    }
}

impl Drop for Connect {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.ring.shared.state.borrow_mut().abandon_connect(key);
        }
    }
}

/// A coarse timer ([`GRANULARITY_MS`](super::timer::GRANULARITY_MS)); moving it later costs one store.
pub struct Timer {
    ring: Ring,
    id: TimerId,
}

impl Timer {
    /// A timer that is not set.
    pub fn new(ring: &Ring) -> Self {
        let id = ring.shared.state.borrow_mut().wheel.insert();
        Self {
            ring: ring.clone(),
            id,
        }
    }

    /// Fires at `deadline_ms` of the reactor's clock.
    pub fn set(&self, deadline_ms: u64) {
        self.ring
            .shared
            .state
            .borrow_mut()
            .wheel
            .set(self.id, deadline_ms);
    }

    /// Does not fire.
    pub fn clear(&self) {
        self.ring.shared.state.borrow_mut().wheel.clear(self.id);
    }

    /// Ready once it has fired, until it is set or cleared.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        self.ring.shared.state.borrow_mut().wheel.poll(self.id, cx)
    }

    /// Has it at hand when it is used next.
    pub fn prefetch(&self) {
        self.ring.shared.state.borrow().wheel.prefetch(self.id);
    }

    /// Whether it has fired and was not set since.
    pub fn has_fired(&self) -> bool {
        self.ring.shared.state.borrow_mut().wheel.has_fired(self.id)
    }

    /// Leaves the timer to itself: its firing is reported by `tag`.
    pub fn leave(&self, tag: u64) {
        self.ring
            .shared
            .state
            .borrow_mut()
            .wheel
            .unattended(self.id, tag);
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Ok(mut state) = self.ring.shared.state.try_borrow_mut() {
            state.wheel.remove(self.id);
        }
    }
}

/// Waits until `deadline_ms` of the reactor's clock.
pub async fn sleep_until(ring: &Ring, deadline_ms: u64) {
    let timer = Timer::new(ring);
    timer.set(deadline_ms);
    std::future::poll_fn(|cx| timer.poll(cx)).await;
}
