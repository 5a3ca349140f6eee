//! One claim a test; each head is fed at every split point.

use super::*;

fn check_every_split(head: &[u8], method: Method) -> Result<ResponseHead, ResponseError> {
    let limits = Limits::default();
    let mut whole = ResponseHead::new();
    let verdict = whole.parse(head, method, &limits);
    let mut two = ResponseHead::new();
    for split in 0..=head.len() {
        two.reset();
        let first = two.parse(&head[..split], method, &limits);
        match verdict {
            Ok(Some(n)) if split >= n => assert_eq!(first, verdict),
            Ok(_) => assert_eq!(first, Ok(None), "at {split}"),
            Err(_) => assert!(!matches!(first, Ok(Some(_))), "at {split}"),
        }
        let second = two.parse(head, method, &limits);
        assert_eq!(second.is_err(), verdict.is_err(), "at {split}: {second:?}");
        if verdict.is_ok() {
            assert_eq!(second, verdict, "at {split}");
        }
    }
    verdict.map(|_| whole)
}

fn ok(head: &str) -> ResponseHead {
    check_every_split(head.as_bytes(), Method::Get)
        .unwrap_or_else(|error| panic!("{error}: {head:?}"))
}

fn refused(head: &str) -> ResponseError {
    match check_every_split(head.as_bytes(), Method::Get) {
        Ok(_) => panic!("passed: {head:?}"),
        Err(error) => error,
    }
}

fn lines(lines: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{lines}\r\n")
}

#[test]
fn a_plain_response_is_taken_apart() {
    let text = lines("Content-Length: 5\r\nKeep-Alive: timeout=7, max=100\r\nX: y\r\n");
    let head = ok(&text);
    assert_eq!((head.status, head.version), (200, Version::H11));
    assert_eq!(head.framing, BodyFraming::Length(5));
    assert_eq!(head.keep_alive_timeout, Some(7));
    assert!(head.keep_alive && !head.has_date());
    assert_eq!(head.reason_phrase(text.as_bytes()), b"OK");
    let fields: Vec<_> = head.fields.iter(text.as_bytes()).collect();
    assert_eq!(fields, [(&b"X"[..], &b"y"[..])]);
}

#[test]
fn the_reason_phrase_may_be_missing() {
    for text in ["HTTP/1.1 200 \r\n\r\n", "HTTP/1.1 200\r\n\r\n"] {
        assert_eq!(ok(text).reason_phrase(text.as_bytes()), b"");
    }
}

#[test]
fn bad_status_lines_are_refused() {
    for line in [
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1 20",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 2 0 OK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1 200OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\rK",
        "HTTP/1.1 200 O\x0bK",
        "HTTP/0.9 200 OK",
        "HTTP/1.2 200 OK",
        "HTTP/2.0 200 OK",
        "http/1.1 200 OK",
        "ICY 200 OK",
        " HTTP/1.1 200 OK",
        "",
        "HTTP/1.1 000 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 600 OK",
        "HTTP/1.1 999 OK",
    ] {
        refused(&format!("{line}\r\nContent-Length: 0\r\n\r\n"));
    }
}

#[test]
fn an_answer_of_http_0_9_is_refused_at_its_first_bytes() {
    let mut head = ResponseHead::new();
    assert_eq!(
        head.parse(b"<html>", Method::Get, &Limits::default()),
        Err(ResponseError::Version)
    );
}

#[test]
fn ambiguous_lengths_are_refused() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length:\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\tchunked\r\n",
    ] {
        assert!(matches!(refused(&lines(fields)), ResponseError::Framing(_)));
    }
    refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    // Also where no body would follow: another reader may not know that.
    refused("HTTP/1.1 304 x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n");
}

#[test]
fn malformed_lines_are_refused() {
    for bad in [
        "X: a\n",
        "X: a\0\r\n",
        "X : a\r\n",
        " X: a\r\n",
        "X\r\n",
        ": a\r\n",
        "X: a\r\n b\r\n",
        "X: a\rb\r\n",
        "Connection: a b\r\n",
    ] {
        refused(&lines(bad));
    }
}

#[test]
fn head_204_304_and_1xx_have_no_body() {
    let text = lines("Content-Length: 5\r\n");
    let head = check_every_split(text.as_bytes(), Method::Head).expect("valid");
    assert_eq!(head.framing, BodyFraming::None);
    assert_eq!(head.content_length, Some(5));
    assert!(head.keep_alive);
    for status in [100, 103, 204, 304] {
        let head = ok(&format!("HTTP/1.1 {status} x\r\n\r\n"));
        assert_eq!(head.framing, BodyFraming::None);
        assert!(head.keep_alive);
    }
    assert!(ok("HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n").keep_alive);
}

#[test]
fn a_204_that_announces_a_body_is_not_reused() {
    for fields in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
        let head = ok(&format!("HTTP/1.1 204 x\r\n{fields}\r\n"));
        assert_eq!(head.framing, BodyFraming::None);
        assert!(!head.keep_alive);
    }
    assert!(ok("HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n").keep_alive);
}

#[test]
fn a_101_names_its_protocol_and_has_no_body() {
    let text = "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let head = ok(text);
    assert!(head.upgrade);
    assert_eq!(head.framing, BodyFraming::None);
    assert_eq!(head.upgrade_protocol(text.as_bytes()), b"websocket");
    assert!(!ok("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n").upgrade);
    refused("HTTP/1.1 101 x\r\nContent-Length: 5\r\n\r\n");
}

#[test]
fn a_body_without_length_ends_with_the_connection() {
    let head = ok(&lines("Connection: keep-alive\r\n"));
    assert_eq!(head.framing, BodyFraming::UntilClose);
    assert!(!head.keep_alive);
}

#[test]
fn reuse_is_as_version_and_connection_say() {
    assert!(!ok(&lines("Content-Length: 0\r\nConnection: close\r\n")).keep_alive);
    assert!(!ok("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").keep_alive);
    assert!(
        ok("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n").keep_alive
    );
}

#[test]
fn keep_alive_timeouts_are_numbers() {
    for (value, wanted) in [
        ("timeout=5", Some(5)),
        ("max=1, Timeout=60", Some(60)),
        ("timeout=99999999999", Some(u32::MAX)),
        ("timeout=-1", None),
        ("timeout=", None),
        ("timeout", None),
        ("x", None),
    ] {
        let head = ok(&lines(&format!("Keep-Alive: {value}\r\n")));
        assert_eq!(head.keep_alive_timeout, wanted, "{value}");
    }
}

#[test]
fn heads_of_origins_are_bounded() {
    let limits = Limits {
        head_bytes: 64,
        fields: 2,
        target_bytes: 0,
    };
    let parse = |text: &str| ResponseHead::new().parse(text.as_bytes(), Method::Get, &limits);
    assert_eq!(
        parse(&lines("A: a\r\nB: b\r\nC: c\r\n")),
        Err(ResponseError::Line(LineError::TooManyFields))
    );
    let long = format!("HTTP/1.1 200 {}", "a".repeat(64));
    assert_eq!(
        parse(&long),
        Err(ResponseError::Line(LineError::HeadTooLarge))
    );
}
