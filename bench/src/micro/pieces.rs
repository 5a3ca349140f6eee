//! The pieces, each as a loop that repeats it.
//!
//! Where a piece needs what an earlier one leaves (a head has to be parsed before it is edited), its loop does both, and
//! the earlier one's own loop is taken off. What they share is never inlined, so that it costs the same in both.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use ringway_engine::{
    observe::{
        Format, WorkerStats,
        access_log::{Lines, Phases, Record},
    },
    route::{self, Action, FieldEdits, Match, Rewrite, Table},
};
use ringway_protocol::{
    BodyFraming, ChunkDecoder, Edits, Forwarding, HostPolicy, Limits, Method, RequestHead,
    ResponseHead, Version,
    h1::encode::{self, ConnectionField, Target},
    policy::{edit_request, edit_response},
};

/// One piece.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// The loop whose cost is taken off.
    pub(super) without: Option<&'static str>,
    run: fn(u64),
}

/// A loop that is no piece itself, only taken off one.
const COPY_CHUNKS: &str = "copy-chunks";

pub(super) const PIECES: [Piece; COUNT] = [
    Piece {
        name: "request-parse",
        what: "a browser's GET with 8 fields",
        without: None,
        run: |times| request(times, |_, _| {}),
    },
    Piece {
        name: "request-policy-encode",
        what: "that head edited for the origin and written",
        without: Some("request-parse"),
        run: request_policy_encode,
    },
    Piece {
        name: "response-parse",
        what: "a 200 with 8 fields and a length",
        without: None,
        run: |times| response(times, |_, _| {}),
    },
    Piece {
        name: "response-policy-encode",
        what: "that head edited for the client and written",
        without: Some("response-parse"),
        run: response_policy_encode,
    },
    Piece {
        name: "chunked-decode",
        what: "16 KiB in 4 chunks, in place",
        without: Some(COPY_CHUNKS),
        run: chunked_decode,
    },
    Piece {
        name: "route-1",
        what: "one route for everything",
        without: None,
        run: |times| find(times, &one_route(), b"/api/v1/users/4711/orders"),
    },
    Piece {
        name: "route-400",
        what: "one of 400: 20 hosts with 20 templates each",
        without: None,
        run: |times| find(times, &many_routes(), b"/service-13/users/4711/orders"),
    },
    Piece {
        name: "log-line",
        what: "an access log line as JSON, appended to a batch",
        without: None,
        run: log_line,
    },
    Piece {
        name: "request-done",
        what: "a finished request counted",
        without: None,
        run: request_done,
    },
];

const COUNT: usize = 9;

/// What can be counted.
pub const NAMES: [&str; COUNT] = {
    let mut names = [""; COUNT];
    let mut at = 0;
    while at < COUNT {
        names[at] = PIECES[at].name;
        at += 1;
    }
    names
};

/// Repeats a piece; false where there is none of that name.
pub fn run_piece(name: &str, times: u64) -> bool {
    if name == COPY_CHUNKS {
        chunks(times, |_, _| {});
        return true;
    }
    let piece = PIECES.iter().find(|piece| piece.name == name);
    if let Some(piece) = piece {
        (piece.run)(times);
    }
    piece.is_some()
}

/// As a browser asks, behind nothing: 8 fields.
const REQUEST: &[u8] = b"GET /api/v1/users/4711/orders?page=2&sort=date HTTP/1.1\r\n\
    Host: shop-07.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://shop-07.example.com/users/4711\r\n\
    Cookie: session=5f2b7c1d9e8a4f60b3c2d1e0f9a8b7c6; theme=dark\r\n\
    Connection: keep-alive\r\n\
    \r\n";

/// As an application server answers: 8 fields.
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Date: Sat, 14 Nov 2026 12:34:56 GMT\r\n\
    Server: application\r\n\
    Content-Type: application/json; charset=utf-8\r\n\
    Content-Length: 128\r\n\
    Cache-Control: private, max-age=60\r\n\
    ETag: \"5f2b7c1d9e8a4f60\"\r\n\
    Vary: Accept-Encoding\r\n\
    Connection: keep-alive\r\n\
    \r\n";

#[inline(never)]
fn parse_request(head: &mut RequestHead, bytes: &[u8], limits: &Limits) {
    head.reset();
    let parsed = head.parse(bytes, limits);
    assert_eq!(parsed, Ok(Some(bytes.len())), "the request is whole");
}

fn request(times: u64, mut then: impl FnMut(&mut RequestHead, &[u8])) {
    let (mut head, limits) = (RequestHead::new(), Limits::default());
    for _ in 0..times {
        let bytes = black_box(REQUEST);
        parse_request(&mut head, bytes, &limits);
        then(&mut head, bytes);
    }
}

fn request_policy_encode(times: u64) {
    let client = Ipv4Addr::new(192, 0, 2, 77);
    let client_text = client.to_string();
    let forwarding = Forwarding {
        client: IpAddr::V4(client),
        client_text: client_text.as_bytes(),
        trusted: false,
        tls: false,
        request_id: b"0196f3c1d2b4a5968778695a4b3c2d1e",
    };
    let mut out = Vec::new();
    request(times, |head, bytes| {
        let host = HostPolicy::Set(b"10.0.0.12:8080");
        edit_request(head, bytes, &forwarding, Edits::default(), host).expect("it is no loop");
        let target = Target {
            path: head.path(bytes),
            query: head.query(bytes),
            ..Target::default()
        };
        out.clear();
        let connection = ConnectionField::KeepAliveImplied;
        encode::request_head(head, bytes, target, head.framing, connection, &mut out);
        black_box(out.as_slice());
    });
}

