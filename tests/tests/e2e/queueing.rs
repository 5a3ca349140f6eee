//! Requests beyond what an endpoint may have at once: who waits, for how long, and what ends it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use ringway_tests::client::{get, post};
use ringway_tests::origin::ok;
use ringway_tests::{Client, Config, Origin, Proxy, Signal};
use rustix::process::Signal as ProcessSignal;

/// An origin that answers a request's target each time it is told to.
fn held_origin() -> (Origin, Signal) {
    let answer = Signal::new();
    let answered = answer.clone();
    let origin = Origin::serving(move |request| {
        answered.wait();
        ok(request.target())
    });
    (origin, answer)
}

/// A proxy that lets it have one request at once.
fn one_at_once(origin: &Origin) -> Config {
    Config::to(origin).pool("max_connections = 1\nqueue_timeout = \"20s\"")
}

/// Sends `request` on a connection of its own, and waits until the proxy has `in_flight` of them.
fn sent(proxy: &Proxy, request: &[u8], in_flight: usize) -> Client {
    let mut client = proxy.client();
    client.send(request);
    proxy.wait_for_metrics("the request", |metrics| {
        metrics.gauge("http_in_flight_requests") == in_flight as f64
    });
    client
}

/// As many requests as `targets`, in this order; the first one has the connection.
fn sent_in_order(proxy: &Proxy, origin: &Origin, targets: &[&str]) -> Vec<Client> {
    let client = |(at, target): (usize, &&str)| {
        let client = sent(proxy, &get(target), at + 1);
        origin.wait_until("the first one", |seen| seen.requests.len() == 1);
        client
    };
    targets.iter().enumerate().map(client).collect()
}

fn targets(origin: &Origin) -> Vec<String> {
    let seen = origin.seen();
    let targets = seen.requests.iter().map(|request| request.target());
    targets.map(str::to_owned).collect()
}

#[test]
fn who_came_first_is_served_first() {
    let (origin, answer) = held_origin();
    let proxy = one_at_once(&origin).start();
    let all = ["/0", "/1", "/2", "/3", "/4"];
    let mut clients = sent_in_order(&proxy, &origin, &all);
    for _ in all {
        answer.raise();
    }
    for (client, target) in clients.iter_mut().zip(all) {
        assert_eq!(client.read_response().text(), target);
    }
    assert_eq!(targets(&origin), all);
    assert_eq!(origin.seen().accepted, 1);
    for client in &mut clients {
        answer.raise();
        assert_eq!(client.get("/kept").text(), "/kept");
    }
}

/// Those that take a task, as one with a body does, wait in the same queue.
#[test]
fn all_kinds_of_requests_wait_in_one_queue() {
    let (origin, answer) = held_origin();
    let proxy = one_at_once(&origin).start();
    let mut clients = sent_in_order(&proxy, &origin, &["/first", "/second"]);
    clients.push(sent(&proxy, &post("/third", b"with a body"), 3));
    clients.push(sent(&proxy, &get("/fourth"), 4));
    let all = ["/first", "/second", "/third", "/fourth"];
    for _ in all {
        answer.raise();
    }
    for (client, target) in clients.iter_mut().zip(all) {
        assert_eq!(client.read_response().text(), target);
    }
    assert_eq!(targets(&origin), all);
    assert_eq!(origin.seen().requests[2].body, b"with a body");
}

#[test]
fn a_client_that_sends_more_while_it_waits_is_answered_in_order() {
    let (origin, answer) = held_origin();
    let proxy = one_at_once(&origin).start();
    let mut clients = sent_in_order(&proxy, &origin, &["/0", "/1"]);
    clients[1].send([get("/2"), get("/3")].concat());
    for _ in 0..4 {
        answer.raise();
    }
    assert_eq!(clients[0].read_response().text(), "/0");
    for target in ["/1", "/2", "/3"] {
        assert_eq!(clients[1].read_response().text(), target);
    }
}

