//! Origins: each connection runs a script on a thread of its own, and everything asked of them is kept.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::sockopt::{set_socket_linger, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};

use crate::PATIENCE;
use crate::wire::{Framing, Head, Wire, WireError};

/// A request an origin has read.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its head.
    pub head: Head,
    /// How its body's end was told.
    pub framing: Framing,
    /// Its body, or what came of it.
    pub body: Vec<u8>,
    /// Its body's trailers.
    pub trailers: Vec<(String, String)>,
    /// Which of the origin's connections brought it, from 0.
    pub connection: usize,
}

impl Request {
    /// Its method.
    pub fn method(&self) -> &str {
        self.head.start.split(' ').next().unwrap_or_default()
    }

    /// Its target, as sent.
    pub fn target(&self) -> &str {
        self.head.start.split(' ').nth(1).unwrap_or_default()
    }
}

/// What an origin has seen.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Requests whose end came.
    pub requests: Vec<Request>,
    /// Requests that the proxy broke off.
    pub broken_off: Vec<Request>,
    /// Connections ever accepted.
    pub accepted: usize,
    /// Connections open now.
    pub open: usize,
    /// The most that were open at once.
    pub open_peak: usize,
    /// What the proxy sent that is not HTTP/1.1, and scripts that panicked.
    failures: Vec<String>,
}

#[derive(Default)]
struct State {
    seen: Seen,
    streams: HashMap<usize, TcpStream>,
    stopping: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A test that failed while it looked is reported for that, not for the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

type Script = dyn Fn(&mut Connection) + Send + Sync;

/// An HTTP server whose every byte a test decides.
pub struct Origin {
    port: ReservedPort,
    shared: Arc<Shared>,
    script: Arc<Script>,
    running: Option<(TcpListener, JoinHandle<()>)>,
}

impl Origin {
    /// Runs `script` for each connection, which closes when it returns.
    pub fn script(script: impl Fn(&mut Connection) + Send + Sync + 'static) -> Origin {
        let mut origin = Origin {
            port: ReservedPort::new(),
            shared: Arc::new(Shared::default()),
            script: Arc::new(script),
            running: None,
        };
        origin.restart();
        origin
    }

