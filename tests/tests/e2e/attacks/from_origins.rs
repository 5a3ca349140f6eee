//! Bytes from origins that no client may be given, and connections that may not be used again.

use ringway_tests::client::{Response, get};
use ringway_tests::origin::{Connection, ok};
use ringway_tests::wire::{Framing, WireError};
use ringway_tests::{Config, Origin, Proxy, Signal};

/// Answers a request for `/N` with the N-th of these bytes and waits for the proxy to close; `/honest` honestly.
fn lying_origin(answers: Vec<Vec<u8>>) -> Origin {
    Origin::script(move |connection| {
        while let Some(request) = connection.read_request() {
            let Ok(number) = request.target()[1..].parse::<usize>() else {
                connection.send(ok("honest")).expect("taken");
                continue;
            };
            // The proxy may close in the middle of what it refuses.
            let _ = connection.send(&answers[number]);
            let more = connection.read_to_end();
            assert!(
                more.is_empty(),
                "used again after {:?}",
                answers[number].escape_ascii().to_string()
            );
            return;
        }
    })
}

/// Asks for every answer once and says all that is wrong with what the client got.
fn assert_each(
    answers: &[(&str, &[u8])],
    wrong_with: impl Fn(Result<Response, WireError>) -> Option<String>,
) {
    let origin = lying_origin(answers.iter().map(|(_, bytes)| bytes.to_vec()).collect());
    let proxy = Config::to(&origin).start();
    let mut wrong = Vec::new();
    for (number, (name, _)) in answers.iter().enumerate() {
        let mut client = proxy.client();
        client.send(get(&format!("/{number}")));
        wrong.extend(wrong_with(client.try_response()).map(|what| format!("{name}: {what}")));
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        answers.len(),
        wrong.join("\n")
    );
    assert_eq!(
        proxy.get("/honest").text(),
        "honest",
        "an honest answer passes after all of that"
    );
    proxy.wait_until_idle();
    origin.wait_until("every connection that lied closed", |seen| seen.open <= 1);
}

fn not_a_502(outcome: Result<Response, WireError>) -> Option<String> {
    match outcome {
        Ok(response) if response.failure.is_some() => {
            Some(format!("its body failed: {:?}", response.failure))
        }
        Ok(response) => {
            (response.status() != 502).then(|| format!("{} {}", response.status(), response.text()))
        }
        Err(failure) => Some(format!("no answer: {failure}")),
    }
}

