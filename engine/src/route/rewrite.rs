//! Changing a path: one prefix off, another one on. Pure, and without allocation.

use super::Rewrite;

/// The path that is forwarded, in two parts: `prefix` then `rest`. Together they always begin with `/`, except for the
/// asterisk form (`OPTIONS *`), which has no path to rewrite and stays as it is.
///
/// The prefix is taken off only at a segment's boundary: `/v1` leaves `/v1x` alone.
pub fn rewrite<'a>(rewrite: &'a Rewrite, path: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    if path.first() != Some(&b'/') {
        return (b"", path);
    }
    let added = trim_end_slashes(rewrite.add_prefix.as_bytes());
    let rest = strip(rewrite.strip_prefix.as_bytes(), path);
    match (added, rest) {
        ([], []) => (b"/", b""),
        _ => (added, rest),
    }
}

/// `path` without `prefix`, where it starts with it at a boundary; it begins with `/` or is empty.
fn strip<'a>(prefix: &[u8], path: &'a [u8]) -> &'a [u8] {
    match path.strip_prefix(trim_end_slashes(prefix)) {
        Some(rest) if rest.is_empty() || rest[0] == b'/' => rest,
        _ => path,
    }
}

/// `/api/` says the same as `/api`.
fn trim_end_slashes(mut prefix: &[u8]) -> &[u8] {
    while let [start @ .., b'/'] = prefix {
        prefix = start;
    }
    prefix
}

/// The same rewrite with every prefix beginning with `/`, so that the forwarded path does as well.
pub(super) fn normalised(given: &Rewrite) -> Rewrite {
    let normal = |prefix: &str| match prefix.trim_matches('/') {
        "" => String::new(),
        inner => format!("/{inner}"),
    };
    Rewrite {
        strip_prefix: normal(&given.strip_prefix),
        add_prefix: normal(&given.add_prefix),
    }
}