#[inline(never)]
fn parse_response(head: &mut ResponseHead, bytes: &[u8], limits: &Limits) {
    head.reset();
    let parsed = head.parse(bytes, Method::Get, limits);
    assert_eq!(
        parsed,
        Ok(Some(bytes.len())),
        "the response's head is whole"
    );
}

fn response(times: u64, mut then: impl FnMut(&mut ResponseHead, &[u8])) {
    let (mut head, limits) = (ResponseHead::new(), Limits::default());
    for _ in 0..times {
        let bytes = black_box(RESPONSE);
        parse_response(&mut head, bytes, &limits);
        then(&mut head, bytes);
    }
}

fn response_policy_encode(times: u64) {
    let mut out = Vec::new();
    response(times, |head, bytes| {
        edit_response(head, bytes, Edits::default());
        out.clear();
        let connection = ConnectionField::KeepAliveImplied;
        let framing = BodyFraming::Length(128);
        encode::response_head(head, bytes, Version::H11, framing, connection, &mut out);
        black_box(out.as_slice());
    });
}

/// Copies a body in chunks, since decoding in place leaves another, and hands it on.
fn chunks(times: u64, mut then: impl FnMut(&mut ChunkDecoder, &mut [u8])) {
    let mut body = Vec::new();
    for _ in 0..4 {
        body.extend_from_slice(b"1000\r\n");
        body.extend_from_slice(&[b'x'; 0x1000]);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    let mut received = body.clone();
    let mut decoder = ChunkDecoder::new();
    for _ in 0..times {
        received.copy_from_slice(black_box(&body));
        then(&mut decoder, black_box(&mut received));
    }
}

fn chunked_decode(times: u64) {
    chunks(times, |decoder, bytes| {
        decoder.reset();
        let decoded = decoder.decode_in_place(bytes).expect("the coding holds");
        assert!(decoded.done && decoded.data == 16 * 1024, "all of it");
    });
}

fn route_to(upstream: usize, host: Option<String>, path: Option<String>) -> route::Settings {
    route::Settings {
        name: format!("route-{upstream}"),
        hosts: host.into_iter().collect(),
        path,
        methods: Vec::new(),
        action: Action::Forward {
            upstream,
            preserve_host: false,
            rewrite: Rewrite::default(),
        },
        request_headers: FieldEdits::default(),
        response_headers: FieldEdits::default(),
        timeout: None,
        body_bytes: None,
        websocket: false,
    }
}

fn one_route() -> Table {
    Table::new(&[route_to(0, None, None)]).expect("one route conflicts with none")
}

fn many_routes() -> Table {
    let routes: Vec<_> = (0..400)
        .map(|number| {
            let host = format!("shop-{:02}.example.com", number / 20);
            let path = format!("/service-{}/users/{{id}}/orders", number % 20);
            route_to(number, Some(host), Some(path))
        })
        .collect();
    Table::new(&routes).expect("each has a host and path of its own")
}

fn find(times: u64, table: &Table, path: &[u8]) {
    for _ in 0..times {
        let found = table.find(
            black_box(b"shop-07.example.com"),
            black_box(path),
            black_box(b"GET"),
        );
        assert!(matches!(black_box(found), Match::Found(_)), "there is one");
    }
}

fn log_line(times: u64) {
    let mut lines = Lines::new(Format::Json);
    let mut batch = Vec::new();
    let record = Record {
        unix_millis: 1_794_659_696_123,
        method: b"GET",
        path: b"/api/v1/users/4711/orders",
        status: 200,
        bytes: 128,
        duration: Duration::from_micros(1234),
        remote: SocketAddr::from(([192, 0, 2, 77], 51234)),
        user_agent: Some(b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        request_id: b"0196f3c1d2b4a5968778695a4b3c2d1e",
        route: Some("users"),
        upstream: Some("app"),
        endpoint: Some("10.0.0.12:8080"),
        attempts: 1,
        protocol: "HTTP/1.1",
        tls: None,
        reused: Some(true),
        phases: Phases {
            head_sent: Some(Duration::ZERO),
            first_byte: Some(Duration::from_micros(987)),
            ..Phases::default()
        },
        error: None,
    };
    for _ in 0..times {
        batch.clear();
        lines.append(&mut batch, black_box(&record));
        black_box(batch.as_slice());
    }
}

fn request_done(times: u64) {
    let stats = WorkerStats::new(&["/users/{id}".to_owned()], &["app".to_owned()]);
    for _ in 0..times {
        stats.request_done(
            black_box(Some(0)),
            black_box(Method::Get),
            black_box(200),
            black_box(Duration::from_micros(1234)),
            black_box(128),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_and_what_is_taken_off_it_runs() {
        for piece in &PIECES {
            assert!(run_piece(piece.name, 3), "{}", piece.name);
            assert!(piece.without.is_none_or(|name| run_piece(name, 3)));
        }
        assert!(!run_piece("none", 3));
    }

    #[test]
    fn the_messages_have_as_many_fields_as_the_table_says() {
        for message in [REQUEST, RESPONSE] {
            let lines = message.iter().filter(|&&byte| byte == b'\n').count();
            assert_eq!(lines, 8 + 2);
        }
    }
}
