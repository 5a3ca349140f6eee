//! Normalisation of a path, so that the view that routes is the view the origin gets
//! (RFC 3986 §6.2.2).
//!
//! Escapes of unreserved bytes are decoded, other escapes get upper-case digits, `//` becomes
//! `/`, dot segments are resolved. `%2F` and `%5C` stay escaped, as data.
//! Invariant: the result holds no dot segment, not even for a reader that decodes those two, and
//! normalising it again changes nothing.

use crate::bytes::{self, PATH, UNRESERVED};

/// Why a path is refused.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum PathError {
    /// A byte that no path holds, or a path that does not begin with a slash.
    BadByte,
    /// A `%` without two hex digits after it.
    BadEscape,
    /// An escaped control byte, `%00` among them.
    EscapedControl,
    /// More `..` than segments to leave.
    AboveRoot,
    /// A dot segment that only some readers see: `..;x`, or between `%2F` or `%5C`.
    HiddenDotSegment,
}

/// How far the path at the start of `target` goes, and whether it is normal already.
#[inline]
pub(crate) fn scan(target: &[u8]) -> (usize, bool) {
    let mut normal = true;
    let mut last = 0;
    for (at, &b) in target.iter().enumerate() {
        if !bytes::is(b, PATH) {
            return (at, normal);
        }
        normal &= b != b'%' && !(last == b'/' && (b == b'/' || b == b'.'));
        last = b;
    }
    (target.len(), normal)
}

/// Appends the normal form of `path` to `out`.
///
/// # Errors
/// When two readers could take the path for different ones.
pub fn normalise(path: &[u8], out: &mut Vec<u8>) -> Result<(), PathError> {
    let [b'/', segments @ ..] = path else {
        return Err(PathError::BadByte);
    };
    let base = out.len();
    let mut segments = segments.split(|&b| b == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        let start = out.len();
        out.push(b'/');
        unescape(segment, out)?;
        match &out[start + 1..] {
            b"" if !last => out.truncate(start),
            b"." => {
                out.truncate(start);
                if last {
                    out.push(b'/');
                }
            }
            b".." => {
                out.truncate(start);
                let Some(parent) = memchr::memrchr(b'/', &out[base..]) else {
                    return Err(PathError::AboveRoot);
                };
                out.truncate(base + parent);
                if last {
                    out.push(b'/');
                }
            }
            decoded if hides_dot_segment(decoded) => return Err(PathError::HiddenDotSegment),
            _ => {}
        }
    }
    Ok(())
}

/// Decodes what need not be escaped, and writes the other escapes in upper case.
fn unescape(segment: &[u8], out: &mut Vec<u8>) -> Result<(), PathError> {
    let mut rest = segment;
    while let [b, after @ ..] = rest {
        rest = after;
        if *b != b'%' {
            if !bytes::is(*b, PATH) {
                return Err(PathError::BadByte);
            }
            out.push(*b);
            continue;
        }
        let [high, low, after @ ..] = rest else {
            return Err(PathError::BadEscape);
        };
        rest = after;
        let (Some(h), Some(l)) = (hex(*high), hex(*low)) else {
            return Err(PathError::BadEscape);
        };
        let byte = h << 4 | l;
        if byte < 0x20 || byte == 0x7f {
            return Err(PathError::EscapedControl);
        }
        if bytes::is(byte, UNRESERVED) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]);
        }
    }
    Ok(())
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

/// Whether some readers find a dot segment here: those that cut parameters off at `;`, and those
/// that decode `%2F` and `%5C` (CVE-2021-41773 and its like).
fn hides_dot_segment(segment: &[u8]) -> bool {
    let mut rest = segment;
    loop {
        if dots_end(rest) {
            return true;
        }
        let Some(at) = next_escaped_slash(rest) else {
            return false;
        };
        rest = &rest[at + 3..];
    }
}

