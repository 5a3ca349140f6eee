//! What goes wrong in one place stays there: panics, dying origins, crowds. Afterwards everything is as it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ringway_tests::client::get;
use ringway_tests::metrics::Metrics;
use ringway_tests::origin::ok;
use ringway_tests::signal::eventually;
use ringway_tests::wire::{Framing, WireError};
use ringway_tests::{Client, Config, Origin, Proxy, Signal};

#[test]
fn a_panic_ends_its_own_connection_only() {
    let (asked, answer) = (Signal::new(), Signal::new());
    let (raise, wait) = (asked.clone(), answer.clone());
    let origin = Origin::serving(move |request| {
        if request.target() == "/held" {
            raise.raise();
            wait.wait();
        }
        ok("here")
    });
    let proxy = Config::to(&origin).start();
    let mut beside = proxy.client();
    beside.send(get("/held"));
    asked.wait();
    for _ in 0..3 {
        let mut client = proxy.client();
        client.send("GET /fault HTTP/1.1\r\nHost: a\r\nx-ringway-fault: panic\r\n\r\n");
        match client.try_response() {
            Ok(response) => assert_eq!(response.status(), 500),
            Err(WireError::Closed | WireError::Reset) => {}
            Err(failure) => panic!("{failure}"),
        }
        client.assert_closed();
    }
    answer.raise();
    assert_eq!(beside.read_response().text(), "here");
    drop(beside);
    assert_eq!(proxy.get("/").text(), "here");
    let metrics = proxy.wait_for_metrics("nobody there", |metrics| {
        metrics.gauge("http_open_connections") == 0.0
    });
    assert_eq!(metrics.gauge("ringway_panics_total"), 3.0);
    assert_eq!(metrics.gauge("http_in_flight_requests"), 0.0);
    proxy.stderr().wait_for("a word about the panic", |lines| {
        lines
            .iter()
            .any(|line| line.to_lowercase().contains("panic"))
            .then_some(())
    });
}

/// What clients at work have seen.
#[derive(Default)]
struct Crowd {
    stop: AtomicBool,
    answered: AtomicUsize,
}

/// Asks on and on until told to stop, with a new connection whenever one closes; statuses by their count.
fn ask_until_stopped(
    proxy: &Proxy,
    crowd: &Arc<Crowd>,
) -> std::thread::JoinHandle<BTreeMap<u16, usize>> {
    let (addr, crowd) = (proxy.addr(), Arc::clone(crowd));
    std::thread::spawn(move || {
        let mut counts = BTreeMap::new();
        let mut client = Client::connect(addr);
        while !crowd.stop.load(Ordering::Relaxed) {
            client.send(get("/"));
            let response = client.read_response();
            *counts.entry(response.status()).or_insert(0) += 1;
            crowd.answered.fetch_add(1, Ordering::Relaxed);
            if response.closes() {
                client = Client::connect(addr);
            }
        }
        counts
    })
}

fn wait_for_answers(crowd: &Crowd, proxy: &Proxy, more: usize) {
    let goal = crowd.answered.load(Ordering::Relaxed) + more;
    eventually("the crowd is answered", || {
        proxy.metrics();
        (crowd.answered.load(Ordering::Relaxed) >= goal).then_some(())
    });
}

fn nobody_connected(metrics: &Metrics) -> bool {
    metrics.gauge("http_open_connections") == 0.0 && metrics.gauge("http_in_flight_requests") == 0.0
}

#[test]
fn an_origin_killed_under_load_costs_only_its_time_away() {
    let mut origin = Origin::answering(ok("here"));
    let proxy = Config::to(&origin)
        .log("access = \"off\"")
        .pool("idle_timeout = \"300ms\"")
        .start();
    assert_eq!(proxy.get("/").status(), 200);
    origin.wait_until("its connection closed when idle", |seen| seen.open == 0);
    proxy.wait_until_idle();
    let fds = proxy.fd_count();
    let crowd = Arc::new(Crowd::default());
    let clients: Vec<_> = (0..32).map(|_| ask_until_stopped(&proxy, &crowd)).collect();
    wait_for_answers(&crowd, &proxy, 500);
    for _ in 0..2 {
        origin.stop();
        wait_for_answers(&crowd, &proxy, 500);
        origin.restart();
        eventually("the origin's return is noticed", || {
            (proxy.get("/").status() == 200).then_some(())
        });
        wait_for_answers(&crowd, &proxy, 500);
    }
    crowd.stop.store(true, Ordering::Relaxed);
    let mut counts = BTreeMap::new();
    for client in clients {
        for (status, count) in client.join().expect("no client fails") {
            *counts.entry(status).or_insert(0) += count;
        }
    }
    assert!(
        counts
            .keys()
            .all(|status| [200, 502, 503, 504].contains(status)),
        "{counts:?}"
    );
    assert!(counts[&200] > 0, "{counts:?}");
    for _ in 0..50 {
        assert_eq!(proxy.get("/").status(), 200, "all is well again");
    }
    proxy.wait_for_metrics("nobody there", nobody_connected);
    origin.wait_until("idle connections closed", |seen| seen.open == 0);
    // The proxy's own end of a connection may close a moment after the origin's.
    eventually("descriptors are as before", || {
        proxy.metrics();
        (proxy.fd_count() <= fds + 2).then_some(())
    });
}

