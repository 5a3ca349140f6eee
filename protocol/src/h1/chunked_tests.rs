//! One claim a test; each coding is fed at every split point.

use super::*;

/// Decodes `coded` in pieces of which the second begins at `split`.
fn decode(coded: &[u8], splits: &[usize]) -> Result<(Vec<u8>, usize, bool), BodyError> {
    let mut decoder = ChunkDecoder::new();
    let mut body = Vec::new();
    let (mut taken, mut start) = (0, 0);
    for end in splits.iter().copied().chain([coded.len()]) {
        let mut piece = coded[start..end].to_vec();
        let decoded = decoder.decode_in_place(&mut piece)?;
        assert!(decoded.data <= decoded.consumed);
        assert!(decoded.done || decoded.consumed == piece.len());
        assert_eq!(
            piece[decoded.consumed..],
            coded[start + decoded.consumed..end]
        );
        body.extend_from_slice(&piece[..decoded.data]);
        taken += decoded.consumed;
        start = end;
        if decoded.done {
            break;
        }
    }
    Ok((body, taken, decoder.is_done()))
}

fn check_every_split(coded: &[u8]) -> Result<(Vec<u8>, usize, bool), BodyError> {
    let whole = decode(coded, &[]);
    let mut decoder = ChunkDecoder::new();
    let is_whole = decoder
        .decode_in_place(&mut coded.to_vec())
        .is_ok_and(|decoded| decoded.done && decoded.consumed == coded.len())
        && decoder.section.is_empty();
    assert_eq!(is_whole_body(coded), is_whole, "{coded:?}");
    for split in 0..=coded.len() {
        assert_eq!(decode(coded, &[split]), whole, "at {split}");
    }
    let dripped: Vec<usize> = (0..coded.len()).collect();
    assert_eq!(decode(coded, &dripped), whole, "dripped");
    whole
}

fn body(coded: &str) -> Vec<u8> {
    let (body, taken, done) =
        check_every_split(coded.as_bytes()).unwrap_or_else(|error| panic!("{error}: {coded:?}"));
    assert!(done && taken == coded.len(), "{coded:?}");
    body
}

fn refused(coded: &str) -> BodyError {
    match check_every_split(coded.as_bytes()) {
        Ok(outcome) => panic!("{outcome:?}: {coded:?}"),
        Err(error) => error,
    }
}

#[test]
fn chunks_decode_to_their_data() {
    assert_eq!(body("5\r\nhello\r\n0\r\n\r\n"), b"hello");
    assert_eq!(
        body("1\r\na\r\n000A\r\n0123456789\r\n00\r\n\r\n"),
        b"a0123456789"
    );
    assert_eq!(body("0\r\n\r\n"), b"");
}

#[test]
fn what_follows_the_body_is_left_alone() {
    let coded = b"1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n";
    assert_eq!(check_every_split(coded), Ok((b"a".to_vec(), 11, true)));
}

#[test]
fn extensions_are_dropped() {
    assert_eq!(body("1;a=b;c=\"d\"\r\na\r\n0;x\r\n\r\n"), b"a");
}

#[test]
fn malformed_sizes_are_refused() {
    use BodyError::*;
    for (coded, why) in [
        ("\r\na", SizeEmpty),
        (";x\r\n", SizeEmpty),
        ("+1\r\na\r\n", SizeEmpty),
        ("-1\r\na\r\n", SizeEmpty),
        (" 1\r\na\r\n", SizeEmpty),
        ("\n", SizeEmpty),
        ("g\r\n", SizeEmpty),
        ("1 \r\na\r\n", SizeNotHex(b' ')),
        ("1\t\r\na\r\n", SizeNotHex(b'\t')),
        ("0x1\r\na\r\n", SizeNotHex(b'x')),
        ("1_0\r\n", SizeNotHex(b'_')),
        ("1,1\r\n", SizeNotHex(b',')),
        ("1 ;x\r\na\r\n", SizeNotHex(b' ')),
        ("1\0\r\na\r\n", SizeNotHex(0)),
        ("10000000000000000\r\n", SizeTooLarge),
        ("00000000000000001\r\na\r\n", SizeTooLarge),
        ("fffffffffffffffff\r\n", SizeTooLarge),
    ] {
        assert_eq!(refused(coded), why, "{coded:?}");
    }
}

