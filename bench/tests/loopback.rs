//! The load generator against the origin, both in this process, over loopback.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use ringway_bench::{
    load::{self, Body, Checks, ErrorKind, Report, RequestShape, Settings, Until},
    origin::{self, Origin},
    relay,
};

fn origin(threads: usize) -> Origin {
    let listen = "127.0.0.1:0".parse().unwrap();
    Origin::start(&origin::Settings {
        listen,
        threads,
        cpus: None,
    })
    .unwrap()
}

fn settings(address: SocketAddr, path: &str) -> Settings {
    Settings {
        address,
        shape: RequestShape {
            method: "GET".into(),
            host: address.to_string(),
            paths: vec![path.into()],
            fields: Vec::new(),
            body: Body::None,
            checks: Checks {
                bytes: None,
                pattern: true,
            },
        },
        connections: 8,
        pipeline: 1,
        keep_alive: true,
        rate: None,
        until: Until::Requests(300),
        warm_up: Duration::ZERO,
        timeout: Duration::from_secs(10),
        threads: 1,
        cpus: None,
    }
}

fn run(settings: &Settings) -> Report {
    load::start(settings).unwrap().join().unwrap()
}

/// Runs against an origin and checks that each of 300 requests had `content` bytes answered.
fn check_all_answered(path: &str, content: u64, change: impl FnOnce(&mut Settings)) -> Report {
    let origin = origin(1);
    let mut settings = settings(origin.address(), path);
    settings.shape.checks.bytes = Some(content);
    change(&mut settings);
    let report = run(&settings);
    assert_eq!((report.answered, report.errors()), (300, 0), "{report}");
    assert_eq!(report.content_bytes, 300 * content);
    assert_eq!(report.latencies.len(), 300);
    report
}

/// Runs 8 requests that all fail in the same way.
fn check_all_fail(path: &str, kind: ErrorKind, change: impl FnOnce(&mut Settings)) {
    let origin = origin(1);
    let mut settings = settings(origin.address(), path);
    settings.until = Until::Requests(8);
    change(&mut settings);
    let report = run(&settings);
    assert_eq!(
        (report.answered, report.errors_of(kind), report.errors()),
        (0, 8, 8),
        "{report}"
    );
}

#[test]
fn keep_alive_answers_are_counted() {
    check_all_answered("/", 128, |_| {});
}

#[test]
fn a_connection_per_request_works() {
    check_all_answered("/", 128, |settings| settings.keep_alive = false);
}

#[test]
fn pipelined_answers_come_in_order() {
    check_all_answered("/bytes/10", 10, |settings| settings.pipeline = 16);
}

#[test]
fn large_pipelined_answers_are_whole() {
    check_all_answered("/bytes/100000", 100_000, |settings| settings.pipeline = 4);
}

#[test]
fn large_answers_nobody_looks_at_are_counted_and_told_apart() {
    check_all_answered("/bytes/100000", 100_000, |settings| {
        settings.shape.checks.pattern = false;
        settings.pipeline = 4;
    });
    check_all_answered("/bytes/1000000", 1_000_000, |settings| {
        settings.shape.checks.pattern = false;
        settings.keep_alive = false;
    });
    check_all_fail("/bytes/100000", ErrorKind::BodyMismatch, |settings| {
        settings.shape.checks.pattern = false;
        settings.shape.checks.bytes = Some(99_999);
    });
    check_all_fail("/cut/1000000", ErrorKind::EarlyClose, |settings| {
        settings.shape.checks.pattern = false;
    });
}

#[test]
fn chunked_answers_are_whole() {
    check_all_answered("/chunked/200000", 200_000, |settings| settings.pipeline = 2);
}

#[test]
fn delayed_answers_come_late() {
    let report = check_all_answered("/delay/20/5", 5, |settings| settings.connections = 100);
    assert!(report.latency(0.0) >= Duration::from_millis(19), "{report}");
}

#[test]
fn uploads_come_back_from_echo() {
    check_all_answered("/echo", 70_000, |settings| {
        settings.shape.body = Body::Sized(70_000);
    });
}

#[test]
fn chunked_uploads_come_back_from_echo() {
    check_all_answered("/echo", 70_000, |settings| {
        settings.shape.body = Body::Chunked(70_000);
    });
}

#[test]
fn pipelined_uploads_are_told_apart() {
    check_all_answered("/echo", 500, |settings| {
        settings.shape.body = Body::Chunked(500);
        settings.pipeline = 8;
    });
}

#[test]
fn head_requests_have_no_content() {
    check_all_answered("/bytes/1000", 0, |settings| {
        settings.shape.method = "HEAD".into();
    });
}

/// Has the load pass through a relay, which lives as long as this process.
fn through_relay(settings: &mut Settings) {
    let listener = relay::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let origin = std::mem::replace(&mut settings.address, listener.local_addr().unwrap());
    std::thread::spawn(move || relay::run(listener, origin));
}

