//! Known ways to make two parsers disagree, from the published lists (CL.TE, TE.CL, TE.TE, TE.0,
//! CL.0, chunk extensions, line terminators). Each is refused, or read the one safe way.

use ringway_protocol::{BodyDecoder, BodyFraming, Limits, RequestHead};

/// The status of the refusal; `None` when the head passes.
fn refusal(message: &[u8]) -> Option<u16> {
    let mut head = RequestHead::new();
    match head.parse(message, &Limits::default()) {
        Ok(Some(_)) => None,
        Ok(None) => panic!("incomplete: {:?}", String::from_utf8_lossy(message)),
        Err(error) => Some(error.status()),
    }
}

/// A POST with Content-Length and these bytes as further lines.
fn with_length(lines: &[u8]) -> Vec<u8> {
    let start = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n";
    [&start[..], lines, b"\r\n\r\n"].concat()
}

#[test]
fn every_disguise_of_transfer_encoding_beside_content_length_is_refused() {
    for disguise in [
        &b"Transfer-Encoding: chunked"[..],
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\t: chunked",
        b" Transfer-Encoding: chunked",
        b"\tTransfer-Encoding: chunked",
        b"Transfer-Encoding:chunked",
        b"Transfer-Encoding:\tchunked",
        b"Transfer-Encoding:\x0bchunked",
        b"Transfer-Encoding:\x0cchunked",
        b"Transfer-Encoding:\x00chunked",
        b"Transfer-Encoding: \xa0chunked",
        b"Transfer-Encoding: \xffchunked",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunkedx",
        b"Transfer-Encoding: \"chunked\"",
        b"Transfer-Encoding: 'chunked'",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: identity, chunked",
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        b"Transfer-Encoding:\r\n chunked",
        b"Transfer-Encoding\r\n: chunked",
        b"Transfer-Encoding\n: chunked",
        b"X: y\nTransfer-Encoding: chunked",
        b"X: y\rTransfer-Encoding: chunked",
        b"X: y\r\n\rTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r",
        b"Transfer-Encoding\x00: chunked",
        b"Transfer-Encoding\xff: chunked",
        b"Transfer-Encod\xc4\xb0ng: chunked",
        b"TRANSFER-ENCODING: CHUNKED",
        b"tRANSFER-ENCODING: chunKed",
        b"Transfer-Encoding: chunked;",
        b"Transfer-Encoding: ,chunked",
        b"Transfer-Encoding: cow",
        b"Transfer-Encoding:",
    ] {
        assert_eq!(
            refusal(&with_length(disguise)),
            Some(400),
            "{:?}",
            String::from_utf8_lossy(disguise)
        );
    }
}

/// Other names than Transfer-Encoding frame nothing; those that a gateway could fold into it are
/// not passed on.
#[test]
fn near_names_do_not_frame_and_underscored_ones_do_not_pass() {
    for (line, passes) in [
        ("Transfer_Encoding: chunked", false),
        ("Content_Length: 40", false),
        ("X-Transfer-Encoding: chunked", true),
        ("Transfer-Encoding-: chunked", true),
    ] {
        let message = with_length(line.as_bytes());
        let mut head = RequestHead::new();
        head.parse(&message, &Limits::default()).expect("passes");
        assert_eq!(head.framing, BodyFraming::Length(4));
        assert_eq!(head.fields.len(), if passes { 2 } else { 1 }, "{line}");
    }
}

#[test]
fn every_disguise_of_a_second_content_length_is_refused() {
    for line in [
        &b"Content-Length: 4"[..],
        b"Content-Length: 5",
        b"content-length: 0",
        b"Content-Length : 5",
        b" Content-Length: 5",
        b"Content-Length: 4, 5",
        b"Content-Length:",
    ] {
        assert_eq!(refusal(&with_length(line)), Some(400));
    }
}

#[test]
fn request_lines_that_split_in_two_ways_are_refused() {
    for line in [
        "GET / HTTP/1.1 HTTP/1.1",
        "GET /a HTTP/1.1\rX: y",
        "GET /\tHTTP/1.1",
        "GET /a\x0bHTTP/1.1 HTTP/1.1",
        "GET\x0c/ HTTP/1.1",
        "GET http://b@a/ HTTP/1.1",
        "GET http://a#@b/ HTTP/1.1",
        "GET http://a\\@b/ HTTP/1.1",
        "GET @b/ HTTP/1.1",
        "GET :80/ HTTP/1.1",
        "GET http://b HTTP/1.1",
    ] {
        let message = format!("{line}\r\nHost: a\r\n\r\n");
        assert_eq!(refusal(message.as_bytes()), Some(400), "{line:?}");
    }
}

#[test]
fn hosts_that_route_in_two_ways_are_refused() {
    for hosts in [
        "Host: a\r\nHost: b",
        "Host: a\r\n Host: b",
        " Host: a",
        "Host : a",
        "Host: a, b",
        "Host: a b",
        "Host: a@b",
        "Host: a:80@b",
        "Host: a/b",
        "Host: a#b",
        "Host: a?b",
        "Host: a\\b",
        "Host: a:80x",
        "Host: a%00b",
        "Host:",
    ] {
        let message = format!("GET / HTTP/1.1\r\n{hosts}\r\n\r\n");
        assert_eq!(refusal(message.as_bytes()), Some(400), "{hosts:?}");
    }
}

/// TERM.EXT, EXT.TERM, TERM.SPILL and their like (2025): line ends inside chunked bodies.
#[test]
fn chunk_lines_that_end_in_two_ways_are_refused() {
    for coded in [
        &b"2;\nxx\r\n0\r\n\r\n"[..],
        b"2;x\nxx\r\n0\r\n\r\n",
        b"2;\rxx\r\n0\r\n\r\n",
        b"2;\x00\r\nab\r\n0\r\n\r\n",
        b"2\nab\r\n0\r\n\r\n",
        b"2\rab\r\n0\r\n\r\n",
        b"2\r\nab\n0\r\n\r\n",
        b"2\r\nabXX0\r\n\r\n",
        b"2\r\nab0\r\n\r\n",
        b"2\r\nab\r0\r\n\r\n",
        b"0x2\r\nab\r\n0\r\n\r\n",
        b"+2\r\nab\r\n0\r\n\r\n",
        b"-2\r\nab\r\n0\r\n\r\n",
        b" 2\r\nab\r\n0\r\n\r\n",
        b"2 \r\nab\r\n0\r\n\r\n",
        b"\r\n2\r\nab\r\n0\r\n\r\n",
        b"100000000000000002\r\nab\r\n0\r\n\r\n",
        b"0\r\nContent-Length: 5\r\n\r\n",
        b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"0\r\nHost: b\r\n\r\n",
        b"0\n\r\n",
        b"0\r\n\n",
    ] {
        let mut body = BodyDecoder::new(BodyFraming::Chunked);
        let outcome = body.decode_in_place(&mut coded.to_vec());
        assert!(outcome.is_err(), "{:?}", String::from_utf8_lossy(coded));
    }
}
