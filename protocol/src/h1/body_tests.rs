use super::*;

#[test]
fn a_length_is_taken_exactly_and_the_rest_left() {
    let mut body = BodyDecoder::new(BodyFraming::Length(5));
    let mut bytes = *b"hel";
    let decoded = body.decode_in_place(&mut bytes).expect("no coding");
    assert_eq!(
        (decoded.consumed, decoded.data, decoded.done),
        (3, 3, false)
    );
    assert_eq!(body.finish(), Err(BodyError::Truncated));
    let mut bytes = *b"loGET";
    let decoded = body.decode_in_place(&mut bytes).expect("no coding");
    assert_eq!((decoded.consumed, decoded.data, decoded.done), (2, 2, true));
    assert_eq!((body.finish(), body.remaining()), (Ok(()), Some(0)));
}

#[test]
fn no_body_is_done_at_once() {
    for framing in [BodyFraming::None, BodyFraming::Length(0)] {
        let mut body = BodyDecoder::new(framing);
        assert!(body.is_done() && body.finish().is_ok());
        let decoded = body.decode_in_place(&mut b"GET".to_vec());
        assert_eq!(
            decoded,
            Ok(Decoded {
                consumed: 0,
                data: 0,
                done: true
            })
        );
    }
}

#[test]
fn until_close_takes_all_and_ends_with_the_connection() {
    let mut body = BodyDecoder::new(BodyFraming::UntilClose);
    let decoded = body
        .decode_in_place(&mut b"abc".to_vec())
        .expect("no coding");
    assert_eq!((decoded.consumed, decoded.done), (3, false));
    assert!(!body.is_done() && body.finish().is_ok() && body.remaining().is_none());
}

#[test]
fn a_chunked_body_cut_short_is_truncated() {
    let coded = b"5\r\nhello\r\n0\r\n\r\n";
    for end in 0..coded.len() {
        let mut body = BodyDecoder::new(BodyFraming::Chunked);
        body.decode_in_place(&mut coded[..end].to_vec())
            .expect("valid");
        assert_eq!(body.finish(), Err(BodyError::Truncated), "at {end}");
    }
}

#[test]
fn bytes_that_went_another_way_count() {
    let mut body = BodyDecoder::new(BodyFraming::Length(10));
    body.skip(7);
    assert_eq!(body.remaining(), Some(3));
    body.skip(3);
    assert!(body.is_done());
    body.reset(BodyFraming::Chunked);
    assert!(!body.is_done());
    let mut last = LAST_CHUNK.to_vec();
    assert!(body.decode_in_place(&mut last).expect("valid").done);
    body.reset(BodyFraming::Chunked);
    assert!(!body.is_done());
}

#[test]
fn chunk_prefixes_are_the_size_in_hex() {
    for (len, wanted) in [
        (1, &b"1\r\n"[..]),
        (15, b"f\r\n"),
        (16, b"10\r\n"),
        (8000, b"1f40\r\n"),
        (usize::MAX, b"ffffffffffffffff\r\n"),
    ] {
        let mut out = [0; 18];
        let n = chunk_prefix(len, &mut out);
        assert_eq!(&out[..n], wanted);
    }
}

#[test]
fn a_last_chunk_carries_its_trailers() {
    let mut out = Vec::new();
    write_last_chunk_with_trailers([(&b"X"[..], &b"y"[..])].into_iter(), &mut out);
    assert_eq!(out, b"0\r\nX: y\r\n\r\n");
}
