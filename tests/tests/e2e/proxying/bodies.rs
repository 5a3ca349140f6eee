//! Bodies in both directions, of every framing and size, and when they move.

use std::io::{self, Write};
use std::net::Shutdown;
use std::ops::Range;

use ringway_tests::client::{get, post};
use ringway_tests::origin::{Connection, Request, ok};
use ringway_tests::pattern::{Check, Pattern};
use ringway_tests::wire::{Framing, Head, WireError, chunk, chunked, values};
use ringway_tests::{Config, Origin, Proxy, Signal};

const MIB: u64 = 1024 * 1024;

/// The most memory a proxy may have resident, whatever passes through it.
const RSS_BYTES_MAX: u64 = 64 * MIB;

/// Larger than everything that sockets and the proxy's buffers hold together.
const LARGE_BODY_BYTES: u64 = 96 * MIB;

fn proxy_to(origin: &Origin) -> Proxy {
    Config::to(origin).start()
}

#[test]
fn a_get_passes_with_its_target_and_its_answer_comes_back() {
    let origin = Origin::answering(
        "HTTP/1.1 203 Somewhat\r\nContent-Length: 5\r\nX-From: origin\r\n\r\nhello",
    );
    let response = proxy_to(&origin).get("/a/b?c=d&e=%20f");
    assert_eq!(response.status(), 203);
    assert_eq!(response.head.value("x-from"), Some("origin"));
    assert_eq!(
        (response.framing, response.text().as_str()),
        (Framing::Length(5), "hello")
    );
    let request = origin.only_request();
    assert_eq!(
        (request.method(), request.target()),
        ("GET", "/a/b?c=d&e=%20f")
    );
    assert_eq!(request.framing, Framing::Empty);
}

#[test]
fn repeated_and_unusual_fields_keep_their_order_and_values() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=1\r\nX-Empty:\r\nSet-Cookie: b=2; Path=/\r\n\r\n",
    );
    let proxy = proxy_to(&origin);
    let response = proxy.ask(
        "GET / HTTP/1.1\r\nHost: site.example\r\nCookie: x=1\r\nX-List: one\r\nX_Under: score\r\nX-List:   two, three \t\r\n\
         X-Bytes: caf\u{e9}\r\n\r\n",
    );
    assert_eq!(response.head.values("set-cookie"), ["a=1", "b=2; Path=/"]);
    assert_eq!(response.head.value("x-empty"), Some(""));
    let head = origin.only_request().head;
    assert_eq!(head.values("x-list"), ["one", "two, three"]);
    assert_eq!(head.value("cookie"), Some("x=1"));
    assert_eq!(
        head.value("x-bytes"),
        Some("caf\u{c3}\u{a9}"),
        "obs-text, byte by byte"
    );
}

#[test]
fn any_method_passes_as_it_is() {
    let origin = Origin::answering(ok(""));
    let proxy = proxy_to(&origin);
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "M-SEARCH"] {
        let response = proxy.ask(format!(
            "{method} /x HTTP/1.1\r\nHost: site.example\r\nContent-Length: 0\r\n\r\n"
        ));
        assert_eq!(response.status(), 200, "{method}");
    }
    let seen = origin.seen();
    let methods: Vec<_> = seen.requests.iter().map(Request::method).collect();
    assert_eq!(
        methods,
        ["PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "M-SEARCH"]
    );
}

#[test]
fn a_body_with_a_length_reaches_the_origin_with_it() {
    let origin = Origin::answering(ok("taken"));
    assert_eq!(
        proxy_to(&origin).ask(post("/", b"some body")).text(),
        "taken"
    );
    let request = origin.only_request();
    assert_eq!(
        (request.framing, request.body.as_slice()),
        (Framing::Length(9), &b"some body"[..])
    );
}

