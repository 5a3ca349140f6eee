//! Heads through policy and encoder: what the next hop gets.

use super::*;
use crate::h1::encode::{self, ConnectionField, Target};
use crate::limits::Limits;
use crate::method::Method;

const V4: Forwarding<'static> = Forwarding {
    client: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
    client_text: b"10.0.0.1",
    trusted: false,
    tls: false,
    request_id: b"",
};

const V6: Forwarding<'static> = Forwarding {
    client: IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
    client_text: b"::1",
    ..V4
};

const TRUSTED: Forwarding<'static> = Forwarding {
    trusted: true,
    ..V4
};

/// What the origin gets of a GET with these lines, line by line.
fn forwarded_with(
    lines: &str,
    forwarding: &Forwarding<'_>,
    edits: Edits<'_>,
    host: HostPolicy<'_>,
) -> Result<Vec<String>, PolicyError> {
    let text = format!("GET / HTTP/1.1\r\n{lines}\r\n");
    let bytes = text.as_bytes();
    let mut head = RequestHead::new();
    head.parse(bytes, &Limits::default()).expect("valid");
    edit_request(&mut head, bytes, forwarding, edits, host)?;
    let mut out = Vec::new();
    let target = Target {
        path: b"/",
        ..Target::default()
    };
    let connection = ConnectionField::default();
    encode::request_head(&head, bytes, target, head.framing, connection, &mut out);
    let out = String::from_utf8(out).expect("ASCII");
    Ok(out
        .trim_end()
        .split("\r\n")
        .skip(1)
        .map(str::to_owned)
        .collect())
}

fn forwarded(lines: &str, forwarding: &Forwarding<'_>) -> Vec<String> {
    forwarded_with(lines, forwarding, Edits::default(), HostPolicy::Preserve).expect("no loop")
}

