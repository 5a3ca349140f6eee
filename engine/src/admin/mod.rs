//! Health, readiness and metrics, on the control thread: slow here is slow for no client.

use std::cell::Cell;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use ringway_protocol::h1::encode::{self, ConnectionField, SimpleResponse};
use ringway_protocol::{Limits, Method, RequestHead};

use crate::observe::access_log::Sink;
use crate::observe::{self, ProcessStats, WorkerStats};
use crate::ring::{Group, Listener, Ring, Socket, Timer};
use crate::transport::{Fill, Stream};

/// Connections served at once; more wait.
const CONNECTIONS_MAX: usize = 64;

/// How long a connection may take for its request, or be idle, in milliseconds.
const PATIENCE_MS: u64 = 10_000;

/// What the admin pages show.
pub struct Shown {
    /// Every worker's counters.
    pub workers: Vec<Arc<WorkerStats>>,
    /// The access log, for the lines it lost.
    pub log: Rc<Sink>,
    /// Whether new requests are welcome.
    pub ready: AtomicBool,
    /// When the process started, milliseconds since 1970.
    pub start_unix_millis: u64,
}

impl Shown {
    fn metrics(&self) -> String {
        let mut out = String::new();
        let process = ProcessStats {
            version: env!("CARGO_PKG_VERSION"),
            start_unix_millis: self.start_unix_millis,
            access_log_lines_lost: self.log.lines_lost(),
        };
        observe::render(&self.workers, &process, &mut out);
        out
    }

    /// Status, content type and body of a page.
    fn page(&self, path: &[u8]) -> (u16, &'static str, String) {
        const TEXT: &str = "text/plain; charset=utf-8";
        match path {
            b"/healthz" => (200, TEXT, "ok\n".into()),
            b"/readyz" if self.ready.load(Ordering::Relaxed) => (200, TEXT, "ready\n".into()),
            b"/readyz" => (503, TEXT, "draining\n".into()),
            b"/metrics" => (200, observe::CONTENT_TYPE, self.metrics()),
            b"/" => (200, TEXT, "/healthz\n/readyz\n/metrics\n".into()),
            _ => (
                404,
                TEXT,
                "404 Not Found; there are /healthz, /readyz and /metrics\n".into(),
            ),
        }
    }
}

/// Serves the admin pages on `fd` for as long as the process lives.
pub async fn serve(ring: Ring, fd: OwnedFd, shown: Rc<Shown>) {
    let listener = Listener::new(&ring, fd);
    let open = Rc::new(Cell::new(0));
    loop {
        match poll_fn(|cx| listener.poll_accept(cx)).await {
            Ok(Some((fd, _))) => {
                if open.get() >= CONNECTIONS_MAX {
                    continue;
                }
                open.set(open.get() + 1);
                let stream = Stream::new(Socket::new(&ring, fd, Group::Small));
                let place = Place(Rc::clone(&open));
                let connection = connection(ring.clone(), stream, Rc::clone(&shown));
                ring.spawn(async move {
                    let _place = place;
                    connection.await;
                });
            }
            Ok(None) => return,
            Err(_) => {
                crate::ring::sleep_until(&ring, ring.now_ms() + 100).await;
                listener.resume();
            }
        }
    }
}

/// One of the connections served at once, given back also by a panic.
struct Place(Rc<Cell<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn connection(ring: Ring, mut stream: Stream, shown: Rc<Shown>) {
    let timer = Timer::new(&ring);
    let limits = Limits {
        head_bytes: 8192,
        ..Limits::default()
    };
    let mut head = RequestHead::new();
    let mut out = Vec::new();
    loop {
        head.reset();
        timer.set(ring.now_ms() + PATIENCE_MS);
        let parsed = loop {
            if !stream.received().is_empty() {
                match head.parse(stream.received(), &limits) {
                    Ok(Some(length)) => break Some(length),
                    Ok(None) => {}
                    Err(_) => break None,
                }
            }
            let fill = poll_fn(
                |cx| match stream.poll_fill(cx, &ring, limits.head_bytes + 1) {
                    Poll::Ready(fill) => Poll::Ready(Some(fill)),
                    Poll::Pending => timer.poll(cx).map(|()| None),
                },
            )
            .await;
            if !matches!(fill, Some(Ok(Fill::More))) {
                return;
            }
        };
        out.clear();
        let mut keep = false;
        if let Some(length) = parsed {
            // A body has no place here; the connection ends behind it.
            keep = head.keep_alive && head.framing.is_empty();
            let path = head.path(stream.received()).to_vec();
            let (status, content_type, body) = match head.method {
                Method::Get | Method::Head => shown.page(&path),
                _ => (
                    405,
                    "text/plain; charset=utf-8",
                    "405 Method Not Allowed\n".into(),
                ),
            };
            answer(
                &mut out,
                status,
                content_type,
                &body,
                keep,
                head.method == Method::Head,
            );
            if let Some(mut lease) = stream.take() {
                lease.advance(length);
                stream.put_back(lease);
            }
        } else {
            answer(
                &mut out,
                400,
                "text/plain; charset=utf-8",
                "400 Bad Request\n",
                false,
                false,
            );
        }
        let Some(mut lease) = ring.lease(out.len()) else {
            return;
        };
        lease.append(&out);
        stream.socket().send(lease);
        let sent = poll_fn(|cx| match stream.socket().poll_unsent(cx, 0) {
            Poll::Ready(result) => Poll::Ready(result.is_ok()),
            Poll::Pending => timer.poll(cx).map(|()| false),
        })
        .await;
        if !sent || !keep {
            return;
        }
    }
}

fn answer(
    out: &mut Vec<u8>,
    status: u16,
    content_type: &str,
    body: &str,
    keep: bool,
    head_only: bool,
) {
    let no_store: (&[u8], &[u8]) = (b"cache-control", b"no-store");
    let allow: (&[u8], &[u8]) = (b"allow", b"GET, HEAD");
    let fields = [no_store, allow];
    encode::simple_response(
        &SimpleResponse {
            status,
            content_type: content_type.as_bytes(),
            body: body.as_bytes(),
            fields: &fields[..if status == 405 { 2 } else { 1 }],
            connection: if keep {
                ConnectionField::KeepAliveImplied
            } else {
                ConnectionField::Close
            },
            date: b"",
            head_only,
        },
        out,
    );
}
