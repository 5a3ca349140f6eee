//! The authority of a request: `Host`, or the one in an absolute target (RFC 9110 §7.2).
//!
//! Narrower than RFC 3986: no user information, no escapes, no sub-delimiters in names, no empty
//! port. Names in use need none of them, and readers differ about each.

use std::net::Ipv6Addr;

/// Whether `text` is a host with an optional port.
#[inline]
pub(crate) fn is_valid(text: &[u8]) -> bool {
    let Some((name, port)) = split(text) else {
        return false;
    };
    let port_ok = match port {
        None => true,
        Some(port) => {
            port.len() <= 5 && crate::bytes::decimal(port).is_some_and(|port| port <= 65535)
        }
    };
    let name_ok = match name {
        [b'[', address @ .., b']'] => is_ipv6(address),
        [] | [b'.'] | [.., b'.', b'.'] => false,
        _ => name
            .iter()
            .all(|&b| crate::bytes::is(b, crate::bytes::UNRESERVED)),
    };
    port_ok && name_ok
}

#[cold]
fn is_ipv6(address: &[u8]) -> bool {
    std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// Cuts a host from its port. Brackets stay with the host.
#[inline]
fn split(text: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if text.first() == Some(&b'[') {
        let end = text.iter().position(|&b| b == b']')? + 1;
        return match &text[end..] {
            [] => Some((text, None)),
            [b':', port @ ..] => Some((&text[..end], Some(port))),
            _ => None,
        };
    }
    Some(match text.iter().position(|&b| b == b':') {
        Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
        None => (text, None),
    })
}

/// The host of a valid authority, without its port and without the root's dot.
#[inline]
pub(crate) fn name(authority: &[u8]) -> &[u8] {
    let name = split(authority).map_or(authority, |(name, _)| name);
    match name {
        [name @ .., b'.'] => name,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_in_use_are_valid() {
        for host in [
            "a",
            "example.com",
            "example.com.",
            "EXAMPLE.com:8080",
            "127.0.0.1:80",
            "[::1]",
            "[2001:db8::1]:443",
            "a_b.example",
            "a:0",
        ] {
            assert!(is_valid(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn hosts_that_readers_disagree_about_are_not() {
        for host in [
            "",
            ".",
            "a..",
            ":80",
            "a:",
            "a:b",
            "a:65536",
            "a:+80",
            "a:80:80",
            "u@a",
            "a/b",
            "a b",
            "a,b",
            "a\\b",
            "a%2eb",
            "[::1",
            "::1",
            "[::1]x",
            "[::1%25eth0]",
            "[a]",
            "[]",
            "a?b",
            "a#b",
            "\u{e9}",
            "a:000080",
        ] {
            assert!(!is_valid(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn the_name_is_without_port_and_root_dot() {
        for (authority, wanted) in [
            ("example.com.:80", "example.com"),
            ("[::1]:80", "[::1]"),
            ("a", "a"),
            ("", ""),
        ] {
            assert_eq!(name(authority.as_bytes()), wanted.as_bytes());
        }
    }
}
