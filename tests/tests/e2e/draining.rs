//! Signals: an announced end in which nothing is lost, and a bounded one.

use ringway_tests::client::get;
use ringway_tests::origin::ok;
use ringway_tests::signal::eventually;
use ringway_tests::wire::WireError;
use ringway_tests::{Client, Config, Origin, Proxy, Signal};
use rustix::process::Signal as ProcessSignal;

/// An origin that answers when told to, and says when it was asked.
fn held_origin() -> (Origin, Signal, Signal) {
    let (asked, answer) = (Signal::new(), Signal::new());
    let (raise, wait) = (asked.clone(), answer.clone());
    let origin = Origin::serving(move |request| {
        if request.target() == "/held" {
            raise.raise();
            wait.wait();
        }
        ok(request.target())
    });
    (origin, asked, answer)
}

fn held_client(proxy: &Proxy, asked: &Signal) -> Client {
    let mut client = proxy.client();
    client.send(get("/held"));
    asked.wait();
    client
}

fn wait_until_unready(proxy: &Proxy) {
    eventually("/readyz answers 503", || {
        (proxy.admin("/readyz").status() == 503).then_some(())
    });
}

#[test]
fn during_the_notice_new_clients_are_served_and_readiness_is_off() {
    let (origin, ..) = held_origin();
    let proxy = Config::to(&origin)
        .process("drain_notice = \"60s\"\ndrain_deadline = \"60s\"")
        .start();
    let mut before = proxy.client();
    assert_eq!(before.get("/before").text(), "/before");
    proxy.signal(ProcessSignal::TERM);
    wait_until_unready(&proxy);
    for number in 0..10 {
        let target = format!("/{number}");
        assert_eq!(proxy.get(&target).text(), target, "a new connection");
        assert_eq!(before.get(&target).text(), target, "one from before");
    }
    assert_eq!(proxy.admin("/healthz").status(), 200);
    assert_eq!(proxy.admin("/readyz").status(), 503);
}

#[test]
fn requests_in_flight_finish_and_the_process_exits_with_0() {
    for signal in [ProcessSignal::TERM, ProcessSignal::INT] {
        let (origin, asked, answer) = held_origin();
        let mut proxy = Config::to(&origin)
            .process("drain_notice = \"0s\"\ndrain_deadline = \"60s\"")
            .start();
        let mut idle = proxy.client();
        assert_eq!(idle.get("/before").text(), "/before");
        let mut clients: Vec<_> = (0..3).map(|_| held_client(&proxy, &asked)).collect();
        proxy.signal(signal);
        wait_until_unready(&proxy);
        idle.assert_closed();
        assert!(proxy.runs(), "three requests are in flight");
        for _ in &clients {
            answer.raise();
        }
        for client in &mut clients {
            let response = client.read_response();
            assert_eq!(response.text(), "/held");
            assert!(
                response.closes(),
                "the last answer says so: {:?}",
                response.head
            );
            client.assert_closed();
        }
        proxy.wait_exit_cleanly();
    }
}

#[test]
fn after_the_notice_nobody_new_is_served() {
    let (origin, asked, answer) = held_origin();
    let mut proxy = Config::to(&origin)
        .process("drain_notice = \"0s\"\ndrain_deadline = \"60s\"")
        .start();
    let mut client = held_client(&proxy, &asked);
    proxy.signal(ProcessSignal::TERM);
    eventually("connecting is refused", || {
        match Client::try_connect(proxy.addr()) {
            Err(_) => Some(()),
            Ok(mut late) => {
                // Accepted in time or closed unserved: it must end, and not hang.
                late.send_what_is_taken(get("/late"));
                match late.try_response() {
                    Ok(response) => assert_eq!(response.text(), "/late"),
                    Err(WireError::Closed | WireError::Reset) => {}
                    Err(failure) => panic!("{failure}"),
                }
                None
            }
        }
    });
    answer.raise();
    assert_eq!(client.read_response().text(), "/held");
    proxy.wait_exit_cleanly();
}

