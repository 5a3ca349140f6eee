//! How much a client may send and hold, and how long it may take.

use std::io::Read;
use std::time::{Duration, Instant};

use ringway_tests::client::{get, post};
use ringway_tests::origin::ok;
use ringway_tests::pattern::Pattern;
use ringway_tests::signal::eventually;
use ringway_tests::wire::{WireError, chunk};
use ringway_tests::{Client, Config, Origin, PATIENCE, Proxy, Signal};

#[test]
fn a_head_at_its_limit_passes_and_beyond_it_is_refused() {
    let origin = Origin::answering(ok("here"));
    let proxy = Config::to(&origin)
        .limits("head_bytes = 2048\nfields = 10\ntarget_bytes = 256")
        .start();
    let with = |fields: usize, value: usize, target: usize| {
        let padding: String = (1..fields)
            .map(|number| format!("X-{number}: {}\r\n", "v".repeat(value)))
            .collect();
        proxy
            .ask(format!(
                "GET /{} HTTP/1.1\r\nHost: a\r\n{padding}\r\n",
                "t".repeat(target - 1)
            ))
            .status()
    };
    assert_eq!(with(10, 1, 256), 200);
    assert_eq!(with(11, 1, 1), 431);
    assert_eq!(with(2, 1900, 1), 200);
    assert_eq!(with(2, 2100, 1), 431);
    assert_eq!(with(1, 1, 257), 414);
}

#[test]
fn a_body_over_its_cap_is_refused_before_the_origin_sees_any() {
    let origin = Origin::answering(ok("here"));
    let proxy = Config::to(&origin).limits("body_bytes = 1000").start();
    assert_eq!(proxy.ask(post("/", &[b'x'; 1000])).status(), 200);
    let accepted = origin.seen();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n");
    assert_eq!(
        client.read_response().status(),
        413,
        "before a byte of the body is sent"
    );
    let now = origin.seen();
    assert_eq!(
        (now.requests.len(), now.broken_off.len(), now.accepted),
        (1, 0, accepted.accepted)
    );
}

#[test]
fn a_chunked_body_over_its_cap_is_refused_and_never_whole() {
    let origin = Origin::answering(ok("here"));
    let proxy = Config::to(&origin).limits("body_bytes = 1000").start();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send([chunk(&[b'x'; 600]), chunk(&[b'x'; 400])].concat());
    client.send_what_is_taken(chunk(b"x"));
    assert_eq!(client.read_response().status(), 413);
    client.assert_closed();
    origin.wait_until("its connection's end", |seen| seen.open == 0);
    assert!(
        origin.seen().requests.is_empty(),
        "{:?}",
        origin.seen().requests
    );
}

#[test]
fn a_route_has_its_own_cap() {
    let origin = Origin::answering(ok("here"));
    let proxy = Config::to(&origin)
        .limits("body_bytes = 100")
        .route("path = \"/large\"\nupstream = \"app\"\nbody_bytes = 1000")
        .route("path = \"/small\"\nupstream = \"app\"\nbody_bytes = 10")
        .route("path = \"/any\"\nupstream = \"app\"\nbody_bytes = 0")
        .route("upstream = \"app\"")
        .start();
    for (target, size, status) in [
        ("/large", 1000, 200),
        ("/large", 1001, 413),
        ("/small", 10, 200),
        ("/small", 11, 413),
        ("/any", 100_000, 200),
        ("/", 100, 200),
        ("/", 101, 413),
    ] {
        let mut client = proxy.client();
        client.send_what_is_taken(post(target, &vec![b'x'; size]));
        assert_eq!(
            client.read_response().status(),
            status,
            "{size} bytes to {target}"
        );
    }
}

/// A client that asks first is told before it has sent anything.
#[test]
fn an_expected_body_over_its_cap_is_refused_without_a_continue() {
    let origin = Origin::answering(ok("here"));
    let proxy = Config::to(&origin).limits("body_bytes = 1000").start();
    let mut client = proxy.client();
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n");
    assert_eq!(client.read_response().status(), 413);
    assert_eq!(origin.seen().accepted, 0);
}

