//! Heap allocations of a worker in steady state: none for a request of a kept connection, none for a tick.
//!
//! Where one of these fails, `RINGWAY_TRACE_ALLOCATIONS=1 cargo test --test e2e allocations` prints what allocated.

use std::time::{Duration, Instant};

use ringway_tests::client::{get, post};
use ringway_tests::origin::ok;
use ringway_tests::wire::{Framing, chunked};
use ringway_tests::{Client, Config, Origin, Proxy};

/// Connections that take turns.
const CLIENTS: usize = 4;

/// Rounds of requests, at least: once so that tables, pools and wheels grow to what the load needs, then counted.
const ROUNDS: usize = 500;

/// How long each goes on, at least: several ticks of 250 ms.
const LASTING: Duration = Duration::from_millis(1200);

/// Lines of the access log that may be on their way while more are asked for: more than fit a batch, fewer than all the
/// batches that a worker keeps. A batch can be used again only once it is written.
const LINES_BEHIND_MAX: usize = 64;

/// Clients of a proxy, and what they have asked so far.
struct Load {
    proxy: Proxy,
    clients: Vec<Client>,
    request: Vec<u8>,
    body_bytes: usize,
    answered: usize,
    logs: bool,
}

impl Load {
    fn new(config: &Config, logs: bool, request: Vec<u8>, body_bytes: usize) -> Load {
        let proxy = config.start();
        let clients = (0..CLIENTS).map(|_| proxy.client()).collect();
        Load {
            proxy,
            clients,
            request,
            body_bytes,
            answered: 0,
            logs,
        }
    }

    /// Every client asks, then every client is answered.
    fn round(&mut self) {
        for client in &mut self.clients {
            client.send(&self.request);
        }
        for client in &mut self.clients {
            let response = client.read_response();
            assert_eq!(response.status(), 200);
            assert_eq!(response.body.len(), self.body_bytes);
        }
        self.answered += self.clients.len();
    }

    fn wait_for_log(&self, behind_max: usize) {
        let expected = self.answered.saturating_sub(behind_max);
        self.proxy
            .stdout()
            .wait_for("lines for the answers", |lines| {
                (lines.len() >= expected).then_some(())
            });
    }

    fn rounds(&mut self) {
        let start = Instant::now();
        let mut done = 0;
        while done < ROUNDS || start.elapsed() < LASTING {
            self.round();
            done += 1;
            if self.logs {
                self.wait_for_log(LINES_BEHIND_MAX);
            }
        }
        if self.logs {
            // The last ones leave by a tick.
            self.wait_for_log(0);
        }
    }

    fn assert_steady_state_allocates_nothing(mut self) {
        self.rounds();
        let (before, answered) = (allocations(&self.proxy), self.answered);
        assert!(
            before > 0.0,
            "a worker that starts allocates, so nothing is counted"
        );
        self.rounds();
        let (after, requests) = (allocations(&self.proxy), self.answered - answered);
        assert_eq!(
            after - before,
            0.0,
            "allocations for {requests} requests in steady state"
        );
    }
}

fn allocations(proxy: &Proxy) -> f64 {
    proxy.metrics().gauge("ringway_worker_allocations_total")
}

/// Gives every request this answer and keeps nothing of it.
fn origin(answer: Vec<u8>) -> Origin {
    Origin::script(move |connection| {
        while let Some(head) = connection.read_head() {
            let framing = Framing::of_request(&head).expect("it is framed");
            let body = connection.wire().pass_body(framing, &mut |_| {});
            if body.is_err() || connection.send(&answer).is_err() {
                return;
            }
        }
    })
}

fn chunked_answer(chunks: &[&[u8]]) -> Vec<u8> {
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    answer.extend(chunked(chunks));
    answer
}

#[test]
fn answers_with_a_length_are_passed_without_an_allocation() {
    let origin = origin(ok([b'x'; 128]));
    let config = Config::to(&origin).log("access = \"off\"");
    Load::new(&config, false, get("/"), 128).assert_steady_state_allocates_nothing();
}

#[test]
fn answers_are_logged_without_an_allocation() {
    let origin = origin(ok([b'x'; 128]));
    let config = Config::to(&origin).log("access = \"stdout\"\nformat = \"json\"");
    Load::new(&config, true, get("/"), 128).assert_steady_state_allocates_nothing();
}

#[test]
fn answers_in_chunks_are_passed_without_an_allocation() {
    let origin = origin(chunked_answer(&[&[b'x'; 100], &[b'y'; 28]]));
    let config = Config::to(&origin).log("access = \"off\"");
    Load::new(&config, false, get("/"), 128).assert_steady_state_allocates_nothing();
}

#[test]
fn small_request_bodies_are_passed_without_an_allocation() {
    let origin = origin(ok([b'x'; 128]));
    let config = Config::to(&origin).log("access = \"off\"");
    Load::new(&config, false, post("/", &[b'x'; 200]), 128).assert_steady_state_allocates_nothing();
}

/// The ticks of a worker that has nothing to do, and the closing of connections kept for long enough.
#[test]
fn a_quiet_worker_allocates_nothing() {
    let origin = origin(ok([b'x'; 128]));
    let proxy = Config::to(&origin)
        .log("access = \"off\"")
        .timeouts("keep_alive = \"1s\"")
        .start();
    let quiet = || {
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| proxy.client()).collect();
        for client in &mut clients {
            assert_eq!(client.get("/").status(), 200);
        }
        let before = allocations(&proxy);
        for client in &mut clients {
            client.assert_closed();
        }
        allocations(&proxy) - before
    };
    // The first time, places that were never free before are given back.
    quiet();
    assert_eq!(quiet(), 0.0, "allocations while nobody asked");
}
