//! Bytes from clients that two parsers could read in two ways.
//!
//! Each case has a connection of its own, must be answered by one of the statuses named, and must be closed after that.
//! Nothing of it may reach the origin.

use ringway_tests::client::get;
use ringway_tests::origin::{ReservedPort, ok};
use ringway_tests::{Config, Origin, Proxy};

/// What is sent, and the statuses that may answer it.
struct Case {
    name: String,
    bytes: Vec<u8>,
    statuses: &'static [u16],
}

fn case(name: impl Into<String>, bytes: impl Into<Vec<u8>>, statuses: &'static [u16]) -> Case {
    Case {
        name: name.into(),
        bytes: bytes.into(),
        statuses,
    }
}

/// A POST with these field lines, whose terminators are written out, and this body.
fn with_fields(fields: &[u8], body: &[u8]) -> Vec<u8> {
    [
        b"POST /attack HTTP/1.1\r\nHost: site.example\r\n",
        fields,
        b"\r\n",
        body,
    ]
    .concat()
}

/// Says what is wrong with the answer to `case`, if anything.
fn verdict(proxy: &Proxy, case: &Case) -> Option<String> {
    let mut client = proxy.client();
    client.send_what_is_taken(&case.bytes);
    let response = match client.try_response() {
        Ok(response) => response,
        Err(failure) => return Some(format!("{}: no answer: {failure}", case.name)),
    };
    let status = response.status();
    if !case.statuses.contains(&status) {
        return Some(format!(
            "{}: {status} instead of {:?}",
            case.name, case.statuses
        ));
    }
    if let Some(failure) = response.failure {
        return Some(format!("{}: its answer ends with {failure}", case.name));
    }
    match client.wire().read_to_end() {
        Ok(rest) if rest.is_empty() => None,
        Err(ringway_tests::wire::WireError::Reset) => None,
        Ok(rest) => Some(format!(
            "{}: {:?} after the answer",
            case.name,
            String::from_utf8_lossy(&rest)
        )),
        Err(failure) => Some(format!("{}: not closed: {failure}", case.name)),
    }
}

