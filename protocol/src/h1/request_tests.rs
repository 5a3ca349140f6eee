//! One claim a test; each head is fed at every split point.

use super::*;

/// Parses `head` whole, in two reads at every split point, and dripped; the verdict is the same.
fn check_every_split(head: &[u8]) -> Result<RequestHead, RequestError> {
    let limits = Limits::default();
    let mut whole = RequestHead::new();
    let verdict = whole.parse(head, &limits);
    let mut two = RequestHead::new();
    for split in 0..=head.len() {
        two.reset();
        let first = two.parse(&head[..split], &limits);
        match verdict {
            Ok(Some(n)) if split >= n => assert_eq!(first, verdict),
            Ok(_) => assert_eq!(first, Ok(None), "at {split}"),
            Err(_) => assert!(!matches!(first, Ok(Some(_))), "at {split}"),
        }
        let second = two.parse(head, &limits);
        assert_eq!(second.is_err(), verdict.is_err(), "at {split}: {second:?}");
        if verdict.is_ok() {
            assert_eq!(second, verdict, "at {split}");
            assert!(two.fields.iter(head).eq(whole.fields.iter(head)));
        }
    }
    two.reset();
    let dripped = (0..=head.len()).find_map(|end| two.parse(&head[..end], &limits).transpose());
    match verdict {
        Ok(done) => assert_eq!(dripped.transpose(), Ok(done)),
        Err(_) => assert!(matches!(dripped, Some(Err(_))), "{dripped:?}"),
    }
    verdict.map(|_| whole)
}

fn ok(head: &str) -> RequestHead {
    check_every_split(head.as_bytes()).unwrap_or_else(|error| panic!("{error}: {head:?}"))
}

fn refused(head: &str) -> RequestError {
    match check_every_split(head.as_bytes()) {
        Ok(_) => panic!("passed: {head:?}"),
        Err(error) => error,
    }
}

/// A GET with these lines after Host.
fn get(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

/// The refusal of a request with these lines after Host, and its status.
fn refused_lines(lines: &str) -> (RequestError, u16) {
    let error = refused(&get(lines));
    (error, error.status())
}

#[test]
fn a_plain_request_is_taken_apart() {
    let text =
        "GET /a/b?c=d HTTP/1.1\r\nHost: Example.com.:80\r\nX-A:  v w \r\nX-Empty:\r\n\r\nrest";
    let head = ok(text);
    let bytes = text.as_bytes();
    assert_eq!(head.method, Method::Get);
    assert_eq!(head.version, Version::H11);
    assert_eq!(head.path(bytes), b"/a/b");
    assert_eq!(head.query(bytes), Some(&b"c=d"[..]));
    assert_eq!(head.host(bytes), b"Example.com.:80");
    assert_eq!(head.host_name(bytes), b"Example.com");
    assert_eq!(head.framing, BodyFraming::None);
    assert!(head.keep_alive && !head.expect_continue && !head.te_trailers);
    let fields: Vec<_> = head.fields.iter(bytes).collect();
    assert_eq!(
        fields,
        [
            (&b"Host"[..], &b"Example.com.:80"[..]),
            (b"X-A", b"v w"),
            (b"X-Empty", b"")
        ]
    );
}

#[test]
fn the_head_ends_before_the_next_message() {
    let text = get("");
    let mut head = RequestHead::new();
    let two = format!("{text}{text}");
    assert_eq!(
        head.parse(two.as_bytes(), &Limits::default()),
        Ok(Some(text.len()))
    );
}

#[test]
fn a_head_struct_is_as_new_after_reset() {
    let mut head = RequestHead::new();
    let first = "GET /%61/../b?q HTTP/1.0\r\nConnection: upgrade, x\r\nTE: trailers\r\n\r\n";
    head.parse(first.as_bytes(), &Limits::default())
        .expect("valid");
    head.reset();
    let second = get("");
    head.parse(second.as_bytes(), &Limits::default())
        .expect("valid");
    let bytes = second.as_bytes();
    assert_eq!((head.path(bytes), head.query(bytes)), (&b"/"[..], None));
    assert!(!head.te_trailers && !head.nominates && head.keep_alive);
    assert_eq!(head.fields.len(), 1);
}

#[test]
fn bare_line_feeds_are_refused_before_the_head_is_complete() {
    let mut head = RequestHead::new();
    assert_eq!(
        head.parse(b"GET / HTTP/1.1\n", &Limits::default()),
        Err(RequestError::Line(LineError::BareLf))
    );
    for text in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost\n: a\r\n\r\n",
    ] {
        assert_eq!(refused(text), RequestError::Line(LineError::BareLf));
    }
}