#[test]
fn a_crowd_is_served_without_an_error_and_leaves_nothing_behind() {
    const CLIENTS: usize = 200;
    const REQUESTS: usize = 50;
    let origin = Origin::serving(|request| ok(&request.body));
    let proxy = Config::to(&origin)
        .workers(2)
        .log("access = \"off\"")
        .start();
    let crowd = |clients: usize| {
        let all: Vec<_> = (0..clients)
            .map(|number| {
                let addr = proxy.addr();
                std::thread::spawn(move || {
                    let mut client = Client::connect(addr);
                    for request in 0..REQUESTS {
                        let body = format!("client {number}, request {request}");
                        client.send(ringway_tests::client::post("/", body.as_bytes()));
                        let response = client.read_response();
                        assert_eq!(
                            (response.status(), response.text()),
                            (200, body),
                            "another's bytes"
                        );
                    }
                })
            })
            .collect();
        for client in all {
            client.join().expect("no client fails");
        }
        proxy.wait_for_metrics("nobody there", nobody_connected);
    };
    crowd(CLIENTS);
    let (fds, rss) = (proxy.fd_count(), proxy.rss_bytes());
    crowd(CLIENTS);
    let metrics = proxy.metrics();
    assert_eq!(
        metrics.sum("http_requests_total", &["status=\"200\""]),
        (2 * CLIENTS * REQUESTS) as f64
    );
    let idle_kept = origin.seen().open;
    assert!(
        proxy.fd_count() <= fds + idle_kept,
        "{} descriptors, before {fds}",
        proxy.fd_count()
    );
    let now = proxy.rss_bytes();
    assert!(
        now < rss + rss / 5 + 1024 * 1024,
        "{now} bytes resident, before {rss}"
    );
}

/// Whoever aborts in the worst moment must not leave a connection, a buffer or an upstream connection behind.
#[test]
fn clients_that_abort_leave_nothing_behind() {
    let origin = Origin::script(|connection| {
        while connection.read_request().is_some() {
            let body = vec![b'x'; 512 * 1024];
            if connection.send(ok(body)).is_err() {
                return;
            }
        }
    });
    let proxy = Config::to(&origin)
        .pool("idle_timeout = \"300ms\"")
        .log("access = \"off\"")
        .start();
    assert_eq!(proxy.get("/").status(), 200);
    origin.wait_until("its connection closed when idle", |seen| seen.open == 0);
    proxy.wait_until_idle();
    let fds = proxy.fd_count();
    for round in 0..200 {
        let mut client = proxy.client();
        match round % 5 {
            0 => {}
            1 => client.send("GET / HT"),
            2 => client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf"),
            3 => client.send(get("/")),
            _ => {
                client.send(get("/"));
                let head = client.read_head();
                assert_eq!(
                    Framing::of_response(&head, "GET").expect("framed"),
                    Framing::Length(512 * 1024)
                );
            }
        }
    }
    proxy.wait_for_metrics("nobody there", nobody_connected);
    origin.wait_until("every connection closed", |seen| seen.open == 0);
    eventually("descriptors are as before", || {
        proxy.metrics();
        (proxy.fd_count() <= fds + 2).then_some(())
    });
    let response = proxy.get("/");
    assert_eq!(response.body.len(), 512 * 1024);
    assert!(proxy.rss_peak_bytes() < 64 * 1024 * 1024);
}

#[test]
fn running_out_of_descriptors_ends_when_some_are_free_again() {
    let proxy = Config::new()
        .route("respond = { status = 200, body = \"here\" }")
        .start();
    let mut kept = proxy.client();
    assert_eq!(kept.get("/").text(), "here");
    // Everything the process holds for itself is open by then.
    assert_eq!(proxy.admin("/healthz").status(), 200);
    proxy.limit_descriptors(proxy.fd_count() as u64 + 8);
    let mut crowd: Vec<_> = (0..64).map(|_| proxy.client()).collect();
    for client in &mut crowd {
        client.send_what_is_taken(get("/"));
    }
    assert_eq!(kept.get("/").text(), "here", "who is connected is served");
    drop(crowd);
    eventually("a new client is served", || {
        let mut client = Client::try_connect(proxy.addr()).ok()?;
        client.send_what_is_taken(get("/"));
        client
            .try_response()
            .ok()
            .filter(|response| response.text() == "here")
    });
}

/// Many pipelined answers that nobody reads wait at the origin, not in memory.
#[test]
fn a_crowd_that_does_not_read_costs_bounded_memory() {
    let origin = Origin::serving(|_| ok(vec![b'x'; 256 * 1024]));
    let proxy = Config::to(&origin).log("access = \"off\"").start();
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let mut client = proxy.client();
            client.send((0..20).flat_map(|_| get("/")).collect::<Vec<_>>());
            client
        })
        .collect();
    origin.wait_until("every first request", |seen| seen.requests.len() >= 50);
    assert_eq!(proxy.get("/").status(), 200, "others are served meanwhile");
    let peak = proxy.rss_peak_bytes();
    assert!(peak < 96 * 1024 * 1024, "{peak} bytes resident");
    drop(clients);
    proxy.wait_for_metrics("nobody there", nobody_connected);
}
