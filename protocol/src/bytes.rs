//! What each byte may be part of, as one table, and the scan over a field's value.
//!
//! Nothing here allocates or decides; the parsers do.

/// A token's byte (RFC 9110 §5.6.2).
pub(crate) const TOKEN: u8 = 1;
/// A path's byte: RFC 3986 `pchar`, `/`, and the `%` that starts an escape.
pub(crate) const PATH: u8 = 2;
/// A query's byte: `PATH`, `?`, and `[]{}|`, which browsers send unescaped.
pub(crate) const QUERY: u8 = 4;
/// RFC 3986 `unreserved`.
pub(crate) const UNRESERVED: u8 = 8;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut class = [0; 256];
    let mut byte = 0usize;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
            class[byte] |= TOKEN | PATH | QUERY | UNRESERVED;
        }
        if matches!(
            b,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'^' | b'`' | b'|'
        ) {
            class[byte] |= TOKEN;
        }
        if matches!(
            b,
            b'!' | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
                | b'%'
                | b'/'
        ) {
            class[byte] |= PATH | QUERY;
        }
        if matches!(b, b'?' | b'[' | b']' | b'{' | b'}' | b'|') {
            class[byte] |= QUERY;
        }
        byte += 1;
    }
    class
}

/// Whether `byte` is of one of the classes in `mask`.
#[inline(always)]
pub(crate) fn is(byte: u8, mask: u8) -> bool {
    CLASS[byte as usize] & mask != 0
}

/// Whether all of a non-empty string is a token.
#[inline]
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| is(b, TOKEN))
}

/// Index in `text` of the first byte that a field's value cannot hold: a control byte other than
/// tab. `text.len()` when there is none.
#[inline]
pub(crate) fn value_end(text: &[u8]) -> usize {
    let mut rest = text;
    loop {
        // Most values are short; blocks are for the others.
        let mut words = 4;
        while let Some((word, after)) = rest.split_first_chunk::<8>() {
            if let Some(at) = first_control(*word) {
                if word[at] != b'\t' {
                    return text.len() - rest.len() + at;
                }
                rest = &rest[at + 1..];
                continue;
            }
            rest = after;
            words -= 1;
            if words == 0 {
                break;
            }
        }
        if words > 0 {
            break;
        }
        while let Some((block, after)) = rest.split_first_chunk::<16>() {
            if holds_control(block) {
                break;
            }
            rest = after;
        }
    }
    let end = rest
        .iter()
        .position(|&b| (b < 0x20 && b != b'\t') || b == 0x7f);
    text.len() - rest.len() + end.unwrap_or(rest.len())
}

/// Where the first of `text`'s bytes that is a colon lies, if it is among the first 24 and no control byte is before it.
#[inline]
pub(crate) fn near_colon(text: &[u8]) -> Option<usize> {
    let mut rest = text;
    for at in [0, 8, 16] {
        let (word, after) = rest.split_first_chunk::<8>()?;
        let x = u64::from_le_bytes(*word);
        let (colons, controls) = (marks_of(x, b':'), marks_below_space(x));
        if colons != 0 {
            let before = (colons & colons.wrapping_neg()) - 1;
            return (controls & before == 0).then(|| at + (colons.trailing_zeros() / 8) as usize);
        }
        if controls != 0 {
            return None;
        }
        rest = after;
    }
    None
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Whether any byte is below 0x20, or DEL. Without a branch, so that it becomes vector code.
#[inline]
fn holds_control(block: &[u8; 16]) -> bool {
    block
        .iter()
        .fold(false, |held, &b| held | (b < 0x20) | (b == 0x7f))
}

/// Marks the bytes of a word that are `byte`, in their highest bits. Borrows make false marks only
/// above a true one: the lowest is true, and any at all means that one is.
#[inline]
fn marks_of(x: u64, byte: u8) -> u64 {
    let zero = x ^ (ONES * u64::from(byte));
    zero.wrapping_sub(ONES) & !zero & HIGH
}

/// The same for those below 0x20.
#[inline]
fn marks_below_space(x: u64) -> u64 {
    x.wrapping_sub(ONES * 0x20) & !x & HIGH
}

/// Index of the first byte below 0x20, or DEL.
#[inline]
fn first_control(word: [u8; 8]) -> Option<usize> {
    let x = u64::from_le_bytes(word);
    let marks = marks_below_space(x) | marks_of(x, 0x7f);
    (marks != 0).then(|| (marks.trailing_zeros() / 8) as usize)
}

/// `text` without spaces and tabs around it.
#[inline]
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The elements of a comma-separated list (RFC 9110 §5.6.1), empty ones left out.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&b| b == b',')
        .map(trim)
        .filter(|element| !element.is_empty())
}

/// A decimal number, all of `text`, that fits 64 bits.
#[inline]
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, &b| {
        b.is_ascii_digit()
            .then(|| sum.checked_mul(10)?.checked_add(u64::from(b - b'0')))?
    })
}

/// Appends a number in decimal.
#[inline]
pub(crate) fn push_decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_scan_stops_at_every_control_byte_and_nowhere_else() {
        for len in 0..40 {
            for at in 0..len {
                for b in 0..=255u8 {
                    let mut text = vec![b'a'; len];
                    text[at] = b;
                    let stops = (b < 0x20 && b != b'\t') || b == 0x7f;
                    assert_eq!(
                        value_end(&text),
                        if stops { at } else { len },
                        "{b:#x} at {at}"
                    );
                }
            }
        }
    }

    #[test]
    fn value_scan_finds_the_first_of_two_marks() {
        for first in 0..24 {
            for second in first + 1..25 {
                let mut text = vec![b' '; 25];
                text[first] = 0x7f;
                text[second] = b'\r';
                assert_eq!(value_end(&text), first);
                text[first] = b'\t';
                assert_eq!(value_end(&text), second);
            }
        }
    }

    #[test]
    fn decimal_takes_digits_that_fit_and_nothing_else() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for bad in [
            &b""[..],
            b"18446744073709551616",
            b"+1",
            b"-1",
            b"0x1",
            b"1_0",
            b"1 0",
            b"1,1",
        ] {
            assert_eq!(decimal(bad), None);
        }
    }
}
