//! What an operator sees: health, metrics, the access log. None of it ever costs a request.

use ringway_tests::client::{Client, get, post};
use ringway_tests::log::{Record, Value};
use ringway_tests::origin::{ReservedPort, ok};
use ringway_tests::proxy::Scratch;
use ringway_tests::signal::eventually;
use ringway_tests::{Config, Origin, Proxy, Signal};

#[test]
fn health_and_readiness_answer_200() {
    let origin = Origin::answering(ok(""));
    let proxy = Config::to(&origin).start();
    assert_eq!(proxy.admin("/healthz").status(), 200);
    assert_eq!(proxy.admin("/readyz").status(), 200);
    assert_eq!(proxy.admin("/other").status(), 404);
}

#[test]
fn the_admin_listener_serves_nobodys_route() {
    let origin = Origin::answering(ok(""));
    let proxy = Config::to(&origin).start();
    assert_eq!(proxy.get("/metrics").status(), 200);
    assert_eq!(
        origin.only_request().target(),
        "/metrics",
        "clients' paths are the origin's"
    );
}

#[test]
fn a_bent_request_to_the_admin_listener_harms_nobody() {
    let origin = Origin::answering(ok("here"));
    let proxy = Config::to(&origin).start();
    for bytes in [
        &b"\xff\xfe\x00\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET /metrics HTTP/1.1\nHost: a\n\n",
        b"",
    ] {
        let mut client = Client::connect(proxy.admin_addr());
        client.send(bytes);
        client.finish_sending();
        // Whatever it answers; it must end.
        let _ = client.wire().read_to_end();
    }
    assert_eq!(proxy.admin("/healthz").status(), 200);
    assert_eq!(proxy.get("/").text(), "here");
}

