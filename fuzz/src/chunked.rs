//! Chunked coding: decoded the same however it is cut, and as a plain reader of the whole would.

use ringway_protocol::{BodyError, ChunkDecoder, LAST_CHUNK, chunk_prefix};

/// The coded body of a message, from either side.
pub fn chunked(data: &[u8]) {
    let Some((split, message)) = crate::split_point(data) else {
        return;
    };
    let whole = decode(message, message.len());
    let cut = decode(message, split);
    match &whole {
        Ok(_) => assert_eq!(cut, whole),
        // An error inside a trailer line without end may wait for that end.
        Err(_) => assert!(!matches!(cut, Ok((_, Some(_))))),
    }
    if let Ok((body, Some(consumed))) = &whole {
        assert_eq!(plain_reader(&message[..*consumed]).as_ref(), Some(body));
    }
    check_round_trip(message, split);
}

/// The body so far, and how many bytes it took when it ended.
type Outcome = Result<(Vec<u8>, Option<usize>), BodyError>;

fn decode(coded: &[u8], split: usize) -> Outcome {
    let mut decoder = ChunkDecoder::new();
    let mut body = Vec::new();
    let mut taken = 0;
    for piece in [&coded[..split], &coded[split..]] {
        let mut piece = piece.to_vec();
        let decoded = decoder.decode_in_place(&mut piece)?;
        assert!(decoded.data <= decoded.consumed && decoded.consumed <= piece.len());
        assert!(decoded.done || decoded.consumed == piece.len());
        body.extend_from_slice(&piece[..decoded.data]);
        taken += decoded.consumed;
        if decoded.done {
            return Ok((body, Some(taken)));
        }
    }
    Ok((body, None))
}

/// RFC 9112 §7.1.3's pseudocode, on a whole body that ends exactly where it should.
fn plain_reader(mut coded: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = coded.windows(2).position(|two| two == b"\r\n")?;
        let digits = coded[..end].split(|&b| b == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        coded = &coded[end + 2..];
        if size == 0 {
            break;
        }
        body.extend_from_slice(coded.get(..size)?);
        coded = coded.get(size..)?.strip_prefix(b"\r\n")?;
    }
    // The trailer section, and nothing after it.
    let end = if coded.starts_with(b"\r\n") {
        2
    } else {
        coded.windows(4).position(|four| four == b"\r\n\r\n")? + 4
    };
    (end == coded.len()).then_some(body)
}

fn check_round_trip(body: &[u8], split: usize) {
    let mut coded = Vec::new();
    for piece in [&body[..split], &body[split..]] {
        if piece.is_empty() {
            continue;
        }
        let mut prefix = [0; 18];
        let n = chunk_prefix(piece.len(), &mut prefix);
        coded.extend_from_slice(&prefix[..n]);
        coded.extend_from_slice(piece);
        coded.extend_from_slice(b"\r\n");
    }
    coded.extend_from_slice(LAST_CHUNK);
    let outcome = decode(&coded, coded.len() / 2);
    assert_eq!(outcome, Ok((body.to_vec(), Some(coded.len()))));
}
