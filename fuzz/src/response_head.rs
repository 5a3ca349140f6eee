//! A response's head: read the same however it is cut, by an independent parser, and after it was
//! written again.

use ringway_protocol::h1::encode::{self, ConnectionField};
use ringway_protocol::{BodyFraming, Edits, Limits, Method, ResponseHead, Version, policy};

/// Bytes an origin sends first.
pub fn response_head(data: &[u8]) {
    let Some((split, message)) = crate::split_point(data) else {
        return;
    };
    let method = if data[0] & 1 == 0 {
        Method::Get
    } else {
        Method::Head
    };
    let limits = Limits::default();
    let mut head = ResponseHead::new();
    let whole = head.parse(message, method, &limits);

    let mut cut = ResponseHead::new();
    let first = cut.parse(&message[..split], method, &limits);
    match whole {
        Ok(Some(n)) if split >= n => assert_eq!(first, whole),
        Ok(_) => assert_eq!(first, Ok(None)),
        Err(_) => assert!(!matches!(first, Ok(Some(_)))),
    }
    let second = cut.parse(message, method, &limits);
    match whole {
        Ok(_) => assert_eq!(second, whole),
        Err(_) => assert!(!matches!(second, Ok(Some(_)))),
    }

    let Ok(Some(n)) = whole else { return };
    check_oracle(&message[..n], &head);
    check_rewrite(message, method, head);
}

fn check_oracle(bytes: &[u8], head: &ResponseHead) {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut oracle = httparse::Response::new(&mut fields);
    assert_eq!(
        oracle.parse(bytes),
        Ok(httparse::Status::Complete(bytes.len()))
    );
    assert_eq!(oracle.code, Some(head.status));
    for (name, value) in head.fields.iter(bytes) {
        assert!(
            oracle
                .headers
                .iter()
                .any(|field| field.name.as_bytes() == name && field.value == value)
        );
    }
}

fn encode(head: &ResponseHead, bytes: &[u8]) -> Vec<u8> {
    let connection = if head.upgrade {
        ConnectionField::Upgrade(head.upgrade_protocol(bytes))
    } else {
        ConnectionField::KeepAliveImplied
    };
    let mut out = Vec::new();
    encode::response_head(
        head,
        bytes,
        Version::H11,
        head.framing,
        connection,
        &mut out,
    );
    out
}

/// What the client reads is what was judged; written once more, it stays as it is.
fn check_rewrite(bytes: &[u8], method: Method, mut head: ResponseHead) {
    assert!(head.framing != BodyFraming::UntilClose || !head.keep_alive);
    policy::edit_response(&mut head, bytes, Edits::default());
    let limits = Limits {
        head_bytes: usize::MAX,
        fields: 200,
        target_bytes: 0,
    };
    let once = encode(&head, bytes);
    let mut second = ResponseHead::new();
    assert_eq!(second.parse(&once, method, &limits), Ok(Some(once.len())));
    assert_eq!(second.status, head.status);
    assert_eq!(second.framing, head.framing);
    assert_eq!(second.upgrade, head.upgrade);
    assert!(second.fields.iter(&once).eq(head.fields.iter(bytes)));
    assert_eq!(encode(&second, &once), once);
}
