//! Interim responses and `Expect: 100-continue`, end to end.

use ringway_tests::client::get;
use ringway_tests::origin::ok;
use ringway_tests::{Config, Origin, Signal};

const EXPECTING: &str =
    "POST / HTTP/1.1\r\nHost: site.example\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";

#[test]
fn a_client_sees_the_origins_continue_and_only_then_sends_its_body() {
    let origin = Origin::script(|connection| {
        let head = connection.read_head().expect("a request");
        assert_eq!(head.value("expect"), Some("100-continue"));
        connection
            .send("HTTP/1.1 100 Continue\r\n\r\n")
            .expect("taken");
        let request = connection.read_body(head).expect("the body");
        connection.send(ok(request.body)).expect("taken");
        connection.read_to_end();
    });
    let proxy = Config::to(&origin)
        .pool("expect_continue_timeout = \"20s\"")
        .start();
    let mut client = proxy.client();
    client.send(EXPECTING);
    assert_eq!(client.read_response().status(), 100);
    client.send("body");
    assert_eq!(client.read_response().text(), "body");
}

#[test]
fn a_client_sees_a_refusal_without_having_been_told_to_continue() {
    let origin = Origin::script(|connection| {
        connection.read_head().expect("a request");
        connection
            .send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno")
            .expect("taken");
        assert_eq!(connection.read_to_end(), b"", "no body was asked for");
    });
    let proxy = Config::to(&origin)
        .pool("expect_continue_timeout = \"20s\"")
        .start();
    let mut client = proxy.client();
    client.send(EXPECTING);
    let response = client.read_response();
    assert_eq!((response.status(), response.text().as_str()), (417, "no"));
}

/// RFC 9110 §10.1.1: a client need not wait for ever, and neither does the proxy.
#[test]
fn a_body_that_comes_without_waiting_reaches_an_origin_that_never_says_continue() {
    let origin = Origin::serving(|request| ok(&request.body));
    let proxy = Config::to(&origin)
        .pool("expect_continue_timeout = \"100ms\"")
        .start();
    let mut client = proxy.client();
    client.send(EXPECTING);
    client.send("body");
    let mut response = client.read_response();
    if response.status() == 100 {
        response = client.read_response();
    }
    assert_eq!(response.text(), "body");
}

#[test]
fn early_hints_reach_the_client_before_the_answer_exists() {
    let hints_seen = Signal::new();
    let answer = hints_seen.clone();
    let origin = Origin::script(move |connection| {
        connection.read_request();
        for link in ["</a.css>", "</b.css>"] {
            let hints = format!("HTTP/1.1 103 Early Hints\r\nLink: {link}; rel=preload\r\n\r\n");
            connection.send(hints).expect("taken");
        }
        answer.wait();
        connection.send(ok("page")).expect("taken");
        connection.read_to_end();
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    client.send(get("/"));
    for link in ["</a.css>; rel=preload", "</b.css>; rel=preload"] {
        let hints = client.read_response();
        assert_eq!(
            (hints.status(), hints.head.value("link")),
            (103, Some(link))
        );
    }
    hints_seen.raise();
    assert_eq!(client.read_response().text(), "page");
}

#[test]
fn a_client_of_http_1_0_sees_no_interim_response() {
    let origin = Origin::script(|connection| {
        connection.read_request();
        connection
            .send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
            .expect("taken");
        connection.send(ok("page")).expect("taken");
        connection.read_to_end();
    });
    let response = Config::to(&origin).start().ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((response.status(), response.text().as_str()), (200, "page"));
}

#[test]
fn expecting_something_else_is_refused() {
    let origin = Origin::answering(ok(""));
    let response = Config::to(&origin).start().ask(
        "POST / HTTP/1.1\r\nHost: site.example\r\nExpect: the-best\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(response.status(), 417);
    assert_eq!(origin.seen().accepted, 0);
}

#[test]
fn a_route_that_answers_itself_needs_no_body() {
    let proxy = Config::new()
        .route("respond = { status = 403, body = \"no\" }")
        .start();
    let mut client = proxy.client();
    client.send(EXPECTING);
    let response = client.read_response();
    assert_eq!((response.status(), response.text().as_str()), (403, "no"));
}
