use super::*;
use crate::limits::Limits;
use crate::method::Method;

fn request(text: &str) -> RequestHead {
    let mut head = RequestHead::new();
    let parsed = head.parse(text.as_bytes(), &Limits::default());
    assert_eq!(parsed, Ok(Some(text.len())));
    head
}

fn response(text: &str) -> ResponseHead {
    let mut head = ResponseHead::new();
    let parsed = head.parse(text.as_bytes(), Method::Get, &Limits::default());
    assert_eq!(parsed, Ok(Some(text.len())));
    head
}

fn encode_request(text: &str, prefix: &str, base_query: &str) -> String {
    let head = request(text);
    let bytes = text.as_bytes();
    let target = Target {
        prefix: prefix.as_bytes(),
        path: head.path(bytes),
        base_query: base_query.as_bytes(),
        query: head.query(bytes),
    };
    let mut out = Vec::new();
    let connection = ConnectionField::KeepAliveImplied;
    request_head(&head, bytes, target, head.framing, connection, &mut out);
    String::from_utf8(out).expect("ASCII")
}

fn encode_response(text: &str, client: Version, connection: ConnectionField<'_>) -> String {
    let head = response(text);
    let mut out = Vec::new();
    response_head(
        &head,
        text.as_bytes(),
        client,
        head.framing,
        connection,
        &mut out,
    );
    String::from_utf8(out).expect("ASCII")
}

#[test]
fn fields_are_written_in_one_form_however_they_came() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nX-A:b\r\nX-B:  c  \r\nX-C: d\r\nX-D:\te\r\nX-E:\r\nX-F: g\r\n\r\n";
    assert_eq!(
        encode_request(text, "", ""),
        "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\nX-B: c\r\nX-C: d\r\nX-D: e\r\nX-E: \r\nX-F: g\r\n\r\n"
    );
}

#[test]
fn framing_and_connection_are_written_anew() {
    let text = "POST / HTTP/1.1\r\nConnection: keep-alive\r\nX: y\r\ncontent-length: 007\r\nTE: trailers\r\nHost: a\r\n\r\n";
    assert_eq!(
        encode_request(text, "", ""),
        "POST / HTTP/1.1\r\nX: y\r\nHost: a\r\nte: trailers\r\ncontent-length: 7\r\n\r\n"
    );
    let text = "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\nHost: a\r\n\r\n";
    assert_eq!(
        encode_request(text, "", ""),
        "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    );
}

#[test]
fn base_path_and_query_join_the_requests() {
    let line = |target: &str, prefix: &str, base_query: &str| {
        let text = format!("OPTIONS {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let out = encode_request(&text, prefix, base_query);
        out.split(' ').nth(1).expect("a target").to_owned()
    };
    assert_eq!(line("/a?b", "", ""), "/a?b");
    assert_eq!(line("/a?b", "/base", "k=v"), "/base/a?k=v&b");
    assert_eq!(line("/a", "/base", "k=v"), "/base/a?k=v");
    assert_eq!(line("/a?", "", "k=v"), "/a?k=v");
    assert_eq!(line("/a?", "", ""), "/a?");
    assert_eq!(line("/a/../b", "", ""), "/b");
    assert_eq!(line("*", "/base", ""), "*");
}

#[test]
fn absolute_targets_go_out_in_origin_form() {
    let text = "GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(encode_request(text, "", "").starts_with("GET /x HTTP/1.1\r\nHost: a\r\n"));
}

#[test]
fn responses_are_written_as_http_1_1_with_their_phrase() {
    for (text, wanted) in [
        (
            "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 Fine\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            "HTTP/1.0 200 Fine\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 Fine\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            "HTTP/1.1 404\r\nX: y\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\nX: y\r\ncontent-length: 0\r\n\r\n",
        ),
    ] {
        assert_eq!(
            encode_response(text, Version::H11, ConnectionField::KeepAliveImplied),
            wanted
        );
    }
}

#[test]
fn a_changed_status_gets_its_own_phrase() {
    let text = "HTTP/1.1 200 OK\r\nX: y\r\n\r\n";
    let mut head = response(text);
    head.set_status(404);
    let mut out = Vec::new();
    let connection = ConnectionField::Close;
    response_head(
        &head,
        text.as_bytes(),
        Version::H11,
        head.framing,
        connection,
        &mut out,
    );
    assert_eq!(
        out,
        b"HTTP/1.1 404 Not Found\r\nX: y\r\nconnection: close\r\n\r\n"
    );
}

#[test]
fn an_old_client_gets_no_chunks() {
    let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(
        encode_response(text, Version::H10, ConnectionField::Close),
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(
        encode_response(text, Version::H11, ConnectionField::KeepAlive10),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n"
    );
}

#[test]
fn lengths_without_a_body_are_told_for_304_and_never_for_204() {
    let encode = |text: &str| encode_response(text, Version::H11, ConnectionField::default());
    assert!(encode("HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n").contains("content-length: 5"));
    assert!(!encode("HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n").contains("content-length"));
    assert!(!encode("HTTP/1.1 103 x\r\nContent-Length: 0\r\n\r\n").contains("content-length"));
}

#[test]
fn an_upgrade_is_rebuilt() {
    let text = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade, x\r\n\r\n";
    assert_eq!(
        encode_response(text, Version::H11, ConnectionField::Upgrade(b"websocket")),
        "HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    );
}

#[test]
fn removed_and_added_fields_show_in_what_is_written() {
    let text = "HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\nC: 3\r\nContent-Length: 0\r\n\r\n";
    let mut head = response(text);
    let bytes = text.as_bytes();
    head.fields.remove(b"b", bytes);
    head.fields.push_extra(b"d", b"4");
    head.fields.set(b"c", b"5", bytes);
    head.fields.set(b"c", b"6", bytes);
    let mut out = Vec::new();
    let connection = ConnectionField::default();
    response_head(
        &head,
        bytes,
        Version::H11,
        head.framing,
        connection,
        &mut out,
    );
    assert_eq!(
        out,
        b"HTTP/1.1 200 OK\r\nA: 1\r\nd: 4\r\nc: 6\r\ncontent-length: 0\r\n\r\n"
    );
}

#[test]
fn simple_responses_have_exact_lengths() {
    let mut response = SimpleResponse {
        status: 502,
        content_type: b"text/plain",
        body: b"sorry",
        fields: &[(b"retry-after", b"1")],
        connection: ConnectionField::Close,
        date: b"now",
        head_only: false,
    };
    let head = "HTTP/1.1 502 Bad Gateway\r\ndate: now\r\ncontent-type: text/plain\r\nretry-after: 1\r\ncontent-length: 5\r\nconnection: close\r\n\r\n";
    let encode = |response: &SimpleResponse<'_>| {
        let mut out = Vec::new();
        simple_response(response, &mut out);
        String::from_utf8(out).expect("ASCII")
    };
    assert_eq!(encode(&response), format!("{head}sorry"));
    response.head_only = true;
    assert_eq!(encode(&response), head);
    response.status = 204;
    assert!(!encode(&response).contains("length"));
}