    /// Gives every request the answer that `answer` makes of it, and keeps connections open.
    pub fn serving(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Origin {
        Origin::script(move |connection| {
            while let Some(request) = connection.read_request() {
                if connection.send(answer(&request)).is_err() {
                    return;
                }
            }
        })
    }

    /// Gives every request these bytes, and keeps connections open.
    pub fn answering(answer: impl Into<Vec<u8>>) -> Origin {
        let answer = answer.into();
        Origin::serving(move |_| answer.clone())
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Its address as an endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// What it has seen so far.
    pub fn seen(&self) -> Seen {
        self.shared.state().seen.clone()
    }

    /// The only request it has seen.
    pub fn only_request(&self) -> Request {
        let seen = self.seen();
        assert_eq!(
            seen.requests.len(),
            1,
            "requests at the origin: {:?}",
            seen.requests
        );
        seen.requests.into_iter().next().expect("one")
    }

    /// Waits until `condition` holds of what it has seen; panics with `what` when it never does.
    pub fn wait_until(&self, what: &str, condition: impl Fn(&Seen) -> bool) -> Seen {
        let (state, timeout) = self
            .shared
            .changed
            .wait_timeout_while(self.shared.state(), PATIENCE, |state| {
                !condition(&state.seen)
            })
            .unwrap_or_else(PoisonError::into_inner);
        let seen = state.seen.clone();
        drop(state);
        assert!(
            !timeout.timed_out(),
            "the origin never saw: {what}; it saw {seen:?}"
        );
        seen
    }

    /// Stops as a killed process does: nobody listens, every connection closes. The port stays taken.
    pub fn stop(&mut self) {
        let Some((listener, accepting)) = self.running.take() else {
            return;
        };
        self.shared.change(|state| {
            state.stopping = true;
            for stream in state.streams.values() {
                // One that has gone already needs no closing.
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
        rustix::net::shutdown(&listener, rustix::net::Shutdown::Both)
            .expect("a listening socket wakes its accept");
        accepting.join().expect("accepting does not panic");
    }

    /// Listens (again), at the same address.
    pub fn restart(&mut self) {
        assert!(self.running.is_none(), "the origin is running");
        self.shared.change(|state| state.stopping = false);
        let listener = self.port.listen(1024);
        let accepting = listener.try_clone().expect("a descriptor is free");
        let shared = Arc::clone(&self.shared);
        let script = Arc::clone(&self.script);
        let thread = std::thread::spawn(move || accept_all(&accepting, &shared, &script));
        self.running = Some((listener, thread));
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop();
        let failures = self.seen().failures;
        if !std::thread::panicking() {
            assert!(failures.is_empty(), "at the origin: {failures:#?}");
        } else if !failures.is_empty() {
            eprintln!("at the origin: {failures:#?}");
        }
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>, script: &Arc<Script>) {
    while let Ok((stream, _)) = listener.accept() {
        let twin = stream.try_clone().expect("a descriptor is free");
        let mut state = shared.state();
        if state.stopping {
            return;
        }
        let index = state.seen.accepted;
        state.seen.accepted += 1;
        state.seen.open += 1;
        state.seen.open_peak = state.seen.open_peak.max(state.seen.open);
        state.streams.insert(index, twin);
        drop(state);
        shared.changed.notify_all();
        let shared = Arc::clone(shared);
        let script = Arc::clone(script);
        std::thread::spawn(move || {
            let mut connection = Connection {
                wire: Wire::new(stream),
                index,
                shared: Arc::clone(&shared),
            };
            let outcome =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| script(&mut connection)));
            shared.change(|state| {
                state.streams.remove(&index);
                state.seen.open -= 1;
                if outcome.is_err() {
                    state
                        .seen
                        .failures
                        .push(format!("the script of connection {index} panicked"));
                }
                drop(connection);
            });
        });
    }
}

/// One connection of an origin, in the hands of its script.
pub struct Connection {
    wire: Wire,
    index: usize,
    shared: Arc<Shared>,
}

impl Connection {
    /// Which of the origin's connections this is, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The bytes below.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// A second handle on the socket, for a thread of the script.
    pub fn sender(&self) -> TcpStream {
        self.wire
            .stream()
            .try_clone()
            .expect("a descriptor is free")
    }

    /// The next request's head, without its body and not kept; `None` when the proxy closes instead.
    pub fn read_head(&mut self) -> Option<Head> {
        match self.wire.read_head() {
            Ok(head) => Some(head),
            Err(failure) => {
                self.note(failure, None);
                None
            }
        }
    }

    /// The next request, kept; `None` when the proxy closes instead.
    pub fn read_request(&mut self) -> Option<Request> {
        let head = self.read_head()?;
        self.read_body(head)
    }

    /// The rest of the request with this head, kept; `None` when the proxy breaks it off.
    pub fn read_body(&mut self, head: Head) -> Option<Request> {
        let framing = match Framing::of_request(&head) {
            Ok(framing) => framing,
            Err(failure) => {
                self.note(failure, None);
                return None;
            }
        };
        let mut body = Vec::new();
        let outcome = self
            .wire
            .pass_body(framing, &mut |piece| body.extend_from_slice(piece));
        let mut request = Request {
            head,
            framing,
            body,
            trailers: Vec::new(),
            connection: self.index,
        };
        match outcome {
            Ok(trailers) => {
                request.trailers = trailers;
                self.keep(request.clone());
                Some(request)
            }
            Err(failure) => {
                self.note(failure, Some(request));
                None
            }
        }
    }

    /// Keeps a request that the script has read in its own way.
    pub fn keep(&self, request: Request) {
        self.shared
            .change(|state| state.seen.requests.push(request));
    }

    /// Sends all of `bytes`; an error where the proxy has gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.send(bytes.as_ref())
    }

    /// Waits until the proxy closes, and passes what came before that.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            match self.wire.read_some() {
                Ok(piece) if piece.is_empty() => return all,
                Ok(piece) => all.extend(piece),
                Err(WireError::Reset) => return all,
                Err(failure) => panic!("the proxy did not close: {failure}"),
            }
        }
    }

    /// Closes for good: both directions, now.
    pub fn close(&mut self) {
        // One that the proxy closed first is closed.
        let _ = self.wire.stream().shutdown(Shutdown::Both);
        self.shared.change(|state| {
            state.streams.remove(&self.index);
        });
    }