#[test]
fn an_answer_whose_length_is_in_doubt_is_a_502() {
    assert_each(
        &[
            ("length and coding", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            ("coding and length", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
            ("equal lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
            ("different lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
            ("a list of lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello"),
            ("an empty length", b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello"),
            ("a length with plus", b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello"),
            ("a negative length", b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"),
            ("a length that overflows", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello"),
            ("two codings", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
            ("two lines of codings", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            ("an unknown coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello"),
            ("identity", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello"),
            ("a bent coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
            ("a coding in 1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ],
        not_a_502,
    );
}

#[test]
fn an_answer_whose_head_is_bent_is_a_502() {
    assert_each(
        &[
            ("HTTP/0.9", b"<html>hello</html>\r\n\r\n"),
            ("a status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
            ("a status of four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
            ("a status below 100", b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n"),
            ("a status that is no number", b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n"),
            ("no status", b"HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
            ("two spaces before the status", b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n"),
            ("a tab before the status", b"HTTP/1.1\t200 OK\r\nContent-Length: 0\r\n\r\n"),
            ("another version", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
            ("another protocol", b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n"),
            ("a control byte in the reason", b"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n"),
            ("bare CR in the reason", b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n"),
            ("NUL in a value", b"HTTP/1.1 200 OK\r\nX-A: b\x00c\r\nContent-Length: 0\r\n\r\n"),
            ("NUL in a name", b"HTTP/1.1 200 OK\r\nX\x00A: b\r\nContent-Length: 0\r\n\r\n"),
            ("bare LF", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
            ("bare LF in a field", b"HTTP/1.1 200 OK\r\nX-A: b\nX-C: d\r\nContent-Length: 0\r\n\r\n"),
            ("bare CR in a value", b"HTTP/1.1 200 OK\r\nX-A: b\rX-C: d\r\nContent-Length: 0\r\n\r\n"),
            ("a folded line", b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
            ("space before the first field", b"HTTP/1.1 200 OK\r\n X-A: b\r\nContent-Length: 0\r\n\r\n"),
            ("space before the colon", b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"),
            ("no colon", b"HTTP/1.1 200 OK\r\ngarbage\r\nContent-Length: 0\r\n\r\n"),
            ("an empty name", b"HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 0\r\n\r\n"),
            ("a name with a byte above 127", b"HTTP/1.1 200 OK\r\nX-\xe9: b\r\nContent-Length: 0\r\n\r\n"),
            ("an unsolicited 101", b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
            ("a bent interim response", b"HTTP/1.1 103 Early\r\nX-A : b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ],
        not_a_502,
    );
}

#[test]
fn a_head_too_large_is_a_502() {
    let large = format!(
        "HTTP/1.1 200 OK\r\nX-A: {}\r\nContent-Length: 0\r\n\r\n",
        "x".repeat(1_000_000)
    );
    let many: String = (0..20_000)
        .map(|number| format!("X-{number}: 1\r\n"))
        .collect();
    let many = format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 0\r\n\r\n");
    let line = format!(
        "HTTP/1.1 200 {}\r\nContent-Length: 0\r\n\r\n",
        "x".repeat(1_000_000)
    );
    assert_each(
        &[
            ("a field too large", large.as_bytes()),
            ("too many fields", many.as_bytes()),
            ("a status line too long", line.as_bytes()),
        ],
        not_a_502,
    );
}

#[test]
fn interim_responses_without_end_are_a_502() {
    let origin = Origin::script(|connection| {
        connection.read_request();
        while connection
            .send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            .is_ok()
        {}
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    client.send(get("/"));
    let mut interim = 0;
    let response = loop {
        let response = client.read_response();
        if response.status() >= 200 {
            break response;
        }
        interim += 1;
        assert!(interim < 10_000, "{interim} interim responses passed");
    };
    assert_eq!(response.status(), 502);
    origin.wait_until("the connection's end", |seen| seen.open == 0);
}

/// Whether a client could take what it got for a whole answer.
fn looks_whole(outcome: Result<Response, WireError>) -> Option<String> {
    match outcome {
        Ok(response) if response.status() == 502 => None,
        Ok(Response {
            failure: Some(WireError::CutShort | WireError::Reset),
            ..
        }) => None,
        Ok(response) => Some(format!(
            "{} {:?} {:?}",
            response.status(),
            response.text(),
            response.failure
        )),
        Err(WireError::Closed | WireError::Reset) => None,
        Err(failure) => Some(format!("{failure}")),
    }
}

#[test]
fn bad_chunking_never_ends_cleanly_for_the_client() {
    let bodies: [(&str, &[u8]); 24] = [
        ("an empty size", b"\r\nhello\r\n0\r\n\r\n"),
        ("a size with plus", b"+5\r\nhello\r\n0\r\n\r\n"),
        ("a size with minus", b"-5\r\nhello\r\n0\r\n\r\n"),
        ("a size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
        ("a size after a space", b" 5\r\nhello\r\n0\r\n\r\n"),
        ("a size before a space", b"5 \r\nhello\r\n0\r\n\r\n"),
        ("a size that is no number", b"zz\r\nhello\r\n0\r\n\r\n"),
        (
            "a size that overflows",
            b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        ),
        ("bare LF after the size", b"5\nhello\r\n0\r\n\r\n"),
        ("bare CR after the size", b"5\rhello\r\n0\r\n\r\n"),
        ("bare LF in an extension", b"5;a\nhello\r\n0\r\n\r\n"),
        ("NUL in an extension", b"5;\x00\r\nhello\r\n0\r\n\r\n"),
        ("bare LF after the data", b"5\r\nhello\n0\r\n\r\n"),
        ("nothing after the data", b"5\r\nhello0\r\n\r\n"),
        ("data longer than its size", b"3\r\nhello\r\n0\r\n\r\n"),
        ("data shorter than its size", b"6\r\nhello\r\n0\r\n\r\n"),
        (
            "a bad chunk after a good one",
            b"5\r\nhello\r\nzz\r\nhello\r\n0\r\n\r\n",
        ),
        ("an end of bare LF", b"5\r\nhello\r\n0\r\n\n"),
        (
            "a trailer without colon",
            b"5\r\nhello\r\n0\r\ngarbage\r\n\r\n",
        ),
        (
            "a trailer with NUL",
            b"5\r\nhello\r\n0\r\nX-A: \x00\r\n\r\n",
        ),
        (
            "a folded trailer",
            b"5\r\nhello\r\n0\r\nX-A: b\r\n c\r\n\r\n",
        ),
        (
            "a length in the trailers",
            b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            "a coding in the trailers",
            b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            "another answer instead of a chunk",
            b"5\r\nhello\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
    ];
    let answers: Vec<_> = bodies
        .iter()
        .map(|(name, body)| {
            (
                *name,
                [
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                    *body,
                ]
                .concat(),
            )
        })
        .collect();
    let answers: Vec<_> = answers
        .iter()
        .map(|(name, bytes)| (*name, bytes.as_slice()))
        .collect();
    assert_each(&answers, looks_whole);
}

/// Sends these bytes and closes.
fn cut_short_after(bytes: &'static [u8], reset: bool) -> Origin {
    Origin::script(move |connection: &mut Connection| {
        connection.read_request();
        connection.send(bytes).expect("taken");
        if reset {
            connection.reset_on_close();
        }
    })
}

#[test]
fn an_answer_cut_short_is_cut_short_for_the_client() {
    let heads: [(&str, &[u8]); 6] = [
        (
            "by its length",
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        ),
        (
            "before the first byte",
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        ),
        (
            "inside a chunk",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
        ),
        (
            "between chunks",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        ),
        (
            "after the last chunk's size",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        ),
        (
            "inside the trailers",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-A: b\r\n",
        ),
    ];
    for (name, bytes) in heads {
        for reset in [false, true] {
            let origin = cut_short_after(bytes, reset);
            let proxy = Config::to(&origin).start();
            let mut client = proxy.client();
            client.send(get("/"));
            let whole = looks_whole(client.try_response());
            assert!(
                whole.is_none(),
                "{name}, reset {reset}: {}",
                whole.unwrap_or_default()
            );
        }
    }
}

/// What came before the cut is the client's: nothing is held back, nothing made up.
#[test]
fn the_bytes_before_the_cut_reach_the_client() {
    let read = Signal::new();
    let cut = read.clone();
    let origin = Origin::script(move |connection| {
        connection.read_request();
        connection
            .send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            .expect("taken");
        cut.wait();
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    client.send(get("/"));
    assert_eq!(client.read_head().value("content-length"), Some("10"));
    assert_eq!(
        client.wire().read_exactly(5).expect("before the cut"),
        b"hello"
    );
    read.raise();
    client.assert_closed();
}

#[test]
fn a_head_cut_short_is_a_502() {
    for bytes in [
        &b""[..],
        b"H",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
    ] {
        let origin = cut_short_after(bytes, false);
        let response = Config::to(&origin).start().get("/");
        assert_eq!(
            response.status(),
            502,
            "after {:?}",
            bytes.escape_ascii().to_string()
        );
    }
}

/// The queue of an upstream connection must never be one answer ahead.
#[test]
fn bytes_after_an_answer_are_nobodys() {
    let second = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let firsts: [(&str, &str, &str); 6] = [
        (
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "ok",
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "ok",
        ),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", ""),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n",
            "",
        ),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", ""),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
            "",
        ),
    ];
    for (method, first, body) in firsts {
        let answer = [first, second].concat();
        let origin = Origin::script(move |connection| {
            if connection.read_request().is_some() {
                let answer = if connection.index() == 0 {
                    answer.clone().into_bytes()
                } else {
                    ok("honest")
                };
                connection.send(answer).expect("taken");
                connection.read_to_end();
            }
        });
        let proxy = Config::to(&origin).start();
        let mut client = proxy.client();
        client.send(format!("{method} /first HTTP/1.1\r\nHost: a\r\n\r\n"));
        let response = client.read_response_to(method);
        // The surplus may come before the answer has been judged: then it is refused as a whole.
        assert!(
            response.status() == 502 || response.text() == body,
            "{first:?}: {response:?}"
        );
        if response.closes() || response.framing == Framing::UntilClose {
            client = proxy.client();
        }
        assert_eq!(client.get("/second").text(), "honest", "after {first:?}");
        assert_eq!(origin.seen().accepted, 2, "after {first:?}");
    }
}

#[test]
fn an_answer_nobody_asked_for_is_nobodys() {
    let (answered, surplus) = (Signal::new(), Signal::new());
    let (wait, raise) = (answered.clone(), surplus.clone());
    let origin = Origin::script(move |connection| {
        connection.read_request();
        connection.send(ok("honest")).expect("taken");
        if connection.index() == 0 {
            wait.wait();
            connection.send(ok("evil")).expect("taken");
            raise.raise();
            connection.read_to_end();
        } else {
            connection.read_request();
        }
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    assert_eq!(client.get("/first").text(), "honest");
    answered.raise();
    surplus.wait();
    for _ in 0..3 {
        let response = client.get("/second");
        // The proxy may meet the surplus before it asks, or find it instead of its answer.
        assert!(
            response.status() == 502 || response.text() == "honest",
            "{response:?}"
        );
        if response.closes() {
            client = proxy.client();
        }
        if response.status() == 200 {
            break;
        }
    }
}

/// A flood of answers costs its own connection, not memory.
#[test]
fn an_origin_that_floods_after_its_answer_is_cut_off() {
    let origin = Origin::script(|connection| {
        connection.read_request();
        connection.send(ok("honest")).expect("taken");
        let flood = vec![b'x'; 64 * 1024];
        while connection.send(&flood).is_ok() {}
    });
    let proxy: Proxy = Config::to(&origin).start();
    let response = proxy.get("/");
    assert!(response.status() == 502 || response.text() == "honest");
    origin.wait_until("the flood's end", |seen| seen.open == 0);
    assert!(proxy.rss_peak_bytes() < 64 * 1024 * 1024);
}
