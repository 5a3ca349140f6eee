//! Requests that go out at once, on connections that are kept on both sides, and everything that can come instead of the
//! whole answer.

use ringway_tests::client::{get, post};
use ringway_tests::origin::ok;
use ringway_tests::{Client, Config, Origin, Proxy, Signal};
use rustix::process::Signal as ProcessSignal;

/// An origin that says so and waits where it is asked for `/held`, once it has sent what is given there.
fn origin(begun: &[u8], rest: &[u8]) -> (Origin, Signal, Signal) {
    let (begun, rest) = (begun.to_vec(), rest.to_vec());
    let (asked, answer) = (Signal::new(), Signal::new());
    let (raise, wait) = (asked.clone(), answer.clone());
    let origin = Origin::script(move |connection| {
        while let Some(request) = connection.read_request() {
            let sent = if request.target() == "/held" {
                connection.send(&begun).expect("taken");
                raise.raise();
                wait.wait();
                connection.send(&rest)
            } else {
                connection.send(ok(request.target()))
            };
            if sent.is_err() {
                return;
            }
        }
    });
    (origin, asked, answer)
}

/// A client whose connection has carried a request, and so has one to the origin.
fn kept(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    assert_eq!(client.get("/first").text(), "/first");
    client
}

/// The same, and now it waits for an answer.
fn held(proxy: &Proxy, asked: &Signal) -> Client {
    let mut client = kept(proxy);
    client.send(get("/held"));
    asked.wait();
    client
}

/// An answer that comes in two pieces on kept connections is `text`, and the connections go on being kept.
fn assert_passed_in_two(whole: &[u8], cut: usize, text: &str) {
    let (begun, rest) = whole.split_at(cut);
    let (origin, asked, answer) = origin(begun, rest);
    let proxy = Config::to(&origin).start();
    let mut client = held(&proxy, &asked);
    answer.raise();
    assert_eq!(client.read_response().text(), text, "cut at {cut}");
    assert_eq!(client.get("/after").text(), "/after", "cut at {cut}");
    assert_eq!(origin.seen().accepted, 1, "cut at {cut}");
}

#[test]
fn an_answer_may_come_in_pieces_cut_anywhere() {
    let whole = ok("body");
    let head = whole.len() - "body".len();
    for cut in [1, 16, head - 1, head, head + 2] {
        assert_passed_in_two(&whole, cut, "body");
    }
}

#[test]
fn a_chunked_answer_may_come_whole_or_cut_anywhere() {
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for body in [
        "4\r\nbo\r\n\r\n3;x=y\r\ndy!\r\n0\r\n\r\n",
        "7\r\nbo\r\ndy!\r\n0\r\nx-sum: 1\r\n\r\n",
    ] {
        let whole = [&head[..], body.as_bytes()].concat();
        let (head, end) = (head.len(), whole.len());
        for cut in [0, 1, head - 1, head, head + 5, end - 5, end - 1] {
            assert_passed_in_two(&whole, cut, "bo\r\ndy!");
        }
    }
}

#[test]
fn what_an_origin_sends_behind_its_answer_is_nobodys_answer() {
    let answers = [ok("body"), b"HTTP/1.1 200 OK\r\n".to_vec()].concat();
    let (origin, asked, answer) = origin(b"", &answers);
    let proxy = Config::to(&origin).start();
    let mut client = held(&proxy, &asked);
    answer.raise();
    assert_eq!(client.read_response().text(), "body");
    assert_eq!(client.get("/after").text(), "/after");
    assert_eq!(
        origin.seen().accepted,
        2,
        "its connection is not used again"
    );
}

#[test]
fn a_request_sent_before_the_answer_waits_for_its_turn() {
    let (origin, asked, answer) = origin(b"", &ok("held"));
    let proxy = Config::to(&origin).start();
    let mut client = held(&proxy, &asked);
    client.send([get("/second"), get("/third")].concat());
    answer.raise();
    for text in ["held", "/second", "/third"] {
        assert_eq!(client.read_response().text(), text);
    }
}

#[test]
fn a_client_that_leaves_before_its_answer_ends_the_exchange() {
    let (origin, asked, answer) = origin(b"", b"");
    let proxy = Config::to(&origin).start();
    drop(held(&proxy, &asked));
    let record = proxy.access_record("/held");
    assert_eq!(record.number("status"), 499.0);
    assert_eq!(record.text("error"), "client_gone");
    answer.raise();
    origin.wait_until("the connection's end", |seen| seen.open == 0);
    proxy.wait_until_idle();
    assert_eq!(kept(&proxy).get("/after").text(), "/after");
}

#[test]
fn an_answer_that_does_not_come_in_time_is_a_504() {
    let (origin, asked, answer) = origin(b"", b"");
    let proxy = Config::to(&origin)
        .pool("response_head_timeout = \"200ms\"")
        .start();
    let mut client = held(&proxy, &asked);
    assert_eq!(client.read_response().status(), 504);
    answer.raise();
    assert_eq!(client.get("/after").text(), "/after");
}

#[test]
fn a_routes_time_runs_while_the_answer_is_awaited() {
    let (origin, asked, answer) = origin(b"", b"");
    let proxy = Config::to(&origin)
        .route("upstream = \"app\"\ntimeout = \"200ms\"")
        .start();
    let mut client = held(&proxy, &asked);
    assert_eq!(client.read_response().status(), 504);
    answer.raise();
}

#[test]
fn an_answer_that_is_no_http_is_a_502() {
    let (origin, asked, answer) = origin(b"", b"HTTP/1.1 2OO OK\r\n\r\n");
    let proxy = Config::to(&origin).start();
    let mut client = held(&proxy, &asked);
    answer.raise();
    assert_eq!(client.read_response().status(), 502);
    assert_eq!(client.get("/after").text(), "/after");
}

#[test]
fn a_provisional_answer_is_passed_on_before_the_final_one() {
    let hints = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let (origin, asked, answer) = origin(hints, &ok("body"));
    let proxy = Config::to(&origin).start();
    let mut client = held(&proxy, &asked);
    assert_eq!(client.read_head().start, "HTTP/1.1 103 Early Hints");
    answer.raise();
    assert_eq!(client.read_response().text(), "body");
}

#[test]
fn a_body_goes_along_where_it_is_whole_and_is_waited_for_where_it_is_not() {
    let origin = Origin::serving(|request| ok(&request.body));
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    assert_eq!(client.get("/first").status(), 200);
    for cut in [0, 1, 60, 70] {
        client.send_split(&post("/echo", b"a body to be sent back"), cut);
        assert_eq!(
            client.read_response().text(),
            "a body to be sent back",
            "cut at {cut}"
        );
    }
    assert_eq!(origin.seen().accepted, 1);
}

#[test]
fn an_answer_awaited_when_the_process_is_told_to_stop_is_the_last() {
    let (origin, asked, answer) = origin(b"", &ok("held"));
    let mut proxy = Config::to(&origin)
        .process("drain_notice = \"0s\"\ndrain_deadline = \"60s\"")
        .start();
    let mut client = held(&proxy, &asked);
    let mut idle = kept(&proxy);
    proxy.signal(ProcessSignal::TERM);
    // Idle connections close once it drains.
    idle.assert_closed();
    answer.raise();
    let response = client.read_response();
    assert_eq!(response.text(), "held");
    assert!(response.closes());
    client.assert_closed();
    proxy.wait_exit_cleanly();
}
