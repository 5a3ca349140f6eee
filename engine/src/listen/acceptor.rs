//! One worker's accepting from one listening socket.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use crate::downstream::{Connection, Downstream, Guard, Shared};
use crate::observe::{Refusal, WorkerStats, process_log};
use crate::ring::{Group, Listener, Ring, Socket, sleep_until};

/// How long accepting pauses when the process has no descriptor left: trying on would only spin.
const PAUSE_MS: u64 = 100;

/// Accepts until the listener is stopped, and then what had been accepted before.
pub async fn accept_all(
    ring: Ring,
    listener: Rc<Listener>,
    shared: Arc<Shared>,
    stats: Arc<WorkerStats>,
    downstream: Rc<Downstream>,
) {
    let take = |fd: OwnedFd, peer: SocketAddr| {
        stats.connections_accepted.increment();
        match Guard::take(&shared, &stats, peer.ip()) {
            Ok(guard) => {
                let socket = Socket::new(&ring, fd, Group::Small);
                downstream.accept(Box::new(Connection::new(&ring, socket, peer, guard)));
            }
            Err(refusal) => stats.connection_refused(refusal),
        }
    };
    let mut complained = false;
    loop {
        match poll_fn(|cx| listener.poll_accept(cx)).await {
            Ok(Some((fd, peer))) => {
                complained = false;
                take(fd, peer);
            }
            Ok(None) => {
                for (fd, peer) in listener.take_rest() {
                    take(fd, peer);
                }
                return;
            }
            Err(error) => {
                stats.connection_refused(Refusal::Descriptors);
                if !complained {
                    complained = true;
                    process_log::error(&format!(
                        "cannot accept connections: {}; trying again",
                        cause(&error)
                    ));
                }
                sleep_until(&ring, ring.now_ms() + PAUSE_MS).await;
                listener.resume();
            }
        }
    }
}

fn cause(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EMFILE) => {
            "this process has no file descriptor left (raise LimitNOFILE or ulimit -n)".into()
        }
        Some(libc::ENFILE) => "the system has no file descriptor left (fs.file-max)".into(),
        _ => error.to_string(),
    }
}