#[test]
fn a_chunked_body_reaches_the_origin_chunked() {
    let origin = Origin::answering(ok("taken"));
    let mut bytes =
        b"POST / HTTP/1.1\r\nHost: site.example\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    bytes.extend(chunked(&[b"so", b"me ", b"body"]));
    assert_eq!(proxy_to(&origin).ask(bytes).text(), "taken");
    let request = origin.only_request();
    assert_eq!(
        (request.framing, request.body.as_slice()),
        (Framing::Chunked, &b"some body"[..])
    );
}

#[test]
fn chunk_extensions_are_not_forwarded() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=\"b\"\r\nok\r\n0;last\r\n\r\n",
    );
    let proxy = proxy_to(&origin);
    let response = proxy.ask(
        "POST / HTTP/1.1\r\nHost: site.example\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n0;x\r\n\r\n",
    );
    assert_eq!(response.text(), "ok");
    assert_eq!(origin.only_request().body, b"abc");
}

#[test]
fn a_chunked_answer_comes_back_chunked_and_the_connection_stays() {
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    answer.extend(chunked(&[b"first ", b"second"]));
    let origin = Origin::answering(answer);
    let proxy = proxy_to(&origin);
    let mut client = proxy.client();
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!(
            (response.framing, response.text().as_str()),
            (Framing::Chunked, "first second")
        );
    }
    assert_eq!(origin.seen().accepted, 1);
}

#[test]
fn an_answer_that_ends_with_its_connection_ends_cleanly_for_the_client() {
    let origin = Origin::script(|connection| {
        connection.read_request();
        connection
            .send("HTTP/1.1 200 OK\r\n\r\nuntil the end")
            .expect("taken");
    });
    let response = proxy_to(&origin).get("/");
    assert_eq!(response.text(), "until the end");
}

#[test]
fn an_empty_answer_that_ends_with_its_connection_is_empty() {
    let origin = Origin::script(|connection| {
        connection.read_request();
        connection.send("HTTP/1.1 200 OK\r\n\r\n").expect("taken");
    });
    assert_eq!(proxy_to(&origin).get("/").text(), "");
}

#[test]
fn trailers_pass_both_ways() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n",
    );
    let response = proxy_to(&origin).ask(
        "POST / HTTP/1.1\r\nHost: site.example\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\nX-Check: 7\r\nX-More: 8\r\n\r\n",
    );
    assert_eq!(response.text(), "ok");
    assert_eq!(response.trailer("x-sum"), Some("42"));
    let request = origin.only_request();
    assert_eq!(values(&request.trailers, "x-check"), ["7"]);
    assert_eq!(values(&request.trailers, "x-more"), ["8"]);
}

#[test]
fn answers_without_a_body_leave_the_connection_in_step() {
    let origin = Origin::serving(|request| {
        match request.target() {
            "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
            "/head-chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 77\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
        }
        .into()
    });
    let proxy = proxy_to(&origin);
    let mut client = proxy.client();
    for (method, target, status, length) in [
        ("HEAD", "/head", 200, Some("1000")),
        ("HEAD", "/head-chunked", 200, None),
        ("GET", "/204", 204, None),
        ("GET", "/304", 304, Some("77")),
    ] {
        client.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: site.example\r\n\r\n"
        ));
        let response = client.read_response_to(method);
        assert_eq!(response.status(), status, "{target}");
        if target != "/head-chunked" {
            assert_eq!(response.head.value("content-length"), length, "{target}");
        }
        assert_eq!(client.get("/after").text(), "body", "after {target}");
    }
    assert_eq!(
        origin.seen().accepted,
        1,
        "answers without a body leave the upstream connection usable"
    );
}

#[test]
fn an_event_arrives_before_the_next_one_is_sent() {
    let arrived = Signal::new();
    let send_next = arrived.clone();
    let origin = Origin::script(move |connection| {
        connection.read_request();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        connection.send(head).expect("taken");
        for number in 0..10 {
            connection
                .send(chunk(format!("data: {number}\n\n").as_bytes()))
                .expect("taken");
            send_next.wait();
        }
        connection.send("0\r\n\r\n").expect("taken");
        connection.read_to_end();
    });
    let proxy = proxy_to(&origin);
    let mut client = proxy.client();
    client.send(get("/events"));
    assert_eq!(
        client.read_head().value("content-type"),
        Some("text/event-stream")
    );
    for number in 0..10 {
        let event = client
            .wire()
            .read_chunk()
            .expect("it was sent")
            .expect("it is not the last");
        assert_eq!(event, format!("data: {number}\n\n").as_bytes());
        arrived.raise();
    }
    assert_eq!(client.wire().read_chunk().expect("it was sent"), None);
}

