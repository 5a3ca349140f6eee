//! Whether bodies move, and fast enough: looked at every few seconds, so that a transfer costs nothing for it.

use super::Patience;
use super::failure::Failure;
use crate::ring::Ring;
use crate::transport::Stream;

/// How long a window is over which the minimum rate must hold, in milliseconds.
const WINDOW_MS: u64 = 10_000;

/// What has moved so far.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Moved {
    from_client: u64,
    to_client: u64,
    from_origin: u64,
    to_origin: u64,
}

impl Moved {
    fn of(client: &Stream, origin: &Stream) -> Self {
        let taken = |stream: &Stream| {
            let (received, sent) = stream.socket().totals();
            (
                received,
                sent.saturating_sub(stream.socket().unacknowledged_bytes() as u64),
            )
        };
        let ((from_client, to_client), (from_origin, to_origin)) = (taken(client), taken(origin));
        Self {
            from_client,
            to_client,
            from_origin,
            to_origin,
        }
    }
}

/// Watches one exchange's two streams.
pub(super) struct Watch {
    ring: Ring,
    patience: Patience,
    /// At the last look, and when something had moved last.
    seen: Moved,
    moved_ms: u64,
    /// At the window's start.
    last: Moved,
    last_ms: u64,
    /// The client had something to take during the whole window.
    reader_busy: bool,
}

impl Watch {
    pub(super) fn new(ring: &Ring, patience: Patience, client: &Stream, origin: &Stream) -> Self {
        let now_ms = ring.now_ms();
        let moved = Moved::of(client, origin);
        Self {
            ring: ring.clone(),
            patience,
            seen: moved,
            last: moved,
            last_ms: now_ms,
            moved_ms: now_ms,
            reader_busy: false,
        }
    }

    /// When to look again.
    pub(super) fn next_ms(&self, limit_ms: u64) -> u64 {
        let idle_at = self.moved_ms + self.patience.body_idle_ms;
        (self.last_ms + WINDOW_MS)
            .min(idle_at)
            .max(self.ring.now_ms() + 1)
            .min(limit_ms)
    }

    pub(super) fn check(
        &mut self,
        client: &Stream,
        origin: &Stream,
        uploading: bool,
    ) -> Result<(), Failure> {
        let now_ms = self.ring.now_ms();
        let moved = Moved::of(client, origin);
        let waits = |stream: &Stream| {
            stream.socket().unsent_bytes() + stream.socket().unacknowledged_bytes() > 0
        };
        let (reader_waited_for, origin_waited_for) = (waits(client), waits(origin));
        if moved != self.seen {
            self.seen = moved;
            self.moved_ms = now_ms;
        } else if now_ms >= self.moved_ms + self.patience.body_idle_ms {
            return Err(if reader_waited_for {
                Failure::SlowReader
            } else if uploading && !origin_waited_for {
                Failure::RequestBodyTimeout
            } else {
                Failure::ResponseBodyTimeout
            });
        }
        if now_ms >= self.last_ms + WINDOW_MS {
            let needed = self.patience.min_rate * (now_ms - self.last_ms) / 1000;
            if self.reader_busy
                && reader_waited_for
                && moved.to_client - self.last.to_client < needed
            {
                return Err(Failure::SlowReader);
            }
            if uploading && !origin_waited_for && moved.from_client - self.last.from_client < needed
            {
                return Err(Failure::RequestBodyTimeout);
            }
            self.reader_busy = reader_waited_for;
            self.last_ms = now_ms;
            self.last = moved;
        }
        Ok(())
    }
}