#[test]
fn waiting_too_long_for_a_connection_is_a_503() {
    let (origin, answer) = held_origin();
    let proxy = Config::to(&origin)
        .pool("max_connections = 1\nqueue_timeout = \"200ms\"")
        .start();
    let mut first = proxy.client();
    first.send(get("/first"));
    origin.wait_until("the first one", |seen| seen.requests.len() == 1);
    let mut late = proxy.client();
    for target in ["/late", "/late/again"] {
        assert_eq!(late.get(target).status(), 503);
        let record = proxy.access_record(target);
        assert_eq!(record.text("error"), "queue_timeout");
        assert!(record.number("duration_ms") >= 200.0, "{record:?}");
    }
    answer.raise();
    assert_eq!(first.read_response().text(), "/first");
    answer.raise();
    assert_eq!(late.get("/now").text(), "/now");
    assert_eq!(targets(&origin), ["/first", "/now"]);
}

#[test]
fn the_log_says_how_long_a_request_waited() {
    let (origin, answer) = held_origin();
    let proxy = one_at_once(&origin).start();
    let mut clients = sent_in_order(&proxy, &origin, &["/first", "/second"]);
    for (client, target) in clients.iter_mut().zip(["/first", "/second"]) {
        answer.raise();
        client.read_response();
        let record = proxy.access_record(target);
        let waited = record.number("queue_ms");
        assert_eq!(waited > 0.0, target == "/second", "{record:?}");
        assert!(waited <= record.number("duration_ms"), "{record:?}");
    }
}

/// Who goes away while waiting takes no connection, and the place is the next one's.
#[test]
fn a_client_that_leaves_the_queue_costs_nothing() {
    let (origin, answer) = held_origin();
    let proxy = one_at_once(&origin).start();
    let mut clients = sent_in_order(&proxy, &origin, &["/first", "/left", "/last"]);
    drop(clients.remove(1));
    let record = proxy.access_record("/left");
    assert_eq!(record.text("error"), "client_gone");
    for client in &mut clients {
        answer.raise();
        assert_eq!(client.read_response().status(), 200);
    }
    assert_eq!(targets(&origin), ["/first", "/last"]);
    assert_eq!(origin.seen().accepted, 1);
}

#[test]
fn a_routes_time_runs_while_a_request_waits() {
    let (origin, answer) = held_origin();
    let proxy = one_at_once(&origin)
        .route("path = \"/short\"\nupstream = \"app\"\ntimeout = \"200ms\"")
        .route("upstream = \"app\"")
        .start();
    let mut first = sent_in_order(&proxy, &origin, &["/first"]).remove(0);
    assert_eq!(proxy.get("/short").status(), 504);
    let mut upload = proxy.client();
    upload.send(post("/short", b"with a body"));
    assert_eq!(upload.read_response().status(), 504);
    answer.raise();
    assert_eq!(first.read_response().text(), "/first");
    assert_eq!(targets(&origin), ["/first"]);
}

#[test]
fn those_who_wait_are_told_when_the_origin_is_gone() {
    let (mut origin, answer) = held_origin();
    let proxy = one_at_once(&origin).start();
    let clients = sent_in_order(&proxy, &origin, &["/0", "/1", "/2"]);
    answer.raise();
    origin.stop();
    let statuses = clients.into_iter().map(|mut client| {
        let response = client.read_response();
        (response.status(), response.text())
    });
    let statuses: Vec<_> = statuses.collect();
    assert!(
        statuses
            .iter()
            .all(|(status, _)| [200, 502].contains(status)),
        "{statuses:?}"
    );
}

#[test]
fn those_who_wait_when_the_process_is_told_to_stop_are_served() {
    let (origin, answer) = held_origin();
    let mut proxy = one_at_once(&origin)
        .process("drain_notice = \"0s\"\ndrain_deadline = \"60s\"")
        .start();
    let mut clients = sent_in_order(&proxy, &origin, &["/0", "/1", "/2"]);
    let mut idle = proxy.client();
    idle.send("GET /nowhere HTTP/1.1\r\n");
    proxy.signal(ProcessSignal::TERM);
    for (number, client) in clients.iter_mut().enumerate() {
        answer.raise();
        let response = client.read_response();
        assert_eq!(response.text(), format!("/{number}"));
    }
    drop(idle);
    proxy.wait_exit_cleanly();
}