#[test]
fn an_answers_head_arrives_before_its_body_is_sent() {
    let head_seen = Signal::new();
    let send_body = head_seen.clone();
    let origin = Origin::script(move |connection| {
        connection.read_request();
        connection
            .send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
            .expect("taken");
        send_body.wait();
        connection.send("body").expect("taken");
        connection.read_to_end();
    });
    let proxy = proxy_to(&origin);
    let mut client = proxy.client();
    client.send(get("/"));
    assert_eq!(client.read_head().value("content-length"), Some("4"));
    head_seen.raise();
    assert_eq!(
        client.wire().read_exactly(4).expect("the body follows"),
        b"body"
    );
}

#[test]
fn an_uploads_piece_arrives_before_the_next_one_is_sent() {
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let piece_seen = Signal::new();
        let raise = piece_seen.clone();
        let origin = Origin::script(move |connection| {
            let head = connection.read_head().expect("a request");
            let mut total = 0;
            if head.has("content-length") {
                while total < 10 {
                    total += connection.wire().read_some().expect("more of it").len();
                    raise.raise();
                }
            } else {
                while let Some(data) = connection.wire().read_chunk().expect("more of it") {
                    total += data.len();
                    raise.raise();
                }
                connection.wire().read_trailers().expect("the end of it");
            }
            connection.send(ok(total.to_string())).expect("taken");
            connection.read_to_end();
        });
        let proxy = proxy_to(&origin);
        let mut client = proxy.client();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: site.example\r\n{framing}\r\n\r\n"
        ));
        for _ in 0..10 {
            client.send(if framing.contains("chunked") {
                "1\r\nx\r\n"
            } else {
                "x"
            });
            piece_seen.wait();
        }
        if framing.contains("chunked") {
            client.send("0\r\n\r\n");
        }
        assert_eq!(client.read_response().text(), "10", "{framing}");
    }
}

/// Sends the pattern as a body in the given framing.
pub(super) fn send_pattern(mut to: impl Write, framing: Framing, bytes: u64) {
    if framing == Framing::Chunked {
        each_piece(0..bytes, |piece| to.write_all(&chunk(piece))).expect("taken");
        to.write_all(b"0\r\n\r\n").expect("taken");
    } else {
        each_piece(0..bytes, |piece| to.write_all(piece)).expect("taken");
    }
}

/// Hands these bytes of the pattern on, piece by piece.
pub(super) fn each_piece(
    bytes: Range<u64>,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let pattern = Pattern::new();
    let mut at = bytes.start;
    while at < bytes.end {
        let piece = pattern.from(at, bytes.end - at);
        take(piece)?;
        at += piece.len() as u64;
    }
    Ok(())
}

/// Reads the body behind `head`, which is the pattern, and answers with its length.
pub(super) fn count_upload(connection: &mut Connection, head: &Head) {
    let framing = Framing::of_request(head).expect("framed");
    let mut check = Check::new();
    connection
        .wire()
        .pass_body(framing, &mut |piece| check.take(piece))
        .expect("it ends cleanly");
    connection
        .send(ok(check.seen().to_string()))
        .expect("taken");
}

pub(super) fn framing_field(framing: Framing) -> String {
    match framing {
        Framing::Length(bytes) => format!("Content-Length: {bytes}\r\n"),
        Framing::Chunked => "Transfer-Encoding: chunked\r\n".into(),
        Framing::UntilClose | Framing::Empty => String::new(),
    }
}

/// The head of an answer whose body is framed so.
pub(super) fn ok_head(framing: Framing) -> String {
    format!("HTTP/1.1 200 OK\r\n{}\r\n", framing_field(framing))
}