#[test]
fn the_five_metrics_say_what_happened() {
    let held = Signal::new();
    let hold = held.clone();
    let answer = Signal::new();
    let answered = answer.clone();
    let origin = Origin::serving(move |request| {
        if request.target() == "/users/held" {
            hold.raise();
            answered.wait();
        }
        ok("12345")
    });
    let proxy = Config::to(&origin)
        .route("path = \"/users/{id}\"\nupstream = \"app\"")
        .route("path = \"/static/{*rest}\"\nrespond = { status = 404, body = \"no\" }")
        .start();
    let mut client = proxy.client();
    for id in 0..7 {
        assert_eq!(client.get(&format!("/users/{id}")).status(), 200);
    }
    client.send(post("/users/new", b"x"));
    assert_eq!(client.read_response().status(), 200);
    assert_eq!(client.get("/static/a/b").status(), 404);
    client.send("BREW /users/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response().status(), 200);
    client.send(get("/users/held"));
    held.wait();
    let metrics = proxy.wait_for_metrics("ten requests", |metrics| {
        metrics.sum("http_requests_total", &[]) == 10.0
    });
    let user = "path=\"/users/{id}\"";
    let requests = |labels: &[&str]| metrics.sum("http_requests_total", labels);
    assert_eq!(requests(&["method=\"GET\"", user, "status=\"200\""]), 7.0);
    assert_eq!(requests(&["method=\"POST\"", user, "status=\"200\""]), 1.0);
    assert_eq!(
        requests(&["method=\"other\"", user, "status=\"200\""]),
        1.0,
        "methods that clients invent are one"
    );
    assert_eq!(
        requests(&["path=\"/static/{*rest}\"", "status=\"404\""]),
        1.0
    );
    let sized = |name: &str| metrics.sum(name, &["method=\"GET\"", user]);
    assert_eq!(sized("http_request_duration_seconds_count"), 7.0);
    assert_eq!(sized("http_response_size_bytes_count"), 7.0);
    assert_eq!(sized("http_response_size_bytes_sum"), 35.0);
    assert!(sized("http_request_duration_seconds_sum") > 0.0);
    let at_most = metrics.sum(
        "http_request_duration_seconds_bucket",
        &["method=\"GET\"", user, "le=\"+Inf\""],
    );
    assert_eq!(at_most, 7.0);
    assert_eq!(metrics.gauge("http_in_flight_requests"), 1.0);
    assert_eq!(metrics.gauge("http_open_connections"), 1.0);
    for (name, kind) in [
        ("http_requests_total", "counter"),
        ("http_request_duration_seconds", "histogram"),
        ("http_response_size_bytes", "histogram"),
        ("http_in_flight_requests", "gauge"),
        ("http_open_connections", "gauge"),
    ] {
        assert_eq!(metrics.kind(name), Some(kind), "{name}");
    }
    answer.raise();
    assert_eq!(client.read_response().status(), 200);
    drop(client);
    let metrics = proxy.wait_for_metrics("nobody there", |metrics| {
        metrics.gauge("http_open_connections") == 0.0
    });
    assert_eq!(metrics.gauge("http_in_flight_requests"), 0.0);
}

#[test]
fn counters_of_all_workers_are_one_sum() {
    let origin = Origin::answering(ok(""));
    let proxy = Config::to(&origin).workers(2).start();
    for _ in 0..64 {
        assert_eq!(proxy.get("/").status(), 200);
    }
    proxy.wait_for_metrics("64 requests", |metrics| {
        metrics.sum("http_requests_total", &[]) == 64.0
    });
    proxy.wait_until_idle();
}

/// Whoever asks for random things must not fill the memory of whoever keeps the metrics.
#[test]
fn traffic_adds_no_series() {
    let origin = Origin::answering(ok(""));
    let proxy = Config::to(&origin)
        .route("path = \"/users/{id}\"\nupstream = \"app\"")
        .route("path = \"/gone/{*rest}\"\nrespond = { status = 404 }")
        .start();
    let round = |salt: usize| {
        let mut client = proxy.client();
        for number in 0..1000 {
            let id = number * 7919 + salt;
            let target = match number % 3 {
                0 => format!("/users/{id}"),
                1 => format!("/gone/{id}/x"),
                _ => format!("/{id}"),
            };
            let method = if number % 10 == 9 {
                format!("M{id}")
            } else {
                "GET".into()
            };
            client.send(format!("{method} {target}?{id} HTTP/1.1\r\nHost: h{id}.example\r\nUser-Agent: u{id}\r\n\r\n"));
            client.read_response();
        }
        let total = proxy.metrics().sum("http_requests_total", &[]);
        proxy.wait_for_metrics("every request counted", |metrics| {
            metrics.sum("http_requests_total", &[]) >= total.max(1000.0)
        })
    };
    let before = round(1);
    let after = round(1_000_003);
    let new: Vec<_> = after
        .series()
        .filter(|series| !before.series().any(|old| old == *series))
        .collect();
    assert_eq!(after.series_count(), before.series_count(), "{new:?}");
    assert!(
        after.series_count() < 500,
        "{} series",
        after.series_count()
    );
}

const MEMBERS: [&str; 23] = [
    "time",
    "method",
    "path",
    "status",
    "bytes",
    "duration_ms",
    "remote",
    "ua",
    "request_id",
    "route",
    "upstream",
    "endpoint",
    "attempts",
    "protocol",
    "tls",
    "reused",
    "dns_ms",
    "connect_ms",
    "tls_ms",
    "queue_ms",
    "head_sent_ms",
    "first_byte_ms",
    "error",
];

#[test]
fn a_line_of_the_access_log_has_these_members_in_this_order() {
    let origin = Origin::answering(ok("12345"));
    let proxy = Config::to(&origin)
        .route("name = \"users\"\npath = \"/users/{id}\"\nupstream = \"app\"")
        .start();
    let mut client = proxy.client();
    client.send(
        "GET /users/7?token=secret HTTP/1.1\r\nHost: a\r\nUser-Agent: tests/1\r\nCookie: c=secret\r\n\
         Authorization: Bearer secret\r\n\r\n",
    );
    client.read_response();
    client.get("/users/8");
    let record = proxy.access_record("/users/7");
    let names: Vec<_> = record
        .members
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, MEMBERS);
    assert_eq!(record.text("method"), "GET");
    assert_eq!(record.number("status"), 200.0);
    assert_eq!(record.number("bytes"), 5.0);
    assert!(record.number("duration_ms") > 0.0);
    assert!(
        record.text("remote").starts_with("127.0.0.1"),
        "{}",
        record.text("remote")
    );
    assert_eq!(record.text("ua"), "tests/1");
    assert_eq!(record.text("route"), "users");
    assert_eq!(record.text("upstream"), "app");
    assert!(
        record.text("endpoint").contains(&origin.addr().to_string()),
        "{}",
        record.text("endpoint")
    );
    assert_eq!(record.number("attempts"), 1.0);
    assert_eq!(record.text("protocol"), "HTTP/1.1");
    assert_eq!(record.member("tls"), &Value::Null);
    assert_eq!(record.member("reused"), &Value::Bool(false));
    assert_eq!(record.member("error"), &Value::Null);
    let next = proxy.access_record("/users/8");
    assert_eq!(next.member("reused"), &Value::Bool(true));
    assert_eq!(next.member("ua"), &Value::Null);
    assert!(!next.text("request_id").is_empty());
    assert_ne!(record.text("request_id"), next.text("request_id"));
    let time = record.text("time");
    assert!(
        time.len() >= 20 && time.as_bytes()[10] == b'T' && time.ends_with('Z'),
        "{time}"
    );
    assert!(
        !proxy.stdout().all().concat().contains("secret"),
        "no query, cookie or credential"
    );
}