/// Who connected in time has been promised an answer, whether its request is on its way or half here.
#[test]
fn a_client_that_connected_before_the_signal_gets_its_first_request_answered() {
    let (origin, ..) = held_origin();
    let mut proxy = Config::to(&origin)
        .process("drain_notice = \"0s\"\ndrain_deadline = \"60s\"")
        .timeouts("request_head = \"60s\"")
        .start();
    let mut idle = proxy.client();
    assert_eq!(idle.get("/before").text(), "/before");
    let mut fresh = proxy.client();
    let mut partial = proxy.client();
    partial.send("GE");
    proxy.wait_for_metrics("all three are connected", |metrics| {
        metrics.gauge("http_open_connections") == 3.0
    });
    proxy.signal(ProcessSignal::TERM);
    // Its end shows that the worker drains.
    idle.assert_closed();
    fresh.send(get("/fresh"));
    partial.send(&get("/partial")[2..]);
    for (client, target) in [(&mut fresh, "/fresh"), (&mut partial, "/partial")] {
        let response = client.read_response();
        assert_eq!(response.text(), target);
        assert!(response.closes(), "{:?}", response.head);
        client.assert_closed();
    }
    proxy.wait_exit_cleanly();
}

#[test]
fn a_download_in_progress_finishes() {
    let (started, go_on) = (Signal::new(), Signal::new());
    let (raise, wait) = (started.clone(), go_on.clone());
    let origin = Origin::script(move |connection| {
        connection.read_request();
        connection
            .send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            .expect("taken");
        raise.raise();
        wait.wait();
        connection.send("world").expect("taken");
        connection.read_to_end();
    });
    let mut proxy = Config::to(&origin)
        .process("drain_notice = \"0s\"\ndrain_deadline = \"60s\"")
        .start();
    let mut client = proxy.client();
    client.send(get("/"));
    started.wait();
    client.read_head();
    proxy.signal(ProcessSignal::TERM);
    wait_until_unready(&proxy);
    go_on.raise();
    assert_eq!(
        client.wire().read_exactly(10).expect("all of it"),
        b"helloworld"
    );
    client.assert_closed();
    proxy.wait_exit_cleanly();
}

#[test]
fn the_deadline_ends_what_hangs() {
    let (origin, asked, answer) = held_origin();
    let mut proxy = Config::to(&origin)
        .process("drain_notice = \"0s\"\ndrain_deadline = \"300ms\"")
        .start();
    let mut client = held_client(&proxy, &asked);
    proxy.signal(ProcessSignal::TERM);
    proxy.wait_exit_cleanly();
    match client.try_response() {
        Err(WireError::Closed | WireError::Reset) => {}
        Ok(response) => assert!([502, 503, 504].contains(&response.status()), "{response:?}"),
        Err(failure) => panic!("{failure}"),
    }
    answer.raise();
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (origin, asked, answer) = held_origin();
    let mut proxy = Config::to(&origin)
        .process("drain_notice = \"60s\"\ndrain_deadline = \"60s\"")
        .start();
    let mut client = held_client(&proxy, &asked);
    proxy.signal(ProcessSignal::TERM);
    wait_until_unready(&proxy);
    proxy.signal(ProcessSignal::TERM);
    proxy.wait_exit();
    assert!(client.try_response().is_err());
    answer.raise();
}

#[test]
fn nothing_connected_means_nothing_to_wait_for() {
    let (origin, ..) = held_origin();
    let mut proxy = Config::to(&origin)
        .process("drain_notice = \"0s\"\ndrain_deadline = \"60s\"")
        .start();
    assert_eq!(proxy.get("/").status(), 200);
    proxy.signal(ProcessSignal::TERM);
    proxy.wait_exit_cleanly();
}

#[test]
fn the_log_has_every_line_when_the_process_has_exited() {
    let (origin, ..) = held_origin();
    let mut proxy = Config::to(&origin).process("drain_notice = \"0s\"").start();
    let mut client = proxy.client();
    for number in 0..50 {
        client.get(&format!("/{number}"));
    }
    drop(client);
    proxy.signal(ProcessSignal::TERM);
    proxy.wait_exit_cleanly();
    proxy.stdout().wait_for_end();
    assert_eq!(proxy.stdout().all().len(), 50);
}