#[test]
fn a_large_download_passes_unchanged_in_little_memory() {
    for framing in [
        Framing::Length(LARGE_BODY_BYTES),
        Framing::Chunked,
        Framing::UntilClose,
    ] {
        let origin = Origin::script(move |connection| {
            connection.read_request();
            connection.send(ok_head(framing)).expect("taken");
            send_pattern(connection.sender(), framing, LARGE_BODY_BYTES);
        });
        let proxy = proxy_to(&origin);
        let mut client = proxy.client();
        client.send(get("/"));
        let head = client.read_head();
        let framing_here = Framing::of_response(&head, "GET").expect("framed");
        let mut check = Check::new();
        client
            .wire()
            .pass_body(framing_here, &mut |piece| check.take(piece))
            .expect("it ends cleanly");
        assert_eq!(check.seen(), LARGE_BODY_BYTES, "{framing:?}");
        let peak = proxy.rss_peak_bytes();
        assert!(peak < RSS_BYTES_MAX, "{framing:?}: {peak} bytes resident");
    }
}

#[test]
fn a_large_upload_passes_unchanged_in_little_memory() {
    for framing in [Framing::Length(LARGE_BODY_BYTES), Framing::Chunked] {
        let origin = Origin::script(move |connection| {
            let head = connection.read_head().expect("a request");
            count_upload(connection, &head);
            connection.read_to_end();
        });
        let proxy = Config::to(&origin).limits("body_bytes = 0").start();
        let mut client = proxy.client();
        client.send(format!(
            "PUT / HTTP/1.1\r\nHost: site.example\r\n{}\r\n",
            framing_field(framing)
        ));
        send_pattern(client.sender(), framing, LARGE_BODY_BYTES);
        assert_eq!(
            client.read_response().text(),
            LARGE_BODY_BYTES.to_string(),
            "{framing:?}"
        );
        let peak = proxy.rss_peak_bytes();
        assert!(peak < RSS_BYTES_MAX, "{framing:?}: {peak} bytes resident");
    }
}

/// A client that reads nothing stops its origin, instead of filling the proxy's memory.
#[test]
fn a_client_that_does_not_read_holds_its_origin_back() {
    let stalled = Signal::new();
    let raise = stalled.clone();
    let origin = Origin::script(move |connection| {
        connection.read_request();
        let framing = Framing::Length(LARGE_BODY_BYTES);
        connection.send(ok_head(framing)).expect("taken");
        let pattern = Pattern::new();
        let sender = connection.sender();
        sender.set_nonblocking(true).expect("the socket is open");
        let mut sent = 0;
        let mut held_back = false;
        while sent < LARGE_BODY_BYTES {
            match (&sender).write(pattern.from(sent, LARGE_BODY_BYTES - sent)) {
                Ok(taken) => sent += taken as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !held_back => {
                    held_back = true;
                    assert!(sent < LARGE_BODY_BYTES);
                    sender.set_nonblocking(false).expect("the socket is open");
                    raise.raise();
                }
                Err(error) => panic!("sending: {error}"),
            }
        }
        connection.read_to_end();
    });
    let proxy = proxy_to(&origin);
    let mut client = proxy.client();
    client.send(get("/"));
    stalled.wait();
    let mut check = Check::new();
    client.read_head();
    client
        .wire()
        .pass_body(Framing::Length(LARGE_BODY_BYTES), &mut |piece| {
            check.take(piece);
        })
        .expect("all of it");
    assert_eq!(check.seen(), LARGE_BODY_BYTES);
    assert!(proxy.rss_peak_bytes() < RSS_BYTES_MAX);
}