/// A client that sends its whole body before it looks must still see the refusal, not a reset.
#[test]
fn a_client_that_sends_all_of_a_body_too_large_sees_the_413() {
    let origin = Origin::answering(ok("here"));
    let proxy = Config::to(&origin).limits("body_bytes = 1000").start();
    let mut client = proxy.client();
    client.send_what_is_taken(post("/", &vec![b'x'; 1024 * 1024]));
    assert_eq!(client.read_response().status(), 413);
}

#[test]
fn a_head_that_does_not_end_is_a_408() {
    let origin = Origin::answering(ok(""));
    let proxy = Config::to(&origin)
        .timeouts("request_head = \"300ms\"")
        .start();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost:");
    assert_eq!(client.read_response().status(), 408);
    client.assert_closed();
}

/// Reads for a moment: what has come by then. The pace of a slow client, not a way to wait for anything.
fn pause(client: &mut Client, moment: Duration) -> Option<Vec<u8>> {
    let mut stream = client.sender();
    stream
        .set_read_timeout(Some(moment))
        .expect("the moment is not zero");
    let mut bytes = [0; 4096];
    let outcome = stream.read(&mut bytes);
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("the timeout is not zero");
    match outcome {
        Ok(read) => Some(bytes[..read].to_vec()),
        Err(error) => match WireError::from(error) {
            WireError::TimedOut => None,
            _ => Some(Vec::new()),
        },
    }
}

/// Slowloris: every byte is in time, the head is not.
#[test]
fn a_head_that_trickles_is_a_408() {
    let origin = Origin::answering(ok(""));
    let proxy = Config::to(&origin)
        .timeouts("request_head = \"500ms\"")
        .start();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    let deadline = Instant::now() + PATIENCE;
    let answer = loop {
        assert!(
            Instant::now() < deadline,
            "a trickling head was never refused"
        );
        client.send_what_is_taken("x");
        if let Some(answer) = pause(&mut client, Duration::from_millis(50)) {
            break answer;
        }
    };
    assert!(
        answer.starts_with(b"HTTP/1.1 408 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert_eq!(origin.seen().accepted, 0);
}

#[test]
fn a_connection_that_never_asks_is_closed() {
    let origin = Origin::answering(ok(""));
    let proxy = Config::to(&origin)
        .timeouts("request_head = \"200ms\"\nkeep_alive = \"200ms\"")
        .start();
    let mut client = proxy.client();
    let answer = client.wire().read_to_end().expect("a clean end");
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 408 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert_eq!(proxy.get("/").status(), 200);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let origin = Origin::answering(ok(""));
    let proxy = Config::to(&origin)
        .timeouts("keep_alive = \"200ms\"")
        .start();
    let mut client = proxy.client();
    assert_eq!(client.get("/").status(), 200);
    assert_eq!(client.wire().read_to_end().expect("a clean end"), b"");
}

/// Twenty times the idle time that these tests set, and less than the ten seconds over which rates are measured.
const IDLE_IS_NOTICED: Duration = Duration::from_secs(6);

#[test]
fn a_body_that_stops_coming_is_given_up() {
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let origin = Origin::answering(ok(""));
        let proxy = Config::to(&origin)
            .timeouts("body_idle = \"300ms\"")
            .start();
        let begun = Instant::now();
        let mut client = proxy.client();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n5\r\n"
        ));
        match client.try_response() {
            Ok(response) => assert_eq!(response.status(), 408, "{framing}"),
            Err(WireError::Closed | WireError::Reset) => {}
            Err(failure) => panic!("{framing}: {failure}"),
        }
        client.assert_closed();
        let seen = origin.wait_until("its connection's end", |seen| seen.open == 0);
        assert!(seen.requests.is_empty(), "{framing}: {:?}", seen.requests);
        assert!(begun.elapsed() < IDLE_IS_NOTICED, "{framing}");
    }
}

