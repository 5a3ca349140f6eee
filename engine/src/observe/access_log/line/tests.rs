//! What a line holds, and what it never does.

use proptest::prelude::*;

use super::*;

fn record() -> Record<'static> {
    Record {
        unix_millis: 1_767_323_045_678,
        method: b"GET",
        path: b"/users/7",
        status: 200,
        bytes: 1234,
        duration: Duration::from_micros(12_345),
        remote: SocketAddr::from(([192, 0, 2, 1], 4711)),
        user_agent: Some(b"curl/8"),
        request_id: b"0123456789abcdef0123456789abcdef",
        route: Some("users"),
        upstream: Some("users"),
        endpoint: Some("10.0.0.1:8080"),
        attempts: 1,
        protocol: "HTTP/1.1",
        tls: None,
        reused: Some(true),
        phases: Phases {
            queue: Some(Duration::ZERO),
            head_sent: Some(Duration::from_micros(20)),
            first_byte: Some(Duration::from_micros(11_999)),
            ..Phases::default()
        },
        error: None,
    }
}

fn json(record: &Record<'_>) -> String {
    let mut line = Vec::new();
    append_json(&mut line, record, &mut Dates::default());
    String::from_utf8(line).expect("a line is UTF-8")
}

fn text(record: &Record<'_>) -> String {
    let mut line = Vec::new();
    append_text(&mut line, record, &mut Dates::default());
    String::from_utf8(line).expect("a line is UTF-8")
}

fn escape_of(bytes: &[u8]) -> String {
    let mut line = Vec::new();
    escaped(&mut line, bytes, PATH_BYTES_MAX);
    String::from_utf8(line).expect("escapes are UTF-8")
}

#[test]
fn a_json_line_has_every_key_in_the_promised_order() {
    assert_eq!(
        json(&record()),
        concat!(
            r#"{"time":"2026-01-02T03:04:05.678Z","method":"GET","path":"/users/7","status":200,"bytes":1234,"#,
            r#""duration_ms":12.345,"remote":"192.0.2.1:4711","ua":"curl/8","#,
            r#""request_id":"0123456789abcdef0123456789abcdef","route":"users","upstream":"users","#,
            r#""endpoint":"10.0.0.1:8080","attempts":1,"protocol":"HTTP/1.1","tls":null,"reused":true,"#,
            r#""dns_ms":null,"connect_ms":null,"tls_ms":null,"queue_ms":0.000,"head_sent_ms":0.020,"#,
            r#""first_byte_ms":11.999,"error":null}"#,
            "\n"
        )
    );
}

#[test]
fn a_text_line_is_in_the_common_logs_order_with_the_rest_after_it() {
    assert_eq!(
        text(&record()),
        concat!(
            r#"192.0.2.1:4711 - - [02/Jan/2026:03:04:05 +0000] "GET /users/7 HTTP/1.1" 200 1234 "curl/8""#,
            r#" duration_ms=12.345 request_id="0123456789abcdef0123456789abcdef" route="users" upstream="users""#,
            r#" endpoint="10.0.0.1:8080" attempts=1 reused=true queue_ms=0.000 head_sent_ms=0.020"#,
            r#" first_byte_ms=11.999"#,
            "\n"
        )
    );
}