/// Tries every case against one proxy whose origin must never hear of any; says all that is wrong at once.
fn assert_refused(config: impl FnOnce(Config) -> Config, cases: &[Case]) {
    let origin = Origin::answering(ok("reached the origin"));
    let proxy = config(Config::to(&origin)).start();
    let mut wrong = Vec::new();
    let mut reached = 0;
    for case in cases {
        wrong.extend(verdict(&proxy, case));
        let seen = origin.seen();
        let now = seen.accepted + seen.requests.len() + seen.broken_off.len();
        if now > reached {
            wrong.push(format!("{}: something reached the origin", case.name));
            reached = now;
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    assert_eq!(
        proxy.get("/").status(),
        200,
        "an honest request is served after all of that"
    );
}

/// Tries every case against one proxy whose origin must never see one to its end; says all that is wrong at once.
fn assert_broken_off(cases: &[Case]) {
    let origin = Origin::answering(ok("reached the origin"));
    let proxy = Config::to(&origin).start();
    let wrong: Vec<_> = cases
        .iter()
        .filter_map(|case| verdict(&proxy, case))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    // The origin's own reader fails on bytes that are no request; what is left are requests that ended as if whole.
    proxy.wait_until_idle();
    let seen = origin.seen();
    assert!(
        seen.requests.is_empty(),
        "the origin took as whole: {:?}",
        seen.requests
    );
}

fn same(config: Config) -> Config {
    config
}

#[test]
fn a_body_of_two_lengths_is_refused() {
    let chunks = b"0\r\n\r\n";
    let cases = [
        case("length, then coding", with_fields(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", chunks), &[400]),
        case("coding, then length", with_fields(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", chunks), &[400]),
        case("length 0 and coding", with_fields(b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", chunks), &[400]),
        case("equal lengths", with_fields(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"), &[400]),
        case("different lengths", with_fields(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!"), &[400]),
        case("a list of lengths", with_fields(b"Content-Length: 5, 5\r\n", b"hello"), &[400]),
        case("a list without spaces", with_fields(b"Content-Length: 5,6\r\n", b"hello!"), &[400]),
        case(
            "a GET with both",
            &b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"[..],
            &[400],
        ),
    ];
    assert_refused(same, &cases);
}

#[test]
fn a_length_that_is_not_plain_digits_is_refused() {
    let mut values: Vec<&[u8]> = vec![
        b"",
        b"+5",
        b"-5",
        b"-0",
        b"0x5",
        b"5_0",
        b"5 5",
        b"5;",
        b"5.0",
        b"5e0",
        b"a",
        b"5a",
        b"\"5\"",
        b"\x0b5",
        b"5\x0b",
        b"5\xa0",
        b"\xd9\xa5",
        b"5\x00",
    ];
    values.push(b"18446744073709551616");
    values.push(b"99999999999999999999999999");
    let cases: Vec<_> = values
        .iter()
        .map(|value| {
            let fields = [b"Content-Length: ", *value, b"\r\n"].concat();
            case(
                format!("content-length {:?}", value.escape_ascii().to_string()),
                with_fields(&fields, b"hello"),
                &[400],
            )
        })
        .collect();
    assert_refused(same, &cases);
}

#[test]
fn a_transfer_coding_other_than_one_chunked_is_refused() {
    const REFUSED: &[u16] = &[400, 501];
    let values: [&[u8]; 21] = [
        b"",
        b"chunked, chunked",
        b"chunked,",
        b",chunked",
        b"x, chunked",
        b"gzip, chunked",
        b"gzip",
        b"identity",
        b"chunked, identity",
        b"identity, chunked",
        b"\tchunked",
        b"chunked\t",
        b"\x0bchunked",
        b"chunked\x0b",
        b"\x0cchunked",
        b"chunked\xa0",
        b"\"chunked\"",
        b"xchunked",
        b"chunkedx",
        b"chunked;q=1",
        b"chun ked",
    ];
    let mut cases: Vec<_> = values
        .iter()
        .map(|value| {
            let fields = [b"Transfer-Encoding: ", *value, b"\r\n"].concat();
            let name = format!("transfer-encoding {:?}", value.escape_ascii().to_string());
            case(name, with_fields(&fields, b"0\r\n\r\n"), REFUSED)
        })
        .collect();
    for second in ["chunked", "identity", "gzip", ""] {
        for (first, last) in [("chunked", second), (second, "chunked")] {
            let fields = format!("Transfer-Encoding: {first}\r\nTransfer-Encoding: {last}\r\n");
            cases.push(case(
                format!("transfer-encoding {first:?} and {last:?}"),
                with_fields(fields.as_bytes(), b"0\r\n\r\n"),
                REFUSED,
            ));
        }
    }
    cases.push(case(
        "transfer-encoding in 1.0",
        &b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"[..],
        &[400],
    ));
    cases.push(case(
        "an unknown coding",
        with_fields(b"Transfer-Encoding: x, chunked\r\n", b"0\r\n\r\n"),
        &[501],
    ));
    assert_refused(same, &cases);
}

#[test]
fn a_line_that_is_not_a_field_is_refused() {
    let lines: [(&str, &[u8]); 24] = [
        ("bare LF after a field", b"X-A: b\nX-C: d\r\n"),
        ("bare CR inside a value", b"X-A: b\rX-C: d\r\n"),
        ("CR CR LF", b"X-A: b\r\r\n"),
        ("NUL in a value", b"X-A: b\x00c\r\n"),
        ("NUL in a name", b"X\x00A: b\r\n"),
        ("a folded line", b"X-A: b\r\n folded\r\n"),
        ("a line folded by a tab", b"X-A: b\r\n\tfolded\r\n"),
        ("space before the colon", b"X-A : b\r\n"),
        ("tab before the colon", b"X-A\t: b\r\n"),
        (
            "space before the colon of a length",
            b"Content-Length : 5\r\n",
        ),
        ("an empty name", b": b\r\n"),
        ("no colon", b"garbage\r\n"),
        ("only spaces", b"   \r\n"),
        ("a space inside the name", b"X A: b\r\n"),
        ("a name with a byte above 127", b"X-\xe9: b\r\n"),
        ("a name with a parenthesis", b"X(A): b\r\n"),
        ("a name with an at sign", b"X@A: b\r\n"),
        ("a name with a control byte", b"X\x01A: b\r\n"),
        ("a control byte in a value", b"X-A: b\x01c\r\n"),
        ("an escape in a value", b"X-A: \x1b[0m\r\n"),
        ("a vertical tab in a value", b"X-A: b\x0bc\r\n"),
        ("a form feed in a value", b"X-A: b\x0cc\r\n"),
        ("DEL in a value", b"X-A: b\x7fc\r\n"),
        (
            "a coding whose name is bent",
            b"Transfer-Encoding\x0b: chunked\r\n",
        ),
    ];
    let mut cases: Vec<_> = lines
        .iter()
        .map(|(name, line)| case(*name, with_fields(line, b""), &[400]))
        .collect();
    cases.extend([
        case(
            "bare LF after the request line",
            &b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..],
            &[400],
        ),
        case(
            "a head of bare LF",
            &b"GET / HTTP/1.1\nHost: a\n\n"[..],
            &[400],
        ),
        case(
            "bare LF as the last line",
            &b"GET / HTTP/1.1\r\nHost: a\r\n\n"[..],
            &[400],
        ),
        case(
            "space before the first field",
            &b"GET / HTTP/1.1\r\n Host: a\r\nHost: b\r\n\r\n"[..],
            &[400],
        ),
        case(
            "tab before the first field",
            &b"GET / HTTP/1.1\r\n\tHost: a\r\nHost: b\r\n\r\n"[..],
            &[400],
        ),
        case(
            "two empty lines first",
            &b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            &[400],
        ),
        case(
            "a bare LF first",
            &b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            &[400],
        ),
        case(
            "a bare CR first",
            &b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            &[400],
        ),
    ]);
    assert_refused(same, &cases);
}

#[test]
fn a_bent_request_line_is_refused() {
    let lines: [(&str, &[u8], &'static [u16]); 47] = [
        ("two spaces before the target", b"GET  / HTTP/1.1", &[400]),
        ("two spaces before the version", b"GET /  HTTP/1.1", &[400]),
        ("a tab", b"GET\t/ HTTP/1.1", &[400]),
        ("a tab before the version", b"GET /\tHTTP/1.1", &[400]),
        ("a leading space", b" GET / HTTP/1.1", &[400]),
        ("a trailing space", b"GET / HTTP/1.1 ", &[400, 505]),
        ("a space in the target", b"GET /a b HTTP/1.1", &[400, 505]),
        ("no target", b"GET HTTP/1.1", &[400]),
        ("an empty target", b"GET  HTTP/1.1", &[400]),
        ("no method", b"/ HTTP/1.1", &[400]),
        ("a method that is no token", b"G@T / HTTP/1.1", &[400]),
        (
            "a method with a byte above 127",
            b"G\xc9T / HTTP/1.1",
            &[400],
        ),
        ("a method with NUL", b"G\x00T / HTTP/1.1", &[400]),
        ("a method with a colon", b"GET: / HTTP/1.1", &[400]),
        ("version 1.2", b"GET / HTTP/1.2", &[505]),
        ("version 2.0", b"GET / HTTP/2.0", &[505]),
        ("version 3", b"GET / HTTP/3", &[400, 505]),
        ("version 0.9", b"GET / HTTP/0.9", &[505]),
        ("version 1.10", b"GET / HTTP/1.10", &[400, 505]),
        ("version 1.", b"GET / HTTP/1.", &[400, 505]),
        ("version 1", b"GET / HTTP/1", &[400, 505]),
        ("version 11", b"GET / HTTP/11", &[400, 505]),
        ("version 1,1", b"GET / HTTP/1,1", &[400, 505]),
        ("version -1.1", b"GET / HTTP/-1.1", &[400, 505]),
        ("version 01.1", b"GET / HTTP/01.1", &[400, 505]),
        ("version in lower case", b"GET / http/1.1", &[400, 505]),
        ("another protocol", b"GET / ICAP/1.0", &[400, 505]),
        ("bytes after the version", b"GET / HTTP/1.1x", &[400, 505]),
        ("no version", b"GET /", &[400, 505]),
        (
            "a vertical tab before the version",
            b"GET /\x0bHTTP/1.1",
            &[400],
        ),
        ("a fragment", b"GET /a#b HTTP/1.1", &[400]),
        (
            "userinfo",
            b"GET http://user:pw@site.example/ HTTP/1.1",
            &[400],
        ),
        (
            "userinfo without password",
            b"GET http://user@site.example/ HTTP/1.1",
            &[400],
        ),
        ("absolute without host", b"GET http:///a HTTP/1.1", &[400]),
        (
            "absolute against Host",
            b"GET http://other.example/ HTTP/1.1",
            &[400],
        ),
        (
            "another scheme",
            b"GET ftp://site.example/ HTTP/1.1",
            &[400],
        ),
        ("no leading slash", b"GET a/b HTTP/1.1", &[400]),
        ("a relative dot", b"GET ../a HTTP/1.1", &[400]),
        ("an asterisk for GET", b"GET * HTTP/1.1", &[400]),
        (
            "an authority for GET",
            b"GET site.example:80 HTTP/1.1",
            &[400],
        ),
        (
            "a byte above 127 in the target",
            b"GET /\xe9 HTTP/1.1",
            &[400],
        ),
        (
            "a control byte in the target",
            b"GET /\x01 HTTP/1.1",
            &[400],
        ),
        ("DEL in the target", b"GET /\x7f HTTP/1.1", &[400]),
        ("NUL in the target", b"GET /\x00 HTTP/1.1", &[400]),
        ("an encoded NUL in the path", b"GET /%00 HTTP/1.1", &[400]),
        (
            "CONNECT",
            b"CONNECT site.example:443 HTTP/1.1",
            &[400, 405, 501],
        ),
        (
            "CONNECT for a path",
            b"CONNECT / HTTP/1.1",
            &[400, 405, 501],
        ),
    ];
    let mut cases: Vec<_> = lines
        .iter()
        .map(|(name, line, statuses)| {
            case(
                *name,
                [line, &b"\r\nHost: site.example\r\n\r\n"[..]].concat(),
                statuses,
            )
        })
        .collect();
    cases.push(case(
        "HTTP/2 by prior knowledge",
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &[400, 505],
    ));
    cases.push(case(
        "TLS",
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        &[400],
    ));
    cases.push(case(
        "garbage",
        [vec![0xff; 300], b"\r\n\r\n".to_vec()].concat(),
        &[400],
    ));
    assert_refused(same, &cases);
}

#[test]
fn percent_signs_that_encode_nothing_are_refused() {
    let cases: Vec<_> = ["/%", "/%2", "/%zz", "/a%2gb", "/%%20", "/%u0041"]
        .iter()
        .map(|path| case(*path, get(path), &[400]))
        .collect();
    assert_refused(same, &cases);
}

#[test]
fn a_host_that_is_missing_double_or_invalid_is_refused() {
    let fields: [(&str, &[u8]); 17] = [
        ("missing", b""),
        (
            "twice, different",
            b"Host: a.example\r\nHost: b.example\r\n",
        ),
        ("twice, equal", b"Host: a.example\r\nHost: a.example\r\n"),
        ("a list", b"Host: a.example, b.example\r\n"),
        ("a space", b"Host: a b\r\n"),
        ("a tab", b"Host: a\tb\r\n"),
        ("a path", b"Host: a.example/b\r\n"),
        ("a query", b"Host: a.example?b\r\n"),
        ("a fragment", b"Host: a.example#b\r\n"),
        ("userinfo", b"Host: user@a.example\r\n"),
        ("two ports", b"Host: a.example:80:80\r\n"),
        ("a port that is no number", b"Host: a.example:http\r\n"),
        ("a port too large", b"Host: a.example:65536\r\n"),
        ("a bracket without end", b"Host: [::1\r\n"),
        ("no address in brackets", b"Host: [zz]\r\n"),
        ("a byte above 127", b"Host: \xe9.example\r\n"),
        ("a backslash", b"Host: a\\b\r\n"),
    ];
    let cases: Vec<_> = fields
        .iter()
        .map(|(name, fields)| {
            case(
                *name,
                [b"GET / HTTP/1.1\r\n", *fields, b"\r\n"].concat(),
                &[400],
            )
        })
        .collect();
    assert_refused(same, &cases);
}

#[test]
fn what_is_too_large_is_refused_by_its_own_status() {
    let long = "x".repeat(9000);
    let many: String = (0..150)
        .map(|number| format!("X-{number}: 1\r\n"))
        .collect();
    let cases = [
        case("a target too long", get(&format!("/{long}")), &[414]),
        case("a query too long", get(&format!("/?{long}")), &[414]),
        case(
            "a target without end",
            format!("GET /{}", "x".repeat(100_000)),
            &[414, 431],
        ),
        case(
            "a field too large",
            with_fields(format!("X-A: {}\r\n", "x".repeat(70_000)).as_bytes(), b""),
            &[431],
        ),
        case(
            "a field without end",
            format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {}", "x".repeat(100_000)),
            &[431],
        ),
        case("too many fields", with_fields(many.as_bytes(), b""), &[431]),
        case(
            "a method without end",
            "x".repeat(100_000),
            &[400, 414, 431, 501],
        ),
        case(
            "an expectation nobody knows",
            with_fields(b"Expect: 200-ok\r\nContent-Length: 1\r\n", b"x"),
            &[417],
        ),
        case(
            "two expectations",
            with_fields(b"Expect: 100-continue, x\r\nContent-Length: 1\r\n", b"x"),
            &[417],
        ),
    ];
    assert_refused(same, &cases);
}

#[test]
fn bad_chunking_is_refused_and_its_request_never_whole() {
    let long_prefix = format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(300));
    let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(20_000));
    let many_trailers: String = (0..200)
        .map(|number| format!("X-{number}: 1\r\n"))
        .collect();
    let many_trailers = format!("0\r\n{many_trailers}\r\n");
    let large_trailer = format!("0\r\nX-A: {}\r\n\r\n", "x".repeat(100_000));
    let bodies: [(&str, &[u8], &'static [u16]); 43] = [
        ("an empty size", b"\r\nhello\r\n0\r\n\r\n", &[400]),
        ("a size with plus", b"+5\r\nhello\r\n0\r\n\r\n", &[400]),
        ("a size with minus", b"-5\r\nhello\r\n0\r\n\r\n", &[400]),
        ("a size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n", &[400]),
        ("a size after a space", b" 5\r\nhello\r\n0\r\n\r\n", &[400]),
        ("a size before a space", b"5 \r\nhello\r\n0\r\n\r\n", &[400]),
        ("a size before a tab", b"5\t\r\nhello\r\n0\r\n\r\n", &[400]),
        (
            "a size with an underscore",
            b"1_0\r\nhellohellohello!\r\n0\r\n\r\n",
            &[400],
        ),
        (
            "a size that is no number",
            b"g\r\nhello\r\n0\r\n\r\n",
            &[400],
        ),
        (
            "a size that overflows",
            b"10000000000000005\r\nhello\r\n0\r\n\r\n",
            &[400],
        ),
        (
            "a size that overflows far",
            b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
            &[400],
        ),
        ("a size with a long prefix", long_prefix.as_bytes(), &[400]),
        ("a size and a comma", b"5,5\r\nhello\r\n0\r\n\r\n", &[400]),
        ("a size and NUL", b"5\x00\r\nhello\r\n0\r\n\r\n", &[400]),
        ("bare LF after the size", b"5\nhello\r\n0\r\n\r\n", &[400]),
        ("bare CR after the size", b"5\rhello\r\n0\r\n\r\n", &[400]),
        (
            "CR CR LF after the size",
            b"5\r\r\nhello\r\n0\r\n\r\n",
            &[400],
        ),
        (
            "bare LF in an extension",
            b"5;a\nhello\r\n0\r\n\r\n",
            &[400],
        ),
        (
            "bare LF in a quoted extension",
            b"5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
            &[400],
        ),
        (
            "bare CR in an extension",
            b"5;a\rb\r\nhello\r\n0\r\n\r\n",
            &[400],
        ),
        (
            "NUL in an extension",
            b"5;a\x00\r\nhello\r\n0\r\n\r\n",
            &[400],
        ),
        ("an extension too long", long_extension.as_bytes(), &[400]),
        ("bare LF after the data", b"5\r\nhello\n0\r\n\r\n", &[400]),
        ("bare CR after the data", b"5\r\nhello\r0\r\n\r\n", &[400]),
        ("nothing after the data", b"5\r\nhello0\r\n\r\n", &[400]),
        (
            "data longer than its size",
            b"3\r\nhello\r\n0\r\n\r\n",
            &[400],
        ),
        (
            "data shorter than its size",
            b"6\r\nhello\r\n0\r\n\r\n",
            &[400],
        ),
        (
            "a second chunk without size",
            b"5\r\nhello\r\n\r\n0\r\n\r\n",
            &[400],
        ),
        ("a last chunk with LF", b"0\n\r\n", &[400]),
        ("an end of bare LF", b"0\r\n\n", &[400]),
        ("a trailer ending with LF", b"0\r\nX-A: b\n\r\n", &[400]),
        ("a trailer without colon", b"0\r\ngarbage\r\n\r\n", &[400]),
        ("a folded trailer", b"0\r\nX-A: b\r\n c\r\n\r\n", &[400]),
        ("a trailer with NUL", b"0\r\nX-A: b\x00\r\n\r\n", &[400]),
        (
            "a trailer with space before the colon",
            b"0\r\nX-A : b\r\n\r\n",
            &[400],
        ),
        (
            "a length in the trailers",
            b"0\r\nContent-Length: 5\r\n\r\n",
            &[400],
        ),
        (
            "a coding in the trailers",
            b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
            &[400],
        ),
        (
            "a host in the trailers",
            b"0\r\nHost: evil.example\r\n\r\n",
            &[400],
        ),
        ("too many trailers", many_trailers.as_bytes(), &[400, 431]),
        ("a trailer too large", large_trailer.as_bytes(), &[400, 431]),
        (
            "a request instead of a chunk",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            &[400],
        ),
        (
            "after a good chunk, a bad one",
            b"5\r\nhello\r\nzz\r\n",
            &[400],
        ),
        ("a fraction", b"5.0\r\nhello\r\n0\r\n\r\n", &[400]),
    ];
    let cases: Vec<_> = bodies
        .iter()
        .map(|(name, body, statuses)| {
            case(
                *name,
                with_fields(b"Transfer-Encoding: chunked\r\n", body),
                statuses,
            )
        })
        .collect();
    assert_broken_off(&cases);
}

#[test]
fn one_empty_line_before_a_request_is_forgiven() {
    let origin = Origin::answering(ok("here"));
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send([b"\r\n", get("/").as_slice()].concat());
        assert_eq!(client.read_response().text(), "here");
    }
}

/// A request's unread rest must not become the next one.
#[test]
fn bytes_after_a_request_are_the_next_one_or_nothing() {
    let origin = Origin::serving(|request| ok(request.target()));
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    client.send("POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGARBAGE\r\n\r\n");
    assert_eq!(client.read_response().text(), "/first");
    assert_eq!(client.read_response().status(), 400);
    client.assert_closed();
    assert_eq!(origin.only_request().body, b"abc");
}

/// After a refused head, what follows is not a request, even when it looks like one.
#[test]
fn nothing_after_a_refusal_is_served() {
    let origin = Origin::answering(ok(""));
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    let refused =
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send([&refused[..], b"0\r\n\r\n", &get("/smuggled")].concat());
    assert_eq!(client.read_response().status(), 400);
    client.assert_closed();
    assert_eq!(origin.seen().accepted, 0);
}

/// Asks twice in one segment where every request is answered with `status`; both answers must come, in step.
fn assert_both_answered(config: &Config, target: &str, status: u16) {
    let proxy = config.start();
    let mut client = proxy.client();
    client.send([get(target), get(target)].concat());
    for number in 0..2 {
        assert_eq!(client.read_response().status(), status, "answer {number}");
    }
    assert_eq!(client.get(target).status(), status, "and the next one");
}

#[test]
fn a_request_pipelined_behind_one_without_a_route_is_answered() {
    let origin = Origin::answering(ok("here"));
    let config = Config::to(&origin).route("path = \"/ok\"\nupstream = \"app\"");
    assert_both_answered(&config, "/no", 404);
    assert_eq!(origin.seen().accepted, 0);
}

#[test]
fn a_request_pipelined_behind_one_whose_origin_is_down_is_answered() {
    let port = ReservedPort::new();
    assert_both_answered(&Config::to_url(port.url()), "/", 502);
}

/// If the head behind a refused one were lost, its body would be read as a request: the client's framing is the proxy's.
#[test]
fn a_body_whose_head_came_behind_a_refused_one_is_not_a_request() {
    let origin = Origin::serving(|request| ok(request.target()));
    let nobody = ReservedPort::new();
    let proxy = Config::to(&origin)
        .upstream("down", [nobody.url()])
        .route("path = \"/ok\"\nupstream = \"app\"")
        .route("path = \"/down\"\nupstream = \"down\"")
        .start();
    let body = get("/ok?smuggled");
    for (target, status) in [("/no", 404), ("/down", 502)] {
        let before = origin.seen().requests.len();
        let mut client = proxy.client();
        let mut heads = get(target);
        heads.extend(
            format!(
                "POST /ok HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )
            .into_bytes(),
        );
        client.send(heads);
        assert_eq!(client.read_response().status(), status);
        client.send(&body);
        assert_eq!(client.read_response().text(), "/ok");
        assert_eq!(client.get("/ok").text(), "/ok", "still in step");
        let seen = origin.seen();
        let [posted, next] = &seen.requests[before..] else {
            panic!("behind {target}: {:?}", seen.requests);
        };
        assert_eq!((posted.method(), &posted.body), ("POST", &body));
        assert_eq!((next.method(), next.target()), ("GET", "/ok"));
    }
}

/// An answer given by the proxy itself must leave no part of the request's body behind.
#[test]
fn a_body_sent_to_a_route_that_answers_itself_is_not_the_next_request() {
    let origin = Origin::serving(|request| ok(request.target()));
    let proxy = Config::to(&origin)
        .route("path = \"/self\"\nrespond = { status = 403, body = \"no\" }")
        .route("upstream = \"app\"")
        .start();
    let mut client = proxy.client();
    let smuggled = get("/smuggled");
    let length = smuggled.len();
    client.send(format!(
        "POST /self HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
    ));
    client.send_what_is_taken(&smuggled);
    client.send_what_is_taken(get("/next"));
    assert_eq!(client.read_response().status(), 403);
    // Either the body was read and the next request served, or the connection closed.
    if let Ok(next) = client.try_response() {
        assert_eq!(next.text(), "/next");
    }
    assert!(
        origin
            .seen()
            .requests
            .iter()
            .all(|request| request.target() == "/next")
    );
}

#[test]
fn a_head_without_end_costs_no_memory() {
    let origin = Origin::answering(ok(""));
    let proxy = Config::to(&origin).start();
    let mut clients: Vec<_> = (0..100).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n");
        client.send_what_is_taken(format!("X-A: {}", "x".repeat(60_000)));
    }
    assert_eq!(proxy.get("/").status(), 200);
    let peak = proxy.rss_peak_bytes();
    assert!(peak < 64 * 1024 * 1024, "{peak} bytes resident");
}