#[test]
fn a_client_that_stops_reading_is_closed_and_its_origin_with_it() {
    let origin = Origin::script(|connection| {
        connection.read_request();
        connection.send("HTTP/1.1 200 OK\r\n\r\n").expect("taken");
        let pattern = Pattern::new();
        let mut sent = 0_u64;
        while connection.send(pattern.from(sent, u64::MAX)).is_ok() {
            sent += pattern.from(sent, u64::MAX).len() as u64;
        }
    });
    let proxy = Config::to(&origin)
        .timeouts("body_idle = \"300ms\"")
        .start();
    let begun = Instant::now();
    let mut client = proxy.client();
    client.send(get("/"));
    client.read_head();
    origin.wait_until("the end of what nobody reads", |seen| {
        seen.accepted == 1 && seen.open == 0
    });
    assert!(begun.elapsed() < IDLE_IS_NOTICED);
    let rest = client.wire().read_to_end();
    assert!(
        !rest.is_ok_and(|bytes| bytes.ends_with(b"\r\n0\r\n\r\n")),
        "the answer must not look whole"
    );
}

/// The origin's time to answer starts when it has the request.
#[test]
fn an_upload_may_take_longer_than_the_origin_may() {
    let origin = Origin::serving(|request| ok(&request.body));
    let proxy = Config::to(&origin)
        .pool("response_head_timeout = \"300ms\"")
        .start();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n");
    for _ in 0..6 {
        let early = pause(&mut client, Duration::from_millis(150));
        assert_eq!(early, None, "the upload goes on");
        client.send("x");
    }
    assert_eq!(client.read_response().text(), "xxxxxx");
}

/// Every byte is in time, the rate is not. Measured over ten seconds, so this is the slowest test there is.
#[test]
fn a_body_that_drips_below_the_rate_is_given_up() {
    let origin = Origin::answering(ok(""));
    let proxy = Config::to(&origin)
        .timeouts("body_idle = \"15s\"\nmin_rate_bytes_per_second = 1000")
        .start();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    let deadline = Instant::now() + 2 * PATIENCE;
    while pause(&mut client, Duration::from_millis(100)).is_none() {
        assert!(
            Instant::now() < deadline,
            "a dripping body was never given up"
        );
        client.send_what_is_taken("x");
    }
    let seen = origin.wait_until("its connection's end", |seen| seen.open == 0);
    assert!(seen.requests.is_empty(), "{:?}", seen.requests);
}

/// Whether a connection beyond the cap is turned away or left waiting; a test is content with either.
fn is_turned_away(proxy: &Proxy) -> bool {
    let Ok(mut client) = Client::try_connect(proxy.addr()) else {
        return true;
    };
    client.send_what_is_taken(get("/"));
    match pause(&mut client, Duration::from_millis(300)) {
        None => true,
        Some(answer) => answer.is_empty() || answer.starts_with(b"HTTP/1.1 503 "),
    }
}

fn caps_connections(line: &str, workers: usize) {
    let origin = Origin::answering(ok("here"));
    let proxy = Config::to(&origin).workers(workers).listener(line).start();
    let mut served: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    for client in &mut served {
        assert_eq!(client.get("/").text(), "here");
    }
    for _ in 0..5 {
        assert!(
            is_turned_away(&proxy),
            "a connection beyond the cap was served"
        );
    }
    for client in &mut served {
        assert_eq!(
            client.get("/").text(),
            "here",
            "those within the cap are not touched"
        );
    }
    drop(served);
    eventually("room for another connection", || {
        let mut client = Client::try_connect(proxy.addr()).ok()?;
        client.send_what_is_taken(get("/"));
        client
            .try_response()
            .ok()
            .filter(|response| response.text() == "here")
    });
}

