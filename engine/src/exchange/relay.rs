//! Both bodies at once: what is left of the request's towards the origin, the response's towards the client.

use std::future::poll_fn;
use std::task::Poll;

use super::failure::Failure;
use super::watch::Watch;
use super::{Client, Peer, Services};
use crate::message::{Pump, PumpError};
use crate::upstream::Connection;

enum Step {
    Downloaded,
    Failed(Failure),
    Timer,
}

/// Moves both bodies until the response's has ended. True: the request's had ended too.
pub(super) async fn relay<C: Client>(
    services: &Services,
    client: &mut C,
    connection: &mut Connection,
    peer: &Peer<'_>,
    route_deadline_ms: u64,
    up: &mut Pump,
    mut downloaded: bool,
) -> Result<bool, Failure> {
    let mut uploading = !client.is_ended() || up.holds_bytes();
    let mut origin_reads = true;
    let mut down = Pump::default();
    let mut watch = Watch::new(
        &services.ring,
        peer.patience,
        client.stream(),
        connection.stream(),
    );
    peer.timer.set(watch.next_ms(route_deadline_ms));
    loop {
        let step = poll_fn(|cx| {
            if uploading && origin_reads {
                match up.poll(client, connection, &services.ring, cx) {
                    Poll::Ready(Ok(())) => uploading = false,
                    // The origin takes no more of the body; its answer may still be whole.
                    Poll::Ready(Err(PumpError::Sink(_))) => origin_reads = false,
                    Poll::Ready(Err(PumpError::Source(error))) => {
                        return Poll::Ready(Step::Failed(error.into()));
                    }
                    Poll::Pending => {}
                }
            }
            if !downloaded {
                match down.poll(connection, client, &services.ring, cx) {
                    Poll::Ready(Ok(())) => downloaded = true,
                    Poll::Ready(Err(PumpError::Sink(_))) => {
                        return Poll::Ready(Step::Failed(Failure::ClientGone));
                    }
                    Poll::Ready(Err(PumpError::Source(error))) => {
                        return Poll::Ready(Step::Failed(error.into()));
                    }
                    Poll::Pending => {}
                }
            }
            if downloaded {
                return Poll::Ready(Step::Downloaded);
            }
            if !uploading && client.poll_gone(cx, true).is_ready() {
                return Poll::Ready(Step::Failed(Failure::ClientGone));
            }
            peer.timer.poll(cx).map(|()| Step::Timer)
        })
        .await;
        match step {
            Step::Downloaded => return Ok(!uploading),
            Step::Failed(failure) => return Err(failure),
            Step::Timer => {
                if services.ring.now_ms() >= route_deadline_ms {
                    return Err(Failure::RouteTimeout);
                }
                // Once it is answered, a request's body has no rate to keep: the answer may be all there is to wait for.
                watch.check(client.stream(), connection.stream(), false)?;
                peer.timer.set(watch.next_ms(route_deadline_ms));
            }
        }
    }
}
