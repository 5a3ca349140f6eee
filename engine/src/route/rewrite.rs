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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn given(strip_prefix: &str, add_prefix: &str) -> Rewrite {
        Rewrite {
            strip_prefix: strip_prefix.to_owned(),
            add_prefix: add_prefix.to_owned(),
        }
    }

    fn forwarded(strip_prefix: &str, add_prefix: &str, path: &str) -> String {
        let given = given(strip_prefix, add_prefix);
        let (prefix, rest) = rewrite(&given, path.as_bytes());
        String::from_utf8([prefix, rest].concat()).expect("pieces of text")
    }

    #[test]
    fn nothing_to_do_leaves_the_path_alone() {
        assert_eq!(forwarded("", "", "/users/1"), "/users/1");
        assert_eq!(forwarded("", "", "/"), "/");
    }

    #[test]
    fn a_prefix_comes_off_and_another_goes_on() {
        assert_eq!(forwarded("/v1", "/api", "/v1/users"), "/api/users");
        assert_eq!(forwarded("/v1", "", "/v1/users"), "/users");
        assert_eq!(forwarded("", "/api", "/users"), "/api/users");
    }

    #[test]
    fn a_prefix_comes_off_only_at_a_segments_boundary() {
        assert_eq!(forwarded("/v1", "", "/v1x/users"), "/v1x/users");
        assert_eq!(forwarded("/v1", "", "/v"), "/v");
        assert_eq!(forwarded("/v1/", "", "/v1/users"), "/users");
    }

    #[test]
    fn the_whole_path_may_be_the_prefix() {
        assert_eq!(forwarded("/v1", "", "/v1"), "/");
        assert_eq!(forwarded("/v1", "/api", "/v1"), "/api");
        assert_eq!(forwarded("/v1", "/api/", "/v1/"), "/api/");
    }

    #[test]
    fn a_slash_as_prefix_takes_nothing_off() {
        assert_eq!(forwarded("/", "/", "/users"), "/users");
    }

    #[test]
    fn the_asterisk_form_is_left_alone() {
        assert_eq!(forwarded("/v1", "/api", "*"), "*");
    }

    #[test]
    fn prefixes_are_given_the_slash_they_lack() {
        assert_eq!(normalised(&given("v1/", "api")), given("/v1", "/api"));
        assert_eq!(normalised(&given("/", "")), given("", ""));
    }

    proptest! {
        #[test]
        fn a_forwarded_path_begins_with_a_slash(strip in "[/a]{0,5}", add in "[/a]{0,5}", path in "/[/a]{0,6}") {
            let given = normalised(&given(&strip, &add));
            let (prefix, rest) = rewrite(&given, path.as_bytes());
            let whole = [prefix, rest].concat();
            prop_assert_eq!(whole.first(), Some(&b'/'));
        }
    }
}
