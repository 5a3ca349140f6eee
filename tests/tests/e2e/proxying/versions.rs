//! HTTP/1.0 clients, and when a client's connection stays open.

use ringway_tests::client::get;
use ringway_tests::origin::ok;
use ringway_tests::wire::{Framing, WireError, chunked};
use ringway_tests::{Config, Origin};

fn chunked_origin() -> Origin {
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    answer.extend(chunked(&[b"one ", b"two"]));
    Origin::answering(answer)
}

#[test]
fn a_client_of_http_1_0_is_closed_after_its_answer() {
    let origin = Origin::answering(ok("here"));
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    client.send("GET /old HTTP/1.0\r\n\r\n");
    assert_eq!(client.read_response().text(), "here");
    client.assert_closed();
    let request = origin.only_request();
    assert_eq!(
        request.head.start, "GET /old HTTP/1.1",
        "the proxy speaks its own version"
    );
    assert!(request.head.has("host"), "{request:?}");
}

#[test]
fn a_client_of_http_1_0_that_asks_for_it_is_kept() {
    let origin = Origin::answering(ok("here"));
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    for _ in 0..3 {
        client.send("GET / HTTP/1.0\r\nHost: site.example\r\nConnection: keep-alive\r\n\r\n");
        let response = client.read_response();
        assert!(
            response.head.lists("connection", "keep-alive"),
            "{:?}",
            response.head
        );
        assert_eq!(response.text(), "here");
    }
}

#[test]
fn a_client_of_http_1_0_gets_no_chunks() {
    let origin = chunked_origin();
    let proxy = Config::to(&origin).start();
    for connection in ["", "Connection: keep-alive\r\n"] {
        let mut client = proxy.client();
        client.send(format!(
            "GET / HTTP/1.0\r\nHost: site.example\r\n{connection}\r\n"
        ));
        let response = client.read_response();
        assert_eq!(
            (response.framing, response.text().as_str()),
            (Framing::UntilClose, "one two")
        );
        assert!(
            !response.head.lists("connection", "keep-alive"),
            "its end is the connection's"
        );
    }
}

/// A body that ends with its connection has no other sign of being cut short than a reset.
#[test]
fn an_answer_cut_short_does_not_end_cleanly_for_a_client_of_http_1_0() {
    let origin = Origin::script(|connection| {
        connection.read_request();
        let half = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        connection.send(half).expect("taken");
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    match client.try_response() {
        Ok(response) if response.status() == 502 => {}
        Ok(response) => assert!(
            matches!(response.failure, Some(WireError::Reset)),
            "{response:?}"
        ),
        Err(WireError::Reset) => {}
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn a_client_that_asks_to_close_is_closed_after_its_answer() {
    let origin = Origin::answering(ok("here"));
    let proxy = Config::to(&origin).start();
    for value in ["close", "Close", "keep-alive, close"] {
        let mut client = proxy.client();
        client.send(format!(
            "GET / HTTP/1.1\r\nHost: site.example\r\nConnection: {value}\r\n\r\n"
        ));
        let response = client.read_response();
        assert_eq!(response.text(), "here");
        assert!(response.closes(), "{value}: {:?}", response.head);
        client.assert_closed();
    }
    assert_eq!(
        origin.seen().accepted,
        1,
        "a client that closes costs no upstream connection"
    );
}

#[test]
fn what_follows_a_request_that_asks_to_close_is_not_served() {
    let origin = Origin::serving(|request| ok(request.target()));
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    let last = "GET /last HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n\r\n";
    client.send([last.as_bytes(), &get("/after")].concat());
    assert_eq!(client.read_response().text(), "/last");
    client.assert_closed();
    assert_eq!(origin.only_request().target(), "/last");
}

#[test]
fn an_absolute_target_is_the_same_as_its_path_and_host() {
    let origin = Origin::answering(ok("here"));
    let proxy = Config::to(&origin)
        .route("upstream = \"app\"\npreserve_host = true")
        .start();
    let response = proxy.ask("GET http://site.example/a?b HTTP/1.1\r\nHost: site.example\r\n\r\n");
    assert_eq!(response.text(), "here");
    let request = origin.only_request();
    assert_eq!(
        (request.target(), request.head.value("host")),
        ("/a?b", Some("site.example"))
    );
}
