//! A request's head: read the same however it is cut, by an independent parser, and after it was
//! written again.

use std::net::{IpAddr, Ipv6Addr};

use ringway_protocol::h1::encode::{self, ConnectionField, Target};
use ringway_protocol::{
    Edits, Forwarding, HostPolicy, Limits, RequestError, RequestHead, Upgrade, policy,
};

/// Bytes a client sends first.
pub fn request_head(data: &[u8]) {
    let Some((split, message)) = crate::split_point(data) else {
        return;
    };
    let limits = Limits::default();
    let mut head = RequestHead::new();
    let whole = head.parse(message, &limits);
    check_split(message, split, whole, &limits);
    let Ok(Some(n)) = whole else { return };
    check_oracle(&message[..n], &head);
    check_path(head.path(message));
    check_rewrite(message, head);
}

fn check_split(
    message: &[u8],
    split: usize,
    whole: Result<Option<usize>, RequestError>,
    limits: &Limits,
) {
    let mut head = RequestHead::new();
    let first = head.parse(&message[..split], limits);
    match whole {
        Ok(Some(n)) if split >= n => assert_eq!(first, whole),
        Ok(_) => assert_eq!(first, Ok(None)),
        Err(_) => assert!(!matches!(first, Ok(Some(_)))),
    }
    let second = head.parse(message, limits);
    match whole {
        Ok(_) => assert_eq!(second, whole),
        // An error inside a line without end may wait for that end.
        Err(_) => assert!(!matches!(second, Ok(Some(_)))),
    }
}

/// httparse takes more than we do; what we take, it has to read the same way.
fn check_oracle(bytes: &[u8], head: &RequestHead) {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut oracle = httparse::Request::new(&mut fields);
    assert_eq!(
        oracle.parse(bytes),
        Ok(httparse::Status::Complete(bytes.len()))
    );
    assert_eq!(
        oracle.method.map(str::as_bytes),
        Some(head.method_bytes(bytes))
    );
    for (name, value) in head.fields.iter(bytes) {
        assert!(
            oracle
                .headers
                .iter()
                .any(|field| field.name.as_bytes() == name && field.value == value)
        );
    }
}

/// No reader finds a way up in a normal path.
fn check_path(path: &[u8]) {
    if path == b"*" {
        return;
    }
    assert!(path.starts_with(b"/"));
    let text = String::from_utf8(path.to_vec()).expect("ASCII");
    assert!(!text.contains("//"));
    let decoded = text
        .replace("%2F", "/")
        .replace("%5C", "/")
        .replace("%3B", ";");
    for segment in decoded.split('/') {
        let name = segment.split(';').next().unwrap_or_default();
        assert!(name != "." && name != "..", "{text}");
    }
    let mut again = Vec::new();
    ringway_protocol::path::normalise(path, &mut again).expect("normal");
    assert_eq!(again, path);
}

fn encode(head: &RequestHead, bytes: &[u8]) -> Vec<u8> {
    let target = Target {
        path: head.path(bytes),
        query: head.query(bytes),
        ..Target::default()
    };
    let connection = match head.upgrade {
        Upgrade::None => ConnectionField::KeepAliveImplied,
        _ => ConnectionField::Upgrade(head.upgrade_protocol(bytes)),
    };
    let mut out = Vec::new();
    encode::request_head(head, bytes, target, head.framing, connection, &mut out);
    out
}

/// What the origin reads is what was judged; written once more, it stays as it is.
fn check_rewrite(bytes: &[u8], mut head: RequestHead) {
    let forwarding = Forwarding {
        client: IpAddr::V6(Ipv6Addr::LOCALHOST),
        client_text: b"::1",
        trusted: bytes.len().is_multiple_of(2),
        tls: bytes.len().is_multiple_of(3),
        request_id: b"id",
    };
    let host = if head.host(bytes).is_empty() {
        HostPolicy::Set(b"origin")
    } else {
        HostPolicy::Preserve
    };
    if policy::edit_request(&mut head, bytes, &forwarding, Edits::default(), host).is_err() {
        return;
    }
    let limits = Limits {
        head_bytes: usize::MAX,
        fields: 200,
        target_bytes: usize::MAX / 2,
    };
    let once = encode(&head, bytes);
    let mut second = RequestHead::new();
    assert_eq!(second.parse(&once, &limits), Ok(Some(once.len())));
    assert_eq!(second.method_bytes(&once), head.method_bytes(bytes));
    assert_eq!(second.path(&once), head.path(bytes));
    assert_eq!(second.query(&once), head.query(bytes));
    assert_eq!(second.framing, head.framing);
    assert_eq!(second.upgrade, head.upgrade);
    assert_eq!(second.te_trailers, head.te_trailers);
    assert_eq!(second.expect_continue, head.expect_continue);
    assert!(second.fields.iter(&once).eq(head.fields.iter(bytes)));
    assert_eq!(encode(&second, &once), once);
}