#[test]
fn a_refused_head_has_a_line_as_well() {
    let refused = Record {
        method: b"",
        path: b"",
        status: 400,
        user_agent: None,
        route: None,
        upstream: None,
        endpoint: None,
        attempts: 0,
        reused: None,
        phases: Phases::default(),
        error: Some("bad_request"),
        ..record()
    };
    let line = json(&refused);
    assert!(line.contains(r#""method":"","path":"","status":400"#));
    assert!(line.contains(r#""ua":null"#) && line.contains(r#""reused":null"#));
    assert!(line.ends_with("\"error\":\"bad_request\"}\n"));
    assert!(text(&refused).ends_with(" attempts=0 error=\"bad_request\"\n"));
}

#[test]
fn a_query_never_reaches_the_log() {
    for path in [
        &b"/a?token=secret"[..],
        b"/a#secret",
        b"/a?x#secret",
        b"/a?",
    ] {
        let record = Record { path, ..record() };
        assert!(json(&record).contains(r#""path":"/a","#));
        assert!(text(&record).contains("GET /a HTTP"));
    }
}

#[test]
fn nobody_writes_a_second_line_or_a_terminal_sequence() {
    let forged = b"x\"\r\n{\"status\":200}\x1b[2J\x00\x7f\\";
    assert_eq!(
        escape_of(forged),
        r#"x\"\r\n{\"status\":200}\u001b[2J\u0000\u007f\\"#
    );
}

#[test]
fn utf_8_passes_and_what_is_not_is_escaped_byte_by_byte() {
    assert_eq!(
        escape_of("caf\u{e9} \u{1f980}".as_bytes()),
        "caf\u{e9} \u{1f980}"
    );
    assert_eq!(escape_of(b"caf\xe9/\xff\xfe"), r"caf\u00e9/\u00ff\u00fe");
    assert_eq!(escape_of(b"\xf0\x9f"), r"\u00f0\u009f");
}

#[test]
fn control_characters_beyond_ascii_are_escaped() {
    assert_eq!(
        escape_of("\u{9b}2J\u{2028}\u{2029}".as_bytes()),
        r"\u009b2J\u2028\u2029"
    );
}

#[test]
fn long_paths_and_agents_are_cut() {
    let long = vec![b'a'; 100_000];
    let record = Record {
        path: &long,
        user_agent: Some(&long),
        method: &long,
        request_id: &long,
        ..record()
    };
    let line = json(&record);
    assert!(line.contains(&format!(r#""path":"{}","#, "a".repeat(PATH_BYTES_MAX))));
    assert!(line.contains(&format!(r#""ua":"{}","#, "a".repeat(USER_AGENT_BYTES_MAX))));
    assert!(line.len() < 4096);
}

#[test]
fn a_cut_never_splits_a_character() {
    for length in 0..8 {
        let text = "a".repeat(length) + &"\u{1f980}".repeat(10);
        let cut = bounded(text.as_bytes(), 20);
        assert!(std::str::from_utf8(cut).is_ok(), "{length}");
        assert!((17..=20).contains(&cut.len()));
    }
    assert_eq!(bounded(&[0x80; 30], 20).len(), 20);
}

#[test]
fn an_ipv6_client_is_bracketed() {
    let remote = "[2001:db8::1]:443".parse().expect("it is an address");
    assert!(json(&Record { remote, ..record() }).contains(r#""remote":"[2001:db8::1]:443""#));
}

#[test]
fn numbers_of_any_size_are_written() {
    let largest = Record {
        bytes: u64::MAX,
        duration: Duration::MAX,
        ..record()
    };
    let line = json(&largest);
    assert!(line.contains(r#""bytes":18446744073709551615,"duration_ms":18446744073709551.615,"#));
}

/// What a reader of a JSON string gets, or `None` where it is not one.
fn unescaped(text: &str) -> Option<String> {
    let mut value = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next()? {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                'u' => {
                    let digits: String = characters.by_ref().take(4).collect();
                    value.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                }
                plain @ ('"' | '\\') => value.push(plain),
                _ => return None,
            },
            '"' => return None,
            control if control.is_control() => return None,
            plain => value.push(plain),
        }
    }
    Some(value)
}

#[test]
fn plain_bytes_end_at_the_first_that_is_not_wherever_it_lies() {
    for length in 0..50 {
        let mut text = vec![b'x'; length];
        assert_eq!(plain_bytes(&text), length);
        for at in (0..length).rev() {
            text[at] = b'"';
            assert_eq!(plain_bytes(&text), at);
        }
    }
}

proptest! {
    #[test]
    fn any_text_reads_back(given in any::<String>()) {
        let read = unescaped(&escape_of(given.as_bytes()));
        prop_assert_eq!(read, Some(given));
    }

    #[test]
    fn any_bytes_are_one_string_without_control_characters(
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
    ) {
        prop_assert!(unescaped(&escape_of(&bytes)).is_some());
        let record = Record { method: &bytes, path: &bytes, user_agent: Some(&bytes), request_id: &bytes, ..record() };
        for line in [json(&record), text(&record)] {
            let (end, inside) = line.as_bytes().split_last().expect("a line is not empty");
            prop_assert_eq!(*end, b'\n');
            prop_assert!(!inside.iter().any(u8::is_ascii_control));
        }
    }
}