#[test]
fn malformed_lines_are_refused_each_for_its_reason() {
    use LineError::*;
    for (line, why) in [
        ("X: a\rb\r\n", BareCr),
        ("X: a\r\r\n", BareCr),
        ("X: a\0b\r\n", BadValue),
        ("X: a\x0bb\r\n", BadValue),
        ("X: a\x7fb\r\n", BadValue),
        ("X: a\r\n b\r\n", LeadingSpace),
        ("X: a\r\n\tb\r\n", LeadingSpace),
        (" X: a\r\n", LeadingSpace),
        ("X : a\r\n", SpaceBeforeColon),
        ("X\t: a\r\n", SpaceBeforeColon),
        (": a\r\n", EmptyName),
        ("X\r\n", MissingColon),
        ("X\rY: a\r\n", BareCr),
        ("\rX: a\r\n", BareCr),
        ("X\u{e9}: a\r\n", BadName),
        ("X\0: a\r\n", BadName),
        ("X(: a\r\n", BadName),
        ("X/Y: a\r\n", BadName),
        ("\x0bX: a\r\n", BadName),
    ] {
        assert_eq!(
            refused_lines(line),
            (RequestError::Line(why), 400),
            "{line:?}"
        );
    }
}

#[test]
fn space_before_the_first_field_is_refused() {
    assert_eq!(
        refused("GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        RequestError::Line(LineError::LeadingSpace)
    );
}

#[test]
fn bytes_above_127_pass_in_values_and_not_in_names() {
    let text = get("X: \u{e9}\r\n");
    assert_eq!(
        ok(&text).fields.first_named(b"x", text.as_bytes()),
        Some("\u{e9}".as_bytes())
    );
}

#[test]
fn one_empty_line_before_the_request_passes_and_two_do_not() {
    ok(&format!("\r\n{}", get("")));
    refused(&format!("\r\n\r\n{}", get("")));
    refused(&format!("\n{}", get("")));
    refused(&format!("\r{}", get("")));
}

#[test]
fn malformed_request_lines_are_refused() {
    for line in [
        "GET /",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / x HTTP/1.1",
        "GET HTTP/1.1",
        "GET",
        "",
        "G\u{e9}T / HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1,1",
        "GET / HTTP/11",
        "GET / HTTP/x.1",
        "GET / HTTP/ 1.1",
        "GET /\0 HTTP/1.1",
        "GET /\r HTTP/1.1",
        "HTTP/1.1 200 OK",
    ] {
        let error = refused(&format!("{line}\r\nHost: a\r\n\r\n"));
        assert_eq!(error.status(), 400, "{line:?}");
    }
}

#[test]
fn other_versions_are_505() {
    for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9"] {
        let error = refused(&format!("GET / {version}\r\nHost: a\r\n\r\n"));
        assert_eq!(error.status(), 505);
    }
}

#[test]
fn an_overlong_target_is_414_even_before_its_line_ends() {
    let limits = Limits::default();
    let mut head = RequestHead::new();
    let line = format!("GET /{}", "a".repeat(limits.target_bytes + 200));
    assert_eq!(
        head.parse(line.as_bytes(), &limits).map_err(|e| e.status()),
        Err(414)
    );
    head.reset();
    let text = format!(
        "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
        "a".repeat(limits.target_bytes)
    );
    assert_eq!(
        head.parse(text.as_bytes(), &limits),
        Err(RequestError::TargetTooLong)
    );
    head.reset();
    let text = text.replacen("/a", "/", 1);
    assert!(head.parse(text.as_bytes(), &limits).is_ok());
}

