//! Every target holds on messages put together from likely parts, valid and nearly so.

use proptest::prelude::*;
use proptest::sample::select;

const LINES: &[&str] = &[
    "Host: a",
    "host: A:80",
    "Content-Length: 5",
    "Content-Length: 0",
    "Content-Length: +5",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Connection: close",
    "Connection: keep-alive, Upgrade",
    "Connection: x-a, host, via",
    "Upgrade: websocket",
    "Upgrade: h2c",
    "TE: trailers",
    "Expect: 100-continue",
    "X-A: b",
    "X-A:b ",
    "X-A:",
    "X_Forwarded_For: 1",
    "X-Forwarded-For: 1",
    "X-Forwarded-Host: b",
    "Forwarded: for=1",
    "Via: 1.1 ringway, 1.0 b",
    "X-Request-Id: q",
    "Keep-Alive: timeout=5",
    "Date: x",
    "X : a",
    " X: a",
    "X: a\rb",
    "X: \u{e9}",
];

const TARGETS: &[&str] = &[
    "/",
    "/a/b?c",
    "//a/./..//b/",
    "/%2e%2E/a",
    "/a/%2e./b%2fc",
    "/a;b/..;/c",
    "*",
    "http://a/x",
    "http://A",
    "/?[]{}|",
    "/a%20b%zz",
    "/..%5c",
    "/a/...;/.b",
];

fn line_end() -> impl Strategy<Value = &'static str> {
    prop_oneof![40 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r")]
}

fn lines() -> impl Strategy<Value = String> {
    prop::collection::vec((select(LINES), line_end()), 0..8).prop_map(|lines| {
        lines
            .iter()
            .map(|(line, end)| format!("{line}{end}"))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn request_head_holds(
        split: u8,
        method in select(&["GET", "POST", "OPTIONS", "CONNECT", "x"][..]),
        target in select(TARGETS),
        version in select(&["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0"][..]),
        lines in lines(),
    ) {
        let text = format!("{method} {target} {version}\r\nHost: a\r\n{lines}\r\n");
        ringway_fuzz::request_head(&[&[split], text.as_bytes()].concat());
    }

    #[test]
    fn response_head_holds(
        split: u8,
        start in select(&["HTTP/1.1 200 OK", "HTTP/1.1 204 ", "HTTP/1.0 304 x", "HTTP/1.1 101 x", "HTTP/1.1 200"][..]),
        lines in lines(),
    ) {
        let text = format!("{start}\r\n{lines}\r\n");
        ringway_fuzz::response_head(&[&[split], text.as_bytes()].concat());
    }

    #[test]
    fn chunked_holds(
        split: u8,
        parts in prop::collection::vec(
            select(&["1\r\na\r\n", "a;x\r\n0123456789\r\n", "0\r\n", "\r\n", "X: y\r\n", "2\r\nab", "\n", "fffffffffffffffff"][..]),
            0..6,
        ),
    ) {
        let text: String = parts.concat();
        ringway_fuzz::chunked(&[&[split], text.as_bytes()].concat());
    }

    #[test]
    fn no_bytes_at_all_make_any_target_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
        ringway_fuzz::request_head(&data);
        ringway_fuzz::response_head(&data);
        ringway_fuzz::chunked(&data);
    }
}
