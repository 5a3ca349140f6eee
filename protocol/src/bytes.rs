//! What each byte may be part of, as one table, and the scan over a field's value.
//!
//! Nothing here allocates or decides; the parsers do.

use wide::u8x16;

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
    while let Some((block, after)) = rest.split_first_chunk::<16>() {
        let mut controls = Marks::of_block(block).controls;
        while controls != 0 {
            let at = controls.trailing_zeros() as usize;
            if block[at] != b'\t' {
                return text.len() - rest.len() + at;
            }
            controls &= controls - 1;
        }
        rest = after;
    }
    let end = rest
        .iter()
        .position(|&b| (b < 0x20 && b != b'\t') || b == 0x7f);
    text.len() - rest.len() + end.unwrap_or(rest.len())
}

/// Which of up to 64 bytes are colons, and which are control bytes, tab among them: one bit for each byte, the lowest for the
/// first.
#[derive(Debug, Copy, Clone, Default)]
pub(crate) struct Marks {
    pub(crate) colons: u64,
    pub(crate) controls: u64,
}

impl Marks {
    /// Bytes that marks are about.
    pub(crate) const BYTES: usize = 64;

    /// Marks of the first bytes of `text`. Those that are not there are neither.
    #[inline]
    pub(crate) fn of(text: &[u8]) -> Self {
        let mut marks = Self::default();
        let near = text.first_chunk::<{ Self::BYTES }>();
        let (blocks, rest) = near.map_or(text, |near| near).as_chunks::<16>();
        for (index, block) in blocks.iter().enumerate() {
            marks.join(Self::of_block(block), 16 * index);
        }
        if rest.is_empty() {
            return marks;
        }
        // The last block that is whole covers the rest and what is marked already.
        let at = 16 * blocks.len();
        if let Some(last) = text.last_chunk::<16>() {
            marks.join(Self::of_block(last).skip(16 - rest.len()), at);
        } else {
            let mut block = [b' '; 16];
            block[..rest.len()].copy_from_slice(rest);
            marks.join(Self::of_block(&block), at);
        }
        marks
    }

    /// Those behind the first `bytes`, fewer than [`BYTES`](Self::BYTES).
    #[inline]
    pub(crate) fn skip(self, bytes: usize) -> Self {
        Self {
            colons: self.colons >> bytes,
            controls: self.controls >> bytes,
        }
    }

    #[inline]
    fn of_block(block: &[u8; 16]) -> Self {
        let block = u8x16::new(*block);
        let controls = block.simd_le(u8x16::splat(0x1f)) | block.simd_eq(u8x16::splat(0x7f));
        Self {
            colons: block.simd_eq(u8x16::splat(b':')).to_bitmask().into(),
            controls: controls.to_bitmask().into(),
        }
    }

    #[inline]
    fn join(&mut self, other: Self, at: usize) {
        self.colons |= other.colons << at;
        self.controls |= other.controls << at;
    }
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
    fn marks_are_those_of_the_bytes_that_are_there() {
        for len in 0..80 {
            for b in 0..=255u8 {
                for at in 0..len {
                    let mut text = vec![b'a'; len];
                    text[at] = b;
                    let bit = |marked: bool| u64::from(marked && at < 64) << (at & 63);
                    let marks = Marks::of(&text);
                    assert_eq!(marks.colons, bit(b == b':'), "{b:#x} at {at} of {len}");
                    assert_eq!(marks.controls, bit(b < 0x20 || b == 0x7f));
                }
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