fn strings(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn the_origin_is_told_who_asked() {
    assert_eq!(
        forwarded("Host: a:80\r\n", &V4),
        [
            "Host: a:80",
            "x-forwarded-for: 10.0.0.1",
            "x-real-ip: 10.0.0.1",
            "x-forwarded-host: a:80",
            "x-forwarded-proto: http",
            "forwarded: for=10.0.0.1;host=\"a:80\";proto=http",
            "via: 1.1 ringway",
        ]
    );
}

#[test]
fn ipv6_is_bracketed_and_quoted_in_forwarded_only() {
    let tls = Forwarding { tls: true, ..V6 };
    let lines = forwarded("Host: a\r\n", &tls);
    assert!(lines.contains(&"x-forwarded-for: ::1".to_owned()));
    assert!(lines.contains(&"forwarded: for=\"[::1]\";host=a;proto=https".to_owned()));
    assert!(lines.contains(&"x-forwarded-proto: https".to_owned()));
}

#[test]
fn an_untrusted_clients_own_are_dropped_in_every_spelling() {
    let spoofed = "Host: a\r\nX-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nx-forwarded_for: 6.6.6.6\r\n\
                   X-Forwarded-Host: 6\r\nX-Forwarded-Proto: 6\r\nX-Real-IP: 6.6.6.6\r\nX_REAL_IP: 6.6.6.6\r\n\
                   Forwarded: for=6.6.6.6\r\nX-Forwarded-Port: 6\r\nX-Forwarded-Prefix: 6\r\n";
    assert_eq!(forwarded(spoofed, &V4), forwarded("Host: a\r\n", &V4));
}

#[test]
fn a_trusted_clients_own_are_continued() {
    let lines = forwarded(
        "Host: a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2, 3.3.3.3\r\n\
         X-Forwarded-Host: b\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 1.1.1.1\r\nForwarded: for=1.1.1.1\r\n",
        &TRUSTED,
    );
    assert_eq!(
        lines,
        [
            "Host: a",
            "X-Forwarded-Host: b",
            "X-Forwarded-Proto: https",
            "X-Real-IP: 1.1.1.1",
            "x-forwarded-for: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.1",
            "forwarded: for=1.1.1.1, for=10.0.0.1;host=a;proto=http",
            "via: 1.1 ringway",
        ]
    );
}

#[test]
fn underscored_spellings_are_dropped_even_from_trusted_clients() {
    let lines = forwarded("Host: a\r\nX_Forwarded_For: 6.6.6.6\r\n", &TRUSTED);
    assert!(!lines.iter().any(|line| line.contains("6.6.6.6")));
}

#[test]
fn nominated_fields_are_dropped_over_every_connection_line() {
    let lines = forwarded(
        "Host: a\r\nConnection: x-a\r\nX-A: 1\r\nConnection: close, X-B\r\nX-B: 2\r\nX-C: 3\r\nCookie: 4\r\n",
        &V4,
    );
    assert!(
        !lines
            .iter()
            .any(|line| line.starts_with("X-A") || line.starts_with("X-B"))
    );
    assert!(lines.contains(&"X-C: 3".to_owned()) && lines.contains(&"Cookie: 4".to_owned()));
}

#[test]
fn nominating_what_the_proxy_needs_removes_nothing() {
    let nominated = "Host: a\r\nContent-Length: 5\r\nIdempotency-Key: k\r\nConnection: Host, Content-Length, X-Forwarded-For, \
                     X-Forwarded-Host, X-Forwarded-Proto, X-Real-IP, Forwarded, Via, X-Request-Id, Idempotency-Key\r\n";
    let plain = "Host: a\r\nContent-Length: 5\r\nIdempotency-Key: k\r\n";
    let with_id = Forwarding {
        request_id: b"id",
        ..V4
    };
    assert_eq!(forwarded(nominated, &with_id), forwarded(plain, &with_id));
    assert!(forwarded(nominated, &with_id).contains(&"content-length: 5".to_owned()));
}

#[test]
fn connection_specific_fields_go_in_both_directions() {
    let fields = "Keep-Alive: a\r\nProxy-Connection: a\r\nProxy-Authenticate: a\r\nProxy-Authorization: a\r\n\
                  Trailer: a\r\nTrailers: a\r\nUpgrade: a\r\nConnection: b\r\nB: a\r\n";
    assert_eq!(
        forwarded(&format!("Host: a\r\n{fields}"), &V4),
        forwarded("Host: a\r\n", &V4)
    );
    for status in ["200 OK", "103 Early Hints"] {
        let text = format!("HTTP/1.1 {status}\r\nLink: x\r\n{fields}\r\n");
        let mut head = ResponseHead::new();
        head.parse(text.as_bytes(), Method::Get, &Limits::default())
            .expect("valid");
        edit_response(&mut head, text.as_bytes(), Edits::default());
        let kept: Vec<_> = head.fields.iter(text.as_bytes()).collect();
        assert_eq!(kept, [(&b"Link"[..], &b"x"[..]), (b"via", b"1.1 ringway")]);
    }
}

#[test]
fn te_trailers_is_kept_when_the_client_sent_it() {
    let lines = forwarded("Host: a\r\nTE: gzip, Trailers\r\nConnection: TE\r\n", &V4);
    assert!(lines.contains(&"te: trailers".to_owned()));
    assert!(!forwarded("Host: a\r\nTE: gzip\r\n", &V4).contains(&"te: trailers".to_owned()));
}

#[test]
fn host_is_preserved_or_rewritten() {
    let host = |lines: &str, policy| {
        forwarded_with(lines, &V4, Edits::default(), policy).expect("no loop")
    };
    let set = host("Host: a\r\n", HostPolicy::Set(b"origin:8080"));
    assert!(set.contains(&"host: origin:8080".to_owned()) && !set.contains(&"Host: a".to_owned()));
    // What the client asked for is still told.
    assert!(set.contains(&"x-forwarded-host: a".to_owned()));
}

#[test]
fn an_old_client_without_host_gets_an_empty_one() {
    let text = b"GET / HTTP/1.0\r\n\r\n";
    let mut head = RequestHead::new();
    head.parse(text, &Limits::default()).expect("valid");
    edit_request(&mut head, text, &V4, Edits::default(), HostPolicy::Preserve).expect("no loop");
    assert_eq!(head.fields.only(FieldId::Host, text), Some(&b""[..]));
    assert!(!head.fields.has(FieldId::XForwardedHost));
    assert_eq!(
        head.fields.only(FieldId::Via, text),
        Some(&b"1.0 ringway"[..])
    );
}

#[test]
fn too_many_hops_through_this_proxy_are_a_loop() {
    let via = |n: usize| {
        format!(
            "Host: a\r\nVia: {}\r\n",
            ["1.1 Ringway"].repeat(n).join(", ")
        )
    };
    let edit = |lines: &str| {
        forwarded_with(lines, &V4, Edits::default(), HostPolicy::Preserve).map(|_| ())
    };
    assert_eq!(edit(&via(HOPS_MAX)), Ok(()));
    let error = edit(&via(HOPS_MAX + 1)).expect_err("a loop");
    assert_eq!((error, error.status()), (PolicyError::Loop, 508));
    let lines = format!("Host: a\r\n{}", "Via: 1.1 ringway\r\n".repeat(HOPS_MAX + 1));
    assert_eq!(edit(&lines), Err(PolicyError::Loop));
    let others = format!(
        "Host: a\r\nVia: {}\r\n",
        ["1.1 other (ringway)"].repeat(20).join(",")
    );
    assert_eq!(edit(&others), Ok(()));
}

#[test]
fn via_is_added_beside_what_is_there() {
    let lines = forwarded("Host: a\r\nVia: 1.0 b\r\n", &V4);
    assert!(lines.contains(&"Via: 1.0 b".to_owned()));
    assert_eq!(lines.last().map(String::as_str), Some("via: 1.1 ringway"));
}

#[test]
fn the_request_id_replaces_the_clients() {
    let with_id = Forwarding {
        request_id: b"id",
        ..V4
    };
    let lines = forwarded("Host: a\r\nX-Request-Id: spoofed\r\n", &with_id);
    assert!(lines.contains(&"x-request-id: id".to_owned()));
    assert!(!lines.iter().any(|line| line.contains("spoofed")));
    let lines = forwarded("Host: a\r\nX-Request-Id: own\r\n", &V4);
    assert!(lines.contains(&"X-Request-Id: own".to_owned()));
}

#[test]
fn a_route_strips_sets_and_adds_fields() {
    let edits = Edits {
        remove: &["authorization".to_owned()],
        set: &strings(&[
            ("x-a", "new"),
            ("x-real-ip", "mine"),
            ("content-length", "9"),
        ]),
        add: &strings(&[("x-b", "2"), ("connection", "x")]),
    };
    let lines = forwarded_with(
        "Host: a\r\nAuthorization: secret\r\nX-A: old\r\nX-A: older\r\nX-B: 1\r\n",
        &V4,
        edits,
        HostPolicy::Preserve,
    )
    .expect("no loop");
    assert_eq!(
        lines,
        [
            "Host: a",
            "X-B: 1",
            "x-forwarded-for: 10.0.0.1",
            "x-forwarded-host: a",
            "x-forwarded-proto: http",
            "forwarded: for=10.0.0.1;host=a;proto=http",
            "via: 1.1 ringway",
            "x-a: new",
            "x-real-ip: mine",
            "x-b: 2",
        ]
    );
}