/// The promise is the process's, not each core's.
#[test]
fn the_cap_on_connections_holds_over_all_workers() {
    const CAP: usize = 2;
    // Counted by requests at work: of a connection's end the origin learns only afterwards.
    let (at_work, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (working, highest) = (Arc::clone(&at_work), Arc::clone(&peak));
    let answer = Signal::new();
    let answered = answer.clone();
    let origin = Origin::serving(move |_| {
        highest.fetch_max(working.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        answered.wait();
        working.fetch_sub(1, Ordering::SeqCst);
        ok("here")
    });
    let proxy = Config::to(&origin)
        .workers(2)
        .pool(&format!("max_connections = {CAP}\nqueue_timeout = \"20s\""))
        .start();
    let mut clients: Vec<_> = (0..16)
        .map(|_| {
            let mut client = proxy.client();
            client.send(get("/"));
            client
        })
        .collect();
    origin.wait_until("as many requests as allowed", |seen| {
        seen.requests.len() >= CAP
    });
    proxy.wait_for_metrics("all clients are waiting", |metrics| {
        metrics.gauge("http_in_flight_requests") == 16.0
    });
    for _ in 0..16 {
        answer.raise();
    }
    for client in &mut clients {
        assert_eq!(client.read_response().text(), "here");
    }
    let peak = peak.load(Ordering::SeqCst);
    assert!(peak <= CAP, "{peak} requests at work at once");
}

/// Far more clients than connections, each asking again at once: everyone's turn comes, and comes again. Returns how many
/// connections the origin saw.
fn crowd(workers: usize, cap: usize, requests: usize, answer: Vec<u8>) -> usize {
    const CLIENTS: usize = 32;
    let origin = Origin::answering(answer);
    let proxy = Config::to(&origin)
        .workers(workers)
        .log("access = \"off\"")
        .pool(&format!("max_connections = {cap}\nqueue_timeout = \"20s\""))
        .start();
    let answered: Arc<Vec<_>> = Arc::new((0..CLIENTS).map(|_| AtomicUsize::new(0)).collect());
    let start = Arc::new(Barrier::new(CLIENTS));
    let crowd: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (answered, start) = (Arc::clone(&answered), Arc::clone(&start));
            let mut client = proxy.client();
            std::thread::spawn(move || {
                start.wait();
                for request in 0..requests {
                    let response = client.get("/");
                    assert_eq!(response.status(), 200, "client {number}, request {request}");
                    answered[number].fetch_add(1, Ordering::SeqCst);
                }
                // How far the slowest was when this one had finished.
                let counts = answered.iter().map(|count| count.load(Ordering::SeqCst));
                counts.min().expect("there are some")
            })
        })
        .collect();
    let slowest = crowd
        .into_iter()
        .map(|client| client.join().expect("no client fails"))
        .min()
        .expect("there are some");
    assert!(
        slowest >= requests / 20,
        "{workers} workers: one client had {slowest} answers when another had {requests}"
    );
    assert_eq!(origin.seen().requests.len(), CLIENTS * requests);
    origin.seen().accepted
}

#[test]
fn a_crowd_at_a_small_cap_gets_no_503_and_nobody_starves() {
    assert_eq!(crowd(1, 4, 200, ok("here")), 4);
    crowd(2, 4, 200, ok("here"));
}

/// What there is for one worker only goes round.
#[test]
fn no_worker_starves_where_there_are_fewer_connections_than_workers() {
    crowd(2, 1, 200, ok("here"));
}

#[test]
fn a_crowd_at_an_origin_that_closes_its_connections_is_served_all_the_same() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nhere";
    crowd(1, 4, 50, answer.into());
    crowd(2, 4, 50, answer.into());
}

/// One upstream that hangs must not hold up another.
#[test]
fn a_slow_upstream_does_not_delay_another() {
    let slow = Origin::script(|connection| {
        connection.read_request();
        connection.read_to_end();
    });
    let quick = Origin::answering(ok("quick"));
    let proxy = Config::new()
        .upstream("slow", [slow.url()])
        .pool("max_connections = 4\nqueue_timeout = \"20s\"")
        .upstream("quick", [quick.url()])
        .route("path = \"/slow\"\nupstream = \"slow\"")
        .route("upstream = \"quick\"")
        .start();
    let _held: Vec<_> = (0..16)
        .map(|_| {
            let mut client = proxy.client();
            client.send(get("/slow"));
            client
        })
        .collect();
    slow.wait_until("its connections", |seen| seen.open == 4);
    let mut client = proxy.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").text(), "quick");
    }
}