#[test]
fn the_largest_size_is_taken_and_not_overflowed() {
    let outcome = check_every_split(b"ffffffffffffffff\r\nabc");
    assert_eq!(outcome, Ok((b"abc".to_vec(), 21, false)));
}

#[test]
fn line_ends_other_than_crlf_are_refused() {
    use BodyError::*;
    for (coded, why) in [
        ("1\na\r\n", BareLf),
        ("1;x\na\r\n", BareLf),
        ("1\r\r\na", BareCr),
        ("1\rX", BareCr),
        ("1;x\rX", BareCr),
        ("1\r\na\n0\r\n\r\n", BareLf),
        ("1\r\na\rX", BareCr),
        ("1\r\na\r\r\n", BareCr),
        ("1\r\nab\r\n", DataTooLong),
        ("1\r\na0\r\n\r\n", DataTooLong),
        ("1;\0\r\n", ExtensionByte(0)),
        ("1;\x7f\r\n", ExtensionByte(0x7f)),
        ("0\r\n\n", Trailer(LineError::BareLf)),
        ("0\r\n\rX", Trailer(LineError::BareCr)),
        ("0\r\nX: y\n\r\n", Trailer(LineError::BareLf)),
    ] {
        assert_eq!(refused(coded), why, "{coded:?}");
    }
}

#[test]
fn a_size_line_is_bounded() {
    let line = |len: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(len - 4));
    assert_eq!(body(&line(CHUNK_LINE_BYTES_MAX)), b"a");
    assert_eq!(
        refused(&line(CHUNK_LINE_BYTES_MAX + 1)),
        BodyError::LineTooLong
    );
}

#[test]
fn trailers_that_may_pass_are_kept() {
    let mut decoder = ChunkDecoder::new();
    let mut coded = b"0\r\nX-A: b\r\nConnection: x-n\r\nX-N: c\r\nKeep-Alive: d\r\nVia: e\r\nX-Real-IP: f\r\nContent_Length: 1\r\n\r\nnext".to_vec();
    let decoded = decoder.decode_in_place(&mut coded).expect("valid");
    assert!(decoded.done && decoded.consumed == coded.len() - 4);
    let trailers: Vec<_> = decoder.trailers().collect();
    assert_eq!(trailers, [(&b"X-A"[..], &b"b"[..])]);
    decoder.reset();
    assert!(!decoder.has_trailers() && !decoder.is_done());
    assert_eq!(body("0\r\nX: y\r\nZ: w\r\n\r\n"), b"");
}

#[test]
fn trailers_that_change_the_message_are_refused() {
    for name in [
        "Content-Length",
        "Transfer-Encoding",
        "Host",
        "Authorization",
        "Expect",
        "Content-Type",
        "Content-Encoding",
    ] {
        assert_eq!(
            refused(&format!("0\r\nX: y\r\n{name}: 1\r\n\r\n")),
            BodyError::ForbiddenTrailer
        );
    }
}

#[test]
fn malformed_trailers_are_refused() {
    for line in ["X : y", " X: y", "X", ": y", "X: \0", "GET / HTTP/1.1"] {
        assert!(matches!(
            refused(&format!("0\r\n{line}\r\n\r\n")),
            BodyError::Trailer(_)
        ));
    }
}

#[test]
fn trailers_are_bounded_in_bytes_and_number() {
    let many = "X: y\r\n".repeat(TRAILER_FIELDS_MAX);
    body(&format!("0\r\n{many}\r\n"));
    assert_eq!(
        decode(format!("0\r\n{many}X: y\r\n\r\n").as_bytes(), &[]),
        Err(BodyError::Trailer(LineError::TooManyFields))
    );
    for end in ["", "\r\n\r\n"] {
        let long = format!("0\r\nX: {}{end}", "y".repeat(TRAILER_BYTES_MAX));
        let whole = Err(BodyError::Trailer(LineError::HeadTooLarge));
        assert_eq!(decode(long.as_bytes(), &[]), whole);
        let dripped: Vec<usize> = (0..long.len()).collect();
        assert_eq!(decode(long.as_bytes(), &dripped), whole);
    }
}

#[test]
fn an_error_comes_again_when_asked_again() {
    let mut decoder = ChunkDecoder::new();
    assert!(decoder.decode_in_place(&mut b"x".to_vec()).is_err());
    assert_eq!(
        decoder.decode_in_place(&mut b"0\r\n\r\n".to_vec()),
        Err(BodyError::SizeEmpty)
    );
}