/// A client still uploading must see an early answer, not a reset.
#[test]
fn an_early_answer_reaches_a_client_that_is_still_uploading() {
    let origin = Origin::script(|connection| {
        connection.read_head().expect("a request");
        connection
            .send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
            .expect("taken");
        connection.wire().finish_sending().expect("open");
        connection.read_to_end();
    });
    let proxy = Config::to(&origin).limits("body_bytes = 0").start();
    let mut client = proxy.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: site.example\r\nContent-Length: {LARGE_BODY_BYTES}\r\n\r\n"
    ));
    let mut sender = client.sender();
    let uploading = std::thread::spawn(move || {
        let piece = [b'x'; 16 * 1024];
        // Goes on until the proxy stops it, as a client does that looks for an answer only at the end.
        let mut left = LARGE_BODY_BYTES / piece.len() as u64;
        while left > 0 && sender.write_all(&piece).is_ok() {
            left -= 1;
        }
        let _ = sender.shutdown(Shutdown::Write);
    });
    let response = client.read_response();
    assert_eq!((response.status(), response.text().as_str()), (403, "no"));
    uploading.join().expect("sending does not panic");
}

/// Likewise where the origin closes at once, with the upload unread: its reset must not swallow its answer.
#[test]
fn an_early_answer_followed_by_a_close_reaches_a_client_that_waits_for_it() {
    let origin = Origin::script(|connection| {
        connection.read_head().expect("a request");
        connection.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig").expect("taken");
    });
    let proxy = proxy_to(&origin);
    let mut client = proxy.client();
    client
        .send("POST / HTTP/1.1\r\nHost: site.example\r\nContent-Length: 100000\r\n\r\nhalf of it");
    let response = client.read_response();
    assert_eq!((response.status(), response.text().as_str()), (413, "big"));
}

#[test]
fn a_client_that_goes_away_cancels_the_request_at_the_origin() {
    let asked = Signal::new();
    let gone = Signal::new();
    let (raise_asked, raise_gone) = (asked.clone(), gone.clone());
    let origin = Origin::script(move |connection: &mut Connection| {
        if connection.read_request().is_some() {
            raise_asked.raise();
            connection.read_to_end();
            raise_gone.raise();
        }
    });
    let proxy = proxy_to(&origin);
    let mut client = proxy.client();
    client.send(get("/"));
    asked.wait();
    drop(client);
    gone.wait();
}

#[test]
fn an_upload_that_breaks_off_is_broken_off_at_the_origin() {
    for framing in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let origin = Origin::answering(ok("taken"));
        let proxy = proxy_to(&origin);
        let mut client = proxy.client();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: site.example\r\n{framing}\r\n\r\n5\r\nhello\r\n"
        ));
        origin.wait_until("a connection", |seen| seen.accepted == 1);
        drop(client);
        let seen = origin.wait_until("the upload's end", |seen| {
            seen.broken_off.len() == 1 || seen.open == 0
        });
        assert_eq!(
            seen.requests.len(),
            0,
            "{framing}: half an upload is no request"
        );
    }
}

