//! After a 101: bytes both ways, unread, until both sides have ended or nothing moves any more.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use super::Patience;
use crate::ring::{Ring, Timer};
use crate::transport::Stream;

/// Bytes that may wait towards one side before the other is not read.
const UNSENT_BYTES_MAX: usize = 64 * 1024;

/// What went through a tunnel.
pub(super) struct Tunnelled {
    pub(super) to_client: u64,
}

/// Relays until both directions have ended, either fails, or neither moved for the time given.
pub(super) async fn tunnel(
    ring: &Ring,
    client: &mut Stream,
    origin: &mut Stream,
    timer: &Timer,
    patience: Patience,
) -> Tunnelled {
    let begun = client.socket().totals().1;
    let (mut up, mut down) = (true, true);
    let mut seen = (client.socket().totals(), origin.socket().totals());
    timer.set(ring.now_ms() + patience.tunnel_idle_ms);
    loop {
        let goes_on = poll_fn(|cx| {
            let ended_up = up
                && poll_copy(cx, client, origin)
                    .map(|result| up = result.is_err())
                    .is_ready();
            let ended_down = down
                && poll_copy(cx, origin, client)
                    .map(|result| down = result.is_err())
                    .is_ready();
            // A direction that failed is still marked open: then all ends.
            if (ended_up && up) || (ended_down && down) || !(up || down) {
                return Poll::Ready(false);
            }
            timer.poll(cx).map(|()| true)
        })
        .await;
        let now = (client.socket().totals(), origin.socket().totals());
        if !goes_on || now == seen {
            return Tunnelled {
                to_client: client.socket().totals().1 - begun,
            };
        }
        seen = now;
        timer.set(ring.now_ms() + patience.tunnel_idle_ms);
    }
}

/// Copies until `from` ends; then `to` is told, once it has taken everything.
fn poll_copy(cx: &Context<'_>, from: &mut Stream, to: &mut Stream) -> Poll<io::Result<()>> {
    loop {
        ready!(to.socket().poll_unsent(cx, UNSENT_BYTES_MAX))?;
        match ready!(from.poll_next(cx))? {
            Some(lease) => to.socket().send(lease),
            None => {
                ready!(to.socket().poll_unsent(cx, 0))?;
                to.socket().shutdown_write();
                return Poll::Ready(Ok(()));
            }
        }
    }
}