#[test]
fn a_head_over_its_limits_is_431() {
    let limits = Limits {
        head_bytes: 64,
        fields: 2,
        target_bytes: 20,
    };
    let parse = |text: &str| {
        RequestHead::new()
            .parse(text.as_bytes(), &limits)
            .map_err(|error| error.status())
    };
    assert_eq!(parse(&get(&format!("X: {}", "a".repeat(40)))), Err(431));
    assert_eq!(parse(&get("X: a\r\nY: b\r\n")), Err(431));
    assert_eq!(parse(&get("X: a\r\n")), Ok(Some(33)));
    // Exactly at the limit it passes.
    let text = get(&format!("X: {}\r\n", "a".repeat(32)));
    assert_eq!((text.len(), parse(&text)), (64, Ok(Some(64))));
    let text = get(&format!("X: {}\r\n", "a".repeat(33)));
    assert_eq!((text.len(), parse(&text)), (65, Err(431)));
}

#[test]
fn a_tls_hello_on_a_plain_port_is_refused_at_its_first_byte() {
    assert!(
        RequestHead::new()
            .parse(b"\x16", &Limits::default())
            .is_err()
    );
}

#[test]
fn content_length_with_transfer_encoding_is_refused() {
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    ] {
        assert_eq!(
            refused_lines(lines),
            (RequestError::Framing(FramingError::BothLengths), 400)
        );
    }
}

#[test]
fn transfer_encoding_other_than_one_chunked_is_refused() {
    for (value, status) in [
        ("x, chunked", 501),
        ("gzip,chunked", 501),
        ("gzip, deflate, chunked", 501),
        ("chunked, chunked", 400),
        ("chunked, x", 400),
        ("x chunked", 400),
        ("\tchunked", 400),
        ("chunked\t", 400),
        (" \t chunked", 400),
        ("\x0bchunked", 400),
        ("\u{a0}chunked", 400),
        ("\"chunked\"", 400),
        ("'chunked'", 400),
        ("identity", 400),
        ("identity, chunked", 400),
        ("gzip", 400),
        ("chunked;q=1", 400),
        ("chunk", 400),
        ("xchunked", 400),
        ("chunked,", 400),
        (",chunked", 400),
        ("", 400),
        ("chunked\r\nTransfer-Encoding: chunked", 400),
        ("chunked\r\nTransfer-Encoding: identity", 400),
        ("x\r\nTransfer-Encoding: chunked", 400),
        ("\r\n chunked", 400),
    ] {
        let (error, got) = refused_lines(&format!("Transfer-Encoding: {value}\r\n"));
        assert_eq!(got, status, "{value:?}: {error}");
    }
}

#[test]
fn chunked_passes_in_any_case() {
    for value in ["chunked", "Chunked", "CHUNKED", "  chunked  "] {
        let text = get(&format!("transfer-encoding: {value}\r\n"));
        assert_eq!(ok(&text).framing, BodyFraming::Chunked);
    }
}

#[test]
fn transfer_encoding_in_http_1_0_is_refused() {
    assert_eq!(
        refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        RequestError::Framing(FramingError::TransferEncodingInHttp10)
    );
}

#[test]
fn content_length_other_than_one_number_is_refused() {
    for value in [
        "5\r\nContent-Length: 5",
        "5\r\nContent-Length: 6",
        "5, 5",
        "5,6",
        "",
        "+5",
        "-5",
        "0x5",
        "5_0",
        "5 0",
        "5.0",
        "5;",
        "\"5\"",
        "\u{665}",
        "18446744073709551616",
        "99999999999999999999999",
        "\t5",
    ] {
        let (_, status) = refused_lines(&format!("Content-Length: {value}\r\n"));
        assert_eq!(status, 400, "{value:?}");
    }
    let text = get("Content-Length: 18446744073709551615\r\n");
    assert_eq!(ok(&text).framing, BodyFraming::Length(u64::MAX));
}