#[test]
fn connections_to_the_origin_are_used_again() {
    let origin = Origin::serving(|request| ok(request.target()));
    let proxy = proxy_to(&origin);
    let mut client = proxy.client();
    for number in 0..20 {
        let target = format!("/{number}");
        assert_eq!(client.get(&target).text(), target);
    }
    for number in 20..40 {
        let target = format!("/{number}");
        assert_eq!(
            proxy.get(&target).text(),
            target,
            "on a connection of its own"
        );
    }
    assert_eq!(origin.seen().accepted, 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin =
        Origin::serving(|request| ok([request.target().as_bytes(), b" ", &request.body].concat()));
    let proxy = proxy_to(&origin);
    let mut client = proxy.client();
    let mut all = Vec::new();
    for number in 0..60 {
        match number % 3 {
            0 => all.extend(get(&format!("/{number}"))),
            1 => all.extend(post(
                &format!("/{number}"),
                format!("body {number}").as_bytes(),
            )),
            _ => {
                let head = format!(
                    "PUT /{number} HTTP/1.1\r\nHost: site.example\r\nTransfer-Encoding: chunked\r\n\r\n"
                );
                all.extend_from_slice(head.as_bytes());
                all.extend(chunked(&[b"chunk ", number.to_string().as_bytes()]));
            }
        }
    }
    client.send(all);
    for number in 0..60 {
        let expected = match number % 3 {
            0 => format!("/{number} "),
            1 => format!("/{number} body {number}"),
            _ => format!("/{number} chunk {number}"),
        };
        assert_eq!(client.read_response().text(), expected);
    }
}

#[test]
fn a_request_cut_at_any_byte_is_the_same_request() {
    let origin =
        Origin::serving(|request| ok([request.target().as_bytes(), b" ", &request.body].concat()));
    let proxy = proxy_to(&origin);
    let mut request =
        b"\r\nPOST /split?a=b HTTP/1.1\r\nHost: site.example\r\nX-Some: value\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    request.extend_from_slice(b"5;ext\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: t\r\n\r\n");
    let mut client = proxy.client();
    for at in 1..request.len() {
        client.send_split(&request, at);
        assert_eq!(
            client.read_response().text(),
            "/split?a=b hello world",
            "cut after {at} bytes"
        );
    }
    client.send_bytewise(&request);
    assert_eq!(
        client.read_response().text(),
        "/split?a=b hello world",
        "bytewise"
    );
}

#[test]
fn an_answer_cut_at_any_byte_is_the_same_answer() {
    const ANSWER: &[u8] =
        b"HTTP/1.1 200 Fine\r\nX-Some: value\r\nTransfer-Encoding: chunked\r\n\r\n\
        5;ext\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: t\r\n\r\n";
    let origin = Origin::script(|connection| {
        while let Some(request) = connection.read_request() {
            let at: usize = request.target()[1..].parse().expect("the cut");
            if at == 0 {
                for byte in ANSWER {
                    connection.send([*byte]).expect("taken");
                }
            } else {
                connection.send(&ANSWER[..at]).expect("taken");
                connection.send(&ANSWER[at..]).expect("taken");
            }
        }
    });
    let proxy = proxy_to(&origin);
    let mut client = proxy.client();
    for at in 0..ANSWER.len() {
        let response = client.get(&format!("/{at}"));
        assert_eq!(response.status(), 200);
        assert_eq!(response.text(), "hello world", "cut after {at} bytes");
    }
}

#[test]
fn the_origins_wish_to_close_is_not_the_clients() {
    let origin = Origin::script(|connection| {
        connection.read_request();
        connection
            .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            .expect("taken");
    });
    let proxy = proxy_to(&origin);
    let mut client = proxy.client();
    for _ in 0..3 {
        let response = client.get("/");
        assert!(!response.closes());
        assert_eq!(response.text(), "ok");
    }
    assert_eq!(origin.seen().accepted, 3);
}

#[test]
fn a_whole_answer_is_told_from_one_that_the_origin_reset() {
    let origin = Origin::script(|connection| {
        connection.read_request();
        connection
            .send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            .expect("taken");
        connection.reset_on_close();
    });
    let proxy = proxy_to(&origin);
    let mut client = proxy.client();
    client.send(get("/"));
    match client.try_response() {
        Ok(response) if response.status() == 200 => {
            assert!(
                matches!(
                    response.failure,
                    Some(WireError::CutShort | WireError::Reset)
                ),
                "{:?}",
                response.failure
            );
        }
        // The reset may overtake the bytes before it.
        Ok(response) => assert_eq!(response.status(), 502),
        Err(WireError::Closed | WireError::Reset) => {}
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn without_an_upstream_the_built_in_origin_answers() {
    let proxy = Proxy::quick(&[]);
    let response = proxy.get("/");
    assert_eq!(response.status(), 200);
    assert!(!response.body.is_empty());
}

#[test]
fn one_line_is_enough_to_stand_before_several_origins() {
    let origins = [Origin::answering(ok("a")), Origin::answering(ok("b"))];
    let proxy = Proxy::quick(&["--to", &origins[0].url(), "--to", &origins[1].url()]);
    let mut client = proxy.client();
    let mut answers: Vec<_> = (0..4).map(|_| client.get("/").text()).collect();
    answers.sort();
    assert_eq!(answers, ["a", "a", "b", "b"]);
}
