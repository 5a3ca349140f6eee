//! A connected byte stream, with the bytes that were received and not yet taken.

use std::io;
use std::task::{Context, Poll, ready};

use crate::ring::{Lease, Ring, Socket};

/// What one attempt to receive more brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// More bytes are there.
    More,
    /// The peer will send no more.
    End,
    /// What is there has reached the limit, or no memory is left to hold more.
    Full,
}

/// A byte stream. In clear for now; what is above sees no difference.
pub struct Stream {
    socket: Socket,
    received: Option<Lease>,
}

impl Stream {
    /// A stream on a connected socket.
    pub fn new(socket: Socket) -> Self {
        Self {
            socket,
            received: None,
        }
    }

    /// The socket below.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Sends `text`; where no memory can be had the stream fails.
    pub fn send_text(&self, text: &[u8], ring: &Ring) {
        match ring.lease(text.len()) {
            Some(mut lease) => {
                lease.append(text);
                self.socket.send(lease);
            }
            None => self.socket.fail(),
        }
    }

    /// Bytes received and not taken.
    pub fn received(&self) -> &[u8] {
        self.received.as_ref().map_or(&[], Lease::bytes)
    }

    /// Takes what was received.
    pub fn take(&mut self) -> Option<Lease> {
        self.received.take()
    }

    /// Puts bytes back that were taken too many; nothing else may be there.
    pub fn put_back(&mut self, lease: Lease) {
        debug_assert!(self.received.is_none());
        if !lease.is_empty() {
            self.received = Some(lease);
        }
    }

    /// Whether bytes are there or have arrived below.
    pub fn has_more(&self) -> bool {
        self.received.is_some() || self.socket.has_arrived()
    }

    /// Receives more behind what is there, up to `bytes_max` in all.
    pub fn poll_fill(
        &mut self,
        cx: &Context<'_>,
        ring: &Ring,
        bytes_max: usize,
    ) -> Poll<io::Result<Fill>> {
        if self.received().len() >= bytes_max {
            return Poll::Ready(Ok(Fill::Full));
        }
        let Some(more) = ready!(self.socket.poll_receive(cx))? else {
            return Poll::Ready(Ok(Fill::End));
        };
        let Some(have) = &mut self.received else {
            self.received = Some(more);
            return Poll::Ready(Ok(Fill::More));
        };
        if !have.append(more.bytes()) {
            // Grown by doubling, so that a dripped head is not copied over and over.
            let wanted =
                ((have.len() + more.len()) * 2).min(bytes_max.max(have.len() + more.len()));
            let Some(mut larger) = ring.lease(wanted) else {
                self.socket.unread(more);
                return Poll::Ready(Ok(Fill::Full));
            };
            larger.append(have.bytes());
            larger.append(more.bytes());
            *have = larger;
        }
        Poll::Ready(Ok(Fill::More))
    }

    /// The next bytes, in whatever pieces they came; `None` at the end.
    pub fn poll_next(&mut self, cx: &Context<'_>) -> Poll<io::Result<Option<Lease>>> {
        match self.received.take() {
            Some(lease) => Poll::Ready(Ok(Some(lease))),
            None => self.socket.poll_receive(cx),
        }
    }
}