/// Whether a piece begins with one or two dots and then ends, for some reader.
fn dots_end(piece: &[u8]) -> bool {
    let after = match piece {
        [b'.', b'.', after @ ..] | [b'.', after @ ..] => after,
        _ => return false,
    };
    after.is_empty()
        || after[0] == b';'
        || after.starts_with(b"%3B")
        || next_escaped_slash(after) == Some(0)
}

fn next_escaped_slash(text: &[u8]) -> Option<usize> {
    text.windows(3)
        .position(|three| matches!(three, b"%2F" | b"%5C"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(path: &str) -> Result<String, PathError> {
        let mut out = b"kept".to_vec();
        normalise(path.as_bytes(), &mut out)?;
        Ok(String::from_utf8(out[4..].to_vec()).expect("ASCII"))
    }

    #[test]
    fn escapes_dots_and_slashes_come_to_one_form() {
        for (path, wanted) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("//a///b//", "/a/b/"),
            ("/a/./b/../c", "/a/c"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/b/%2e%2E/c", "/a/c"),
            ("/%7euser/%41", "/~user/A"),
            ("/a%2fb%5cc", "/a%2Fb%5Cc"),
            ("/a%20b%3a", "/a%20b%3A"),
            ("/...", "/..."),
            ("/.a/..b/c..", "/.a/..b/c.."),
            ("/a;p=1/b", "/a;p=1/b"),
            ("/%252e%252e/x", "/%252e%252e/x"),
            ("/a//../b", "/b"),
        ] {
            assert_eq!(normal(path).as_deref(), Ok(wanted), "{path}");
        }
    }

    #[test]
    fn paths_that_readers_disagree_about_are_refused() {
        use PathError::*;
        for (path, why) in [
            ("/..", AboveRoot),
            ("/a/../..", AboveRoot),
            ("/%2e%2e/etc", AboveRoot),
            ("//..", AboveRoot),
            ("/a%00", EscapedControl),
            ("/a%0d%0aHost:x", EscapedControl),
            ("/a%7F", EscapedControl),
            ("/a%", BadEscape),
            ("/a%4", BadEscape),
            ("/a%zz", BadEscape),
            ("/a%+1", BadEscape),
            ("/..;/a", HiddenDotSegment),
            ("/a/..;x=1/b", HiddenDotSegment),
            ("/a/.;/b", HiddenDotSegment),
            ("/a/..%3b/b", HiddenDotSegment),
            ("/a/..%2fb", HiddenDotSegment),
            ("/a/%2e%2e%2Fb", HiddenDotSegment),
            ("/a/b%2f..", HiddenDotSegment),
            ("/a/b%5c..%5cc", HiddenDotSegment),
            ("/a/b%2f.%2fc", HiddenDotSegment),
            ("a", BadByte),
            ("", BadByte),
            ("/a b", BadByte),
            ("/a\\b", BadByte),
        ] {
            assert_eq!(normal(path), Err(why), "{path}");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(path in "/([a.%2eEfF5cC/;~ -]|%2[eEfF]|%5c|\\.\\.|/){0,24}") {
            if let Ok(once) = normal(&path) {
                prop_assert_eq!(normal(&once), Ok(once.clone()));
            }
        }

        #[test]
        fn a_normal_path_holds_no_dot_segment_for_any_reader(
            path in "/([ab.;/]|%2[eEfF]|%5[cC]|%3b|\\.\\.|/\\.){0,24}",
        ) {
            if let Ok(once) = normal(&path) {
                let decoded = once.replace("%2F", "/").replace("%5C", "/").replace("%3B", ";");
                for segment in decoded.split('/') {
                    let name = segment.split(';').next().unwrap_or_default();
                    prop_assert!(name != "." && name != "..", "{} became {}", path, once);
                }
                prop_assert!(!once.contains("//"));
            }
        }

        #[test]
        fn a_path_that_looks_normal_is(path in "/[ab.%/;]{0,12}") {
            if scan(path.as_bytes()) == (path.len(), true) {
                prop_assert_eq!(normal(&path), Ok(path));
            }
        }
    }
}