#[test]
fn host_is_there_once_and_valid() {
    assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), RequestError::HostMissing);
    for lines in ["Host: a\r\n", "host: b\r\n"] {
        assert_eq!(refused_lines(lines).0, RequestError::DuplicateHost);
    }
    for host in ["", "a b", "a/b", "u@a", "a:b", "a,b", "[::1"] {
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(refused(&text), RequestError::Host);
    }
}

#[test]
fn http_1_0_may_lack_host_and_closes_unless_asked() {
    let text = "GET / HTTP/1.0\r\n\r\n";
    let head = ok(text);
    assert!(!head.keep_alive);
    assert_eq!(head.host(text.as_bytes()), b"");
    assert!(ok("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
    assert!(!ok("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n").keep_alive);
    refused("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n");
}

#[test]
fn an_absolute_target_has_to_agree_with_host() {
    for (target, path) in [
        ("http://a/x?y", "/x"),
        ("HTTP://A/x?y", "/x"),
        ("https://a/x?y", "/x"),
        ("http://a?y", "/"),
        ("http://a//x/../?y", "/"),
    ] {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = ok(&text);
        assert_eq!(head.path(text.as_bytes()), path.as_bytes());
        assert_eq!(head.query(text.as_bytes()), Some(&b"y"[..]));
    }
    for target in ["http://b/", "http://a:80/", "http://a./"] {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(refused(&text), RequestError::HostMismatch);
    }
    let text = "GET http://a:8080 HTTP/1.0\r\n\r\n";
    let head = ok(text);
    assert_eq!(head.host(text.as_bytes()), b"a:8080");
    assert_eq!(head.path(text.as_bytes()), b"/");
}

#[test]
fn other_target_forms_are_refused() {
    for target in [
        "a",
        "a:80",
        "*",
        "ftp://a/",
        "http:/a/",
        "http://",
        "http:///x",
        "http://u@a/",
        "http://u:p@a/",
        "//a:b@c",
        "/a#b",
        "/?a#b",
        "http://a/#b",
        "http://a#b",
        "/a\\b",
        "/a\"b",
        "/<a>",
        "/a^b",
        "/a`b",
        "/a{b}",
        "/a|b",
        "/?a\"b",
        "/?a<b",
        "/?a\\b",
        "/?a^b",
        "/\u{e9}",
        "/?\u{e9}",
        "/a\x7f",
        "/?\x01",
        "?a",
    ] {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        if target == "//a:b@c" {
            // A path, merged: nothing reads an authority out of it.
            assert_eq!(ok(&text).path(text.as_bytes()), b"/a:b@c");
            continue;
        }
        assert_eq!(refused(&text).status(), 400, "{target:?}");
    }
}

#[test]
fn queries_may_hold_what_browsers_send_unescaped() {
    let text = "GET /?a[]={b}|c%zz'? HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(
        ok(text).query(text.as_bytes()),
        Some(&b"a[]={b}|c%zz'?"[..])
    );
}

#[test]
fn the_path_that_routes_is_normal() {
    for (sent, path) in [
        ("/a/./b/../c", "/a/c"),
        ("//a", "/a"),
        ("/%61%2f%3a", "/a%2F%3A"),
        ("/a/%2e%2e/b", "/b"),
    ] {
        let text = format!("GET {sent} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(ok(&text).path(text.as_bytes()), path.as_bytes());
    }
    for sent in ["/../a", "/%00", "/%", "/a/..;/b", "/a/..%2fb"] {
        let text = format!("GET {sent} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(refused(&text).status(), 400);
    }
}

#[test]
fn the_asterisk_is_for_options_only() {
    let text = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(ok(text).path(text.as_bytes()), b"*");
    let text = "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(ok(text).path(text.as_bytes()), b"*");
    refused("OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n");
    refused("OPTIONS *?a HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn connect_is_off() {
    let error = refused("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
    assert_eq!((error, error.status()), (RequestError::Connect, 405));
}

#[test]
fn unknown_methods_keep_their_bytes() {
    for method in ["PROPFIND", "get", "M-SEARCH"] {
        let text = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = ok(&text);
        assert_eq!(head.method, Method::Other);
        assert_eq!(head.method_bytes(text.as_bytes()), method.as_bytes());
    }
    let text = format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(65));
    assert_eq!(refused(&text), RequestError::Method);
}

#[test]
fn expectations_other_than_100_continue_are_417() {
    assert_eq!(refused_lines("Expect: 200-ok\r\n").1, 417);
    assert_eq!(refused_lines("Expect: 100-continue, x\r\n").1, 417);
    assert_eq!(refused_lines("Expect:\r\n").1, 417);
    let text = get("Expect: 100-Continue\r\nContent-Length: 5\r\n");
    let head = ok(&text);
    assert!(head.expect_continue && head.fields.has(FieldId::Expect));
}

#[test]
fn expect_is_dropped_where_nobody_waits() {
    for text in [
        get("Expect: 100-continue\r\n"),
        "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n".to_owned(),
    ] {
        let head = ok(&text);
        assert!(!head.expect_continue && !head.fields.has(FieldId::Expect));
    }
}

#[test]
fn connection_options_are_read_over_every_line() {
    let head = ok(&get("Connection: x\r\nConnection: keep-alive , CLOSE\r\n"));
    assert!(!head.keep_alive && head.nominates);
    assert!(ok(&get("Connection: , ,\r\n")).keep_alive);
    assert_eq!(
        refused_lines("Connection: a b\r\n").0,
        RequestError::Connection
    );
    let many = "a,".repeat(33);
    assert_eq!(
        refused_lines(&format!("Connection: {many}\r\n")).0,
        RequestError::Connection
    );
}

#[test]
fn connection_specific_fields_are_never_kept() {
    let text = get(
        "Connection: x\r\nKeep-Alive: 1\r\nProxy-Connection: a\r\nProxy-Authenticate: a\r\n\
         Proxy-Authorization: a\r\nTE: trailers, gzip\r\nTrailer: a\r\nTrailers: a\r\nUpgrade: a\r\n\
         Content-Length: 1\r\nContent_Length: 2\r\nHTTP2-Settings: a\r\n",
    );
    let head = ok(&text);
    assert_eq!(head.fields.len(), 1);
    assert!(head.te_trailers);
}

#[test]
fn upgrades_are_seen_when_connection_names_them() {
    let upgrade = |lines: &str| ok(&get(lines)).upgrade;
    let text = get("Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n");
    let head = ok(&text);
    assert_eq!(head.upgrade, Upgrade::Websocket);
    assert_eq!(head.upgrade_protocol(text.as_bytes()), b"WebSocket");
    assert_eq!(
        upgrade("Connection: upgrade\r\nUpgrade: foo/2\r\n"),
        Upgrade::Other
    );
    for lines in [
        "Upgrade: websocket\r\n",
        "Connection: upgrade\r\n",
        "Connection: upgrade\r\nUpgrade: h2c\r\n",
        "Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\n",
        "Connection: upgrade\r\nUpgrade: HTTP/2.0\r\n",
        "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
        "Connection: upgrade\r\nUpgrade: a b\r\n",
        "Connection: upgrade\r\nUpgrade:\r\n",
    ] {
        assert_eq!(upgrade(lines), Upgrade::None, "{lines:?}");
    }
    let post = "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(ok(post).upgrade, Upgrade::None);
    let old = "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(ok(old).upgrade, Upgrade::None);
}

#[test]
fn errors_stay_once_they_are_there() {
    let mut head = RequestHead::new();
    let limits = Limits::default();
    let error = head.parse(b"GET / HTTP/1.1\n", &limits);
    assert_eq!(head.parse(get("").as_bytes(), &limits), error);
}

/// A head of 64 KiB dripped byte by byte: each byte is looked at a bounded number of times.
#[test]
fn a_dripped_head_costs_linear_work() {
    let limits = Limits::default();
    let text = get(&format!("X: {}\r\n", "a".repeat(60_000)));
    let mut head = RequestHead::new();
    for end in 0..text.len() {
        assert_eq!(head.parse(&text.as_bytes()[..end], &limits), Ok(None));
    }
    assert_eq!(head.parse(text.as_bytes(), &limits), Ok(Some(text.len())));
}
