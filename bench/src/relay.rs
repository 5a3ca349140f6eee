//! Passes bytes on from connection to connection, on the engine's ring, and looks at none of them.
//!
//! What a short message costs here is what the kernel and the ring cost; what it costs Ringway beyond that is what HTTP and
//! its features do. The end of either side ends both.

use std::{
    future::poll_fn,
    io,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    task::{Context, Poll, ready},
};

use ringway_engine::ring::{self, Connect, Group, Listener, Ring, Socket};

use crate::origin::BACKLOG;

/// Bytes that may wait for one side before no more is received for it.
const UNSENT_BYTES_MAX: usize = 256 * 1024;

/// A socket that listens at `address`.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// Relays each of `listener`'s connections to a connection of its own to `origin`, until accepting fails.
pub fn run(listener: TcpListener, origin: SocketAddr) -> io::Result<()> {
    let serve = move |ring: Ring| async move {
        let listener = Listener::new(&ring, OwnedFd::from(listener));
        while let Some((client, _)) = poll_fn(|cx| listener.poll_accept(cx)).await? {
            let on = ring.clone();
            ring.spawn(async move {
                // Either side's failure ends both, which is all there is to say of it.
                let _ = relay(&on, client, origin).await;
            });
        }
        Ok(())
    };
    ring::run(serve, || {})?
}

async fn relay(ring: &Ring, client: OwnedFd, origin: SocketAddr) -> io::Result<()> {
    let origin = Connect::new(ring, origin)?.await?;
    let side = |fd: OwnedFd, group| {
        rustix::net::sockopt::set_tcp_nodelay(&fd, true)?;
        let socket = Socket::new(ring, fd, group);
        socket.keep_receiving();
        io::Result::Ok(socket)
    };
    let (client, origin) = (side(client, Group::Small)?, side(origin, Group::Large)?);
    poll_fn(|cx| {
        let up = poll_pass(&client, &origin, true, cx)?;
        let down = poll_pass(&origin, &client, false, cx)?;
        if up.is_ready() || down.is_ready() {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    })
    .await
}

/// Passes on what arrives, to one who owes an answer from then on if this `asks`; ready when `from` has ended and all of it
/// is sent.
fn poll_pass(from: &Socket, to: &Socket, asks: bool, cx: &Context<'_>) -> Poll<io::Result<()>> {
    loop {
        ready!(to.poll_unsent(cx, UNSENT_BYTES_MAX))?;
        match ready!(from.poll_receive(cx))? {
            Some(lease) => {
                to.send(lease);
                if asks {
                    to.expect_soon();
                }
            }
            None => return to.poll_unsent(cx, 0),
        }
    }
}