    /// Makes the close that follows a reset.
    pub fn reset_on_close(&mut self) {
        set_socket_linger(self.wire.stream(), Some(Duration::ZERO))
            .expect("a TCP socket lingers as it is told");
    }

    fn note(&self, failure: WireError, request: Option<Request>) {
        self.shared.change(|state| match failure {
            WireError::Malformed(what) => state.seen.failures.push(what),
            _ => state.seen.broken_off.extend(request),
        });
    }
}

/// A port that stays this test's own while nobody listens on it: connecting is refused.
pub struct ReservedPort {
    addr: SocketAddr,
    _bound: OwnedFd,
}

impl Default for ReservedPort {
    fn default() -> Self {
        ReservedPort::new()
    }
}

impl ReservedPort {
    /// Any free port of 127.0.0.1.
    pub fn new() -> ReservedPort {
        let bound = bound_to(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let addr = getsockname(&bound)
            .expect("it is bound")
            .try_into()
            .expect("an internet address");
        ReservedPort {
            addr,
            _bound: bound,
        }
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its address as an endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Listens on it, with this many connections waiting for their accept.
    pub fn listen(&self, backlog: i32) -> TcpListener {
        // The reservation does not listen, so a second socket may take the same address beside it.
        let second = bound_to(self.addr);
        listen(&second, backlog).expect("the port is reserved");
        TcpListener::from(second)
    }
}

fn bound_to(addr: SocketAddr) -> OwnedFd {
    let fd = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .expect("a descriptor is free");
    set_socket_reuseaddr(&fd, true).expect("a TCP socket's address may be shared");
    bind(&fd, &addr).unwrap_or_else(|error| panic!("binding {addr}: {error}"));
    fd
}

/// An address where connecting neither succeeds nor fails: its queue of connections is full and nobody accepts.
pub struct BlackHole {
    port: ReservedPort,
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl Default for BlackHole {
    fn default() -> Self {
        BlackHole::new()
    }
}

impl BlackHole {
    /// Fills the queue until a connect gets no answer.
    pub fn new() -> BlackHole {
        let port = ReservedPort::new();
        let listener = port.listen(0);
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&port.addr(), Duration::from_millis(300))
        {
            assert!(queued.len() < 16, "a queue of length 0 took 16 connections");
            queued.push(stream);
        }
        BlackHole {
            port,
            _listener: listener,
            _queued: queued,
        }
    }

    /// Its address as an endpoint.
    pub fn url(&self) -> String {
        self.port.url()
    }
}

/// A 200 with `body` by its length.
pub fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Client, get, post};

    #[test]
    fn an_origin_keeps_what_it_was_asked_and_answers_it() {
        let origin = Origin::serving(|request| ok(request.target()));
        let mut client = Client::connect(origin.addr());
        client.send([get("/a"), post("/b", b"body"), get("/c")].concat());
        for target in ["/a", "/b", "/c"] {
            assert_eq!(client.read_response().text(), target);
        }
        let seen = origin.seen();
        assert_eq!(seen.requests[1].body, b"body");
        assert_eq!((seen.accepted, seen.open), (1, 1));
    }

    #[test]
    fn a_stopped_origin_refuses_and_a_restarted_one_answers_at_the_same_address() {
        let mut origin = Origin::answering(ok("here"));
        let mut client = Client::connect(origin.addr());
        assert_eq!(client.get("/").text(), "here");
        origin.stop();
        client.assert_closed();
        let refused = Client::try_connect(origin.addr()).expect_err("nobody listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        origin.restart();
        assert_eq!(Client::connect(origin.addr()).get("/").text(), "here");
    }

    #[test]
    fn a_response_cut_short_is_told_from_a_whole_one() {
        let origin = Origin::script(|connection| {
            connection.read_request();
            connection
                .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
                .expect("taken");
        });
        let mut client = Client::connect(origin.addr());
        client.send(get("/"));
        let response = client.try_response().expect("a head came");
        assert_eq!(response.body, b"hello");
        assert!(
            matches!(response.failure, Some(WireError::CutShort)),
            "{:?}",
            response.failure
        );
    }

    #[test]
    fn connecting_to_a_black_hole_gets_no_answer() {
        let hole = BlackHole::new();
        let outcome = TcpStream::connect_timeout(&hole.port.addr(), Duration::from_millis(100));
        assert_eq!(
            outcome.expect_err("no answer").kind(),
            io::ErrorKind::TimedOut
        );
    }
}