#[test]
fn connections_beyond_the_cap_are_not_served_until_others_close() {
    caps_connections("max_connections = 3", 1);
}

#[test]
fn the_cap_on_clients_holds_over_all_workers() {
    caps_connections("max_connections = 3", 2);
}

#[test]
fn connections_of_one_address_are_capped() {
    caps_connections("max_connections_per_ip = 3", 2);
}

#[test]
fn tunnels_count_as_connections() {
    let ended = Signal::new();
    let end = ended.clone();
    let origin = Origin::script(move |connection| {
        if connection.read_head().is_some() {
            let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            connection.send(switching).expect("taken");
            end.wait();
        }
    });
    let proxy = Config::to(&origin).listener("max_connections = 1").start();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert!(client.read_head().start.starts_with("HTTP/1.1 101 "));
    assert!(
        is_turned_away(&proxy),
        "a connection beside a tunnel was served"
    );
    ended.raise();
    client.assert_closed();
}

#[test]
fn a_connection_is_closed_after_its_requests() {
    let origin = Origin::serving(|request| ok(request.target()));
    let proxy = Config::to(&origin)
        .limits("requests_per_connection = 3")
        .start();
    let mut client = proxy.client();
    client.send(
        (0..4)
            .flat_map(|number| get(&format!("/{number}")))
            .collect::<Vec<_>>(),
    );
    for number in 0..3 {
        let response = client.read_response();
        assert_eq!(response.text(), format!("/{number}"));
        assert_eq!(response.closes(), number == 2);
    }
    client.assert_closed();
    assert_eq!(origin.seen().requests.len(), 3);
}

/// One answer that nobody reads any further must not cost the worker its time, and must come whole later.
#[test]
fn a_download_that_stalls_stops_no_other_client_and_burns_no_cpu() {
    // More than the kernel takes for a client that does not read: tcp_wmem ends at 4 MiB.
    const BYTES: usize = 9_000_000;
    let origin = Origin::serving(|request| match request.target() {
        "/large" => ok(vec![b'z'; BYTES]),
        _ => ok("here"),
    });
    let proxy = Config::to(&origin).timeouts("body_idle = \"60s\"").start();
    let mut stalled = proxy.client();
    stalled.send(get("/large"));
    stalled.read_head();
    let mut beside = proxy.client();
    for number in 0..20 {
        assert_eq!(beside.get("/").text(), "here", "request {number} beside it");
    }
    let before = proxy.cpu_time();
    let early = pause(&mut beside, Duration::from_secs(1));
    assert_eq!(early, None, "nothing was asked for");
    let used = proxy.cpu_time() - before;
    assert!(
        used < Duration::from_millis(150),
        "{used:?} of processor time in a second in which nothing could happen"
    );
    assert_eq!(beside.get("/").text(), "here");
    let body = stalled.wire().read_exactly(BYTES).expect("all of it comes");
    assert!(body.iter().all(|&byte| byte == b'z'), "another's bytes");
    assert_eq!(stalled.get("/").text(), "here");
}

/// Whoever has begun a head and not ended it holds no buffer that another needs.
#[test]
fn many_heads_that_do_not_end_stop_no_other_client() {
    const HELD: usize = 300;
    let origin = Origin::answering(ok("here"));
    // So long that no head is given up within this test's patience.
    let proxy = Config::to(&origin)
        .timeouts("request_head = \"120s\"")
        .start();
    let mut held: Vec<_> = (0..HELD)
        .map(|_| {
            let mut client = proxy.client();
            client.send("G");
            client
        })
        .collect();
    proxy.wait_for_metrics("every one is connected", |metrics| {
        metrics.gauge("http_open_connections") == HELD as f64
    });
    for number in 0..20 {
        assert_eq!(
            proxy.get("/").text(),
            "here",
            "request {number} beside them"
        );
    }
    for client in &mut held {
        client.send(&get("/")[1..]);
        assert_eq!(client.read_response().text(), "here");
    }
}