#[test]
fn a_relay_passes_on_what_either_side_sends() {
    check_all_answered("/echo", 1_000_000, |settings| {
        settings.shape.body = Body::Sized(1_000_000);
        through_relay(settings);
    });
}

#[test]
fn a_relay_ends_with_either_side() {
    check_all_answered("/bytes/100000", 100_000, |settings| {
        settings.keep_alive = false;
        through_relay(settings);
    });
    check_all_fail("/cut/100000", ErrorKind::EarlyClose, through_relay);
}

#[test]
fn several_threads_share_the_work() {
    let origin = origin(2);
    let mut settings = settings(origin.address(), "/");
    settings.threads = 3;
    let report = run(&settings);
    assert_eq!((report.answered, report.errors()), (300, 0), "{report}");
}

#[test]
fn paths_are_taken_in_turn() {
    let origin = origin(1);
    let mut settings = settings(origin.address(), "/bytes/1");
    settings.shape.paths.push("/bytes/2".into());
    settings.shape.paths.push("/bytes/3".into());
    let report = run(&settings);
    assert_eq!(
        (report.answered, report.content_bytes),
        (300, 600),
        "{report}"
    );
}

#[test]
fn a_duration_ends_the_load() {
    let origin = origin(1);
    let mut settings = settings(origin.address(), "/");
    settings.until = Until::Elapsed(Duration::from_millis(200));
    settings.warm_up = Duration::from_millis(50);
    let report = run(&settings);
    assert!(report.answered > 0 && report.errors() == 0, "{report}");
}

#[test]
fn an_open_loop_sends_what_the_schedule_says() {
    let origin = origin(1);
    let mut settings = settings(origin.address(), "/");
    settings.rate = Some(1000.0);
    settings.until = Until::Elapsed(Duration::from_millis(300));
    let report = run(&settings);
    assert_eq!(
        (report.answered + report.unsent, report.errors()),
        (300, 0),
        "{report}"
    );
}

/// One connection and answers of 20 ms cannot keep up with 500 requests a second: the wait shows in the latency.
#[test]
fn an_open_loop_counts_latency_from_the_schedule() {
    let origin = origin(1);
    let mut settings = settings(origin.address(), "/delay/20/1");
    settings.connections = 1;
    settings.rate = Some(500.0);
    settings.until = Until::Elapsed(Duration::from_millis(400));
    let report = run(&settings);
    assert_eq!(report.errors(), 0, "{report}");
    assert!(report.unsent > 100 && report.missed > 0, "{report}");
    assert!(
        report.latency(100.0) > Duration::from_millis(200),
        "{report}"
    );
}

#[test]
fn refused_connections_are_connect_errors() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut settings = settings(nobody, "/");
    settings.until = Until::Requests(8);
    let report = run(&settings);
    assert_eq!(
        (report.errors_of(ErrorKind::Connect), report.errors()),
        (8, 8),
        "{report}"
    );
}

#[test]
fn a_reset_is_a_reset() {
    check_all_fail("/reset", ErrorKind::Reset, |_| {});
}

#[test]
fn an_answer_cut_short_is_an_early_close() {
    check_all_fail("/cut/1000", ErrorKind::EarlyClose, |_| {});
}

#[test]
fn no_answer_is_a_timeout() {
    check_all_fail("/hang", ErrorKind::Timeout, |settings| {
        settings.timeout = Duration::from_millis(100);
    });
}

#[test]
fn other_statuses_are_non_2xx() {
    check_all_fail("/status/503", ErrorKind::Non2xx, |_| {});
    check_all_fail("/nowhere", ErrorKind::Non2xx, |_| {});
}

#[test]
fn another_length_is_a_body_mismatch() {
    check_all_fail("/bytes/10", ErrorKind::BodyMismatch, |settings| {
        settings.shape.checks.bytes = Some(11);
    });
}

#[test]
fn other_content_is_a_body_mismatch() {
    let impostor = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = impostor.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut socket, _) = impostor.accept().unwrap();
        let _ = socket.read(&mut [0; 1000]).unwrap();
        socket
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n???")
            .unwrap();
    });
    let mut settings = settings(address, "/");
    settings.until = Until::Requests(1);
    settings.connections = 1;
    let report = run(&settings);
    served.join().unwrap();
    assert_eq!(
        (report.errors_of(ErrorKind::BodyMismatch), report.errors()),
        (1, 1),
        "{report}"
    );
}

/// An answer that says it is the last one leaves the pipelined rest to be asked for again, not failed.
#[test]
fn pipelining_survives_announced_closes() {
    let origin = origin(1);
    let mut settings = settings(origin.address(), "/");
    settings.pipeline = 4;
    settings.shape.fields.push("Connection: close".into());
    let report = run(&settings);
    assert_eq!(
        (report.answered, report.errors_of(ErrorKind::EarlyClose)),
        (300, 0),
        "{report}"
    );
}