#[test]
fn a_line_holds_no_control_character_and_ends_where_it_should() {
    let origin = Origin::answering(ok(""));
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    client.send(b"GET /odd%22 HTTP/1.1\r\nHost: a\r\nUser-Agent: a\"b\\c\td\x9be\xc2\x9bf\r\n\r\n");
    client.read_response();
    client.get("/next");
    proxy.access_record("/next");
    let lines = proxy.stdout().all();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let odd = Record::read(&lines[0]).expect("JSON without raw control characters");
    assert!(
        odd.text("ua").starts_with("a\"b\\c\td"),
        "{}",
        odd.text("ua")
    );
}

fn record_of(proxy: &Proxy, status: f64) -> Record {
    let found = proxy.access_records(&format!("a line of {status}"), 1, |record| {
        record.number("status") == status
    });
    found.into_iter().next().expect("one")
}

#[test]
fn an_abort_gets_a_line_of_499() {
    let origin = Origin::script(|connection| {
        connection.read_request();
        connection.read_to_end();
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    client.send(get("/left"));
    origin.wait_until("the request", |seen| seen.requests.len() == 1);
    drop(client);
    let record = record_of(&proxy, 499.0);
    assert_eq!(record.text("path"), "/left");
    assert!(
        matches!(record.member("error"), Value::Text(_)),
        "{record:?}"
    );
}

#[test]
fn refusals_and_failures_get_lines_that_name_their_cause() {
    let port = ReservedPort::new();
    let proxy = Config::to_url(port.url())
        .timeouts("request_head = \"200ms\"")
        .route("path = \"/down\"\nupstream = \"app\"")
        .start();
    let mut bent = proxy.client();
    bent.send("GET / HTTP/1.1\r\nHost : a\r\n\r\n");
    assert_eq!(bent.read_response().status(), 400);
    let mut late = proxy.client();
    late.send("GET /late HTTP/1.1\r\n");
    assert_eq!(late.read_response().status(), 408);
    assert_eq!(proxy.get("/down").status(), 502);
    for status in [400.0, 408.0, 502.0] {
        let record = record_of(&proxy, status);
        assert!(
            matches!(record.member("error"), Value::Text(_)),
            "{record:?}"
        );
    }
    assert_eq!(proxy.get("/nowhere").status(), 404);
    record_of(&proxy, 404.0);
}

#[test]
fn the_access_log_goes_to_a_file_or_nowhere() {
    let origin = Origin::answering(ok(""));
    let scratch = Scratch::new();
    let file = scratch.path().join("access.log");
    let proxy = Config::to(&origin)
        .log(&format!("access = \"{}\"", file.display()))
        .start();
    proxy.get("/to-a-file");
    let line = eventually("a line in the file", || {
        proxy.metrics();
        std::fs::read_to_string(&file)
            .ok()
            .filter(|text| text.ends_with('\n'))
    });
    assert_eq!(
        Record::read(line.trim_end()).expect("JSON").text("path"),
        "/to-a-file"
    );
    assert!(proxy.stdout().all().is_empty());
    let proxy = Config::to(&origin).log("access = \"off\"").start();
    assert_eq!(proxy.get("/to-nowhere").status(), 200);
    assert!(proxy.stdout().all().is_empty());
}

#[test]
fn the_access_log_can_be_plain_text() {
    let origin = Origin::answering(ok("12345"));
    let proxy = Config::to(&origin)
        .log("access = \"stdout\"\nformat = \"text\"")
        .start();
    proxy.get("/plain?secret");
    let line = proxy
        .stdout()
        .wait_for("a line", |lines| lines.first().cloned());
    assert!(line.starts_with("127.0.0.1"), "{line}");
    assert!(line.contains("\"GET /plain HTTP/1.1\" 200 5"), "{line}");
    assert!(!line.contains("secret"), "{line}");
}

/// Whoever connects to the admin listener and says nothing must not keep others from it.
#[test]
fn silent_clients_of_the_admin_listener_delay_nobody() {
    let origin = Origin::answering(ok("here"));
    let proxy = Config::to(&origin).start();
    let mut silent: Vec<_> = (0..20)
        .map(|_| Client::connect(proxy.admin_addr()))
        .collect();
    for client in &mut silent[..10] {
        client.send("GET /metr");
    }
    assert_eq!(proxy.admin("/healthz").status(), 200);
    assert_eq!(proxy.admin("/metrics").status(), 200);
    assert_eq!(proxy.get("/").text(), "here");
}

/// Asks until the log has lost lines; every request must be answered.
fn ask_until_lines_are_lost(proxy: &Proxy) {
    let mut client = proxy.client();
    let target = format!("/{}", "x".repeat(2000));
    eventually("a lost line is counted", || {
        client.send((0..200).flat_map(|_| get(&target)).collect::<Vec<_>>());
        for _ in 0..200 {
            assert_eq!(client.read_response().text(), "here");
        }
        (proxy.metrics().gauge("ringway_access_log_dropped_total") > 0.0).then_some(())
    });
}

fn answering_itself() -> Config {
    Config::new().route("respond = { status = 200, body = \"here\" }")
}

#[test]
fn a_full_disk_costs_lines_and_no_request() {
    let proxy = answering_itself().log("access = \"/dev/full\"").start();
    ask_until_lines_are_lost(&proxy);
    assert_eq!(proxy.get("/").text(), "here");
}

#[test]
fn a_reader_that_never_reads_the_log_costs_lines_and_no_request() {
    let config = answering_itself().process("drain_notice = \"0s\"\ndrain_deadline = \"1s\"");
    let mut proxy = Proxy::start_with_stuck_stdout(&config.text());
    ask_until_lines_are_lost(&proxy);
    assert_eq!(proxy.get("/").text(), "here");
    proxy.signal(rustix::process::Signal::TERM);
    proxy.wait_exit_cleanly();
}

#[test]
fn a_reader_of_the_log_that_goes_away_costs_lines_and_no_request() {
    let mut proxy = Proxy::start_with_stuck_stdout(&answering_itself().text());
    assert_eq!(proxy.get("/").text(), "here");
    proxy.close_stuck_stdout();
    ask_until_lines_are_lost(&proxy);
    assert_eq!(proxy.get("/").text(), "here");
    assert!(proxy.runs());
}
