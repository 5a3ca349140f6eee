//! Strings with rules: names, hosts, path templates, methods, fields.
//!
//! What passes here is written into heads, logs and labels, so nothing with a control character does.

use super::error::{Wrong, nearest, quoted};
use super::keys::Syntax;

/// Longest name of a listener, route or upstream: they are labels of metrics.
const NAME_CHARS_MAX: usize = 64;

/// Longest host name, and longest label of one. RFC 1035 §2.3.4.
const HOST_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Methods that people use, to suggest the right case.
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

pub(super) const NAME: Syntax = Syntax {
    says: "a name",
    check: name,
};
pub(super) const HOST: Syntax = Syntax {
    says: "a host name, without a port; \"*.example.com\" takes every name below it",
    check: host,
};
pub(super) const PATH: Syntax = Syntax {
    says: "a path template: \"/users/{id}\", or \"/static/{*rest}\" for a prefix",
    check: |text| path_template(text).map(drop),
};
pub(super) const METHOD: Syntax = Syntax {
    says: "a method, in upper case",
    check: method,
};
pub(super) const FIELD: Syntax = Syntax {
    says: "a field's name",
    check: super::check::field_editable,
};
pub(super) const PREFIX: Syntax = Syntax {
    says: "a path, like \"/v1\"",
    check: prefix,
};
pub(super) const LOCATION: Syntax = Syntax {
    says: "a URL or a path; {path} and {query} stand for the request's",
    check: location,
};
pub(super) const BODY: Syntax = Syntax {
    says: "text",
    check: |_| Ok(()),
};
pub(super) const ACCESS: Syntax = Syntax {
    says: "\"stdout\", \"off\" or a path",
    check: access,
};
/// For keys that are refused before their value is read.
pub(super) const ANY: Syntax = Syntax {
    says: "a string",
    check: |_| Ok(()),
};

/// The name of a listener, a route, an upstream.
pub(super) fn name(text: &str) -> Result<(), Wrong> {
    if text.is_empty() {
        return Err(Wrong::new("a name is not empty"));
    }
    if text.chars().count() > NAME_CHARS_MAX {
        return Err(Wrong::new(format!(
            "a name has at most {NAME_CHARS_MAX} characters"
        )));
    }
    if text.chars().any(char::is_control) {
        return Err(Wrong::new("a name has no control characters"));
    }
    Ok(())
}

/// A host of a route, exact or `*.` and a name.
fn host(text: &str) -> Result<(), Wrong> {
    if text == "*" {
        return Err(Wrong::new("`*` alone is not a host")
            .help("leave `hosts` out: the route then takes every host"));
    }
    if let Some(inner) = text.strip_prefix('[') {
        let literal = inner.strip_suffix(']').unwrap_or(inner);
        return match literal.parse::<std::net::Ipv6Addr>() {
            Ok(_) if inner.ends_with(']') => Ok(()),
            _ => Err(Wrong::new(format!("{} is not a host", quoted(text)))
                .help("an IPv6 address stands between brackets, without a port: \"[::1]\"")),
        };
    }
    let plain = text.strip_prefix("*.").unwrap_or(text);
    if plain.contains('*') {
        return Err(Wrong::new(format!(
            "{}: `*` may only be the whole first label",
            quoted(text)
        ))
        .help("like \"*.example.com\""));
    }
    if let Some((before, after)) = plain.split_once(':') {
        let wrong = Wrong::new(format!("{}: a host has no port or scheme", quoted(text)));
        let rest = after.trim_start_matches('/');
        let meant = if after.starts_with("//") {
            rest
        } else {
            before
        };
        let meant = meant.split(['/', ':']).next().unwrap_or_default();
        return Err(wrong.help(format!("did you mean \"{meant}\"?")));
    }
    host_name(plain)
}

/// A name in DNS's shape; `_` is taken too, since people use it.
pub(super) fn host_name(text: &str) -> Result<(), Wrong> {
    let wrong = |why: &str| Wrong::new(format!("{} is not a host name: {why}", quoted(text)));
    if text.is_empty() {
        return Err(wrong("it is empty"));
    }
    if !text.is_ascii() {
        return Err(wrong("it is not ASCII").help("write its punycode form, \"xn--…\""));
    }
    if text.len() > HOST_BYTES_MAX {
        return Err(wrong("it is longer than 253 bytes"));
    }
    for label in text.split('.') {
        if label.is_empty() {
            return Err(
                wrong("it has an empty label").help("no dot at either end, nor two together")
            );
        }
        if label.len() > LABEL_BYTES_MAX {
            return Err(wrong("a label is longer than 63 bytes"));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(wrong("a label begins or ends with `-`"));
        }
        let odd = label
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || *c == '-' || *c == '_'));
        if let Some(odd) = odd {
            return Err(wrong(&format!("it has {}", quoted(&odd.to_string()))));
        }
    }
    Ok(())
}

/// A path template; its shape is returned, in which parameters have no names.
pub(super) fn path_template(text: &str) -> Result<String, Wrong> {
    let Some(path) = text.strip_prefix('/') else {
        return Err(
            Wrong::new(format!("{}: a path begins with `/`", quoted(text)))
                .help(format!("did you mean \"/{text}\"?")),
        );
    };
    let mut shape = String::new();
    let mut names: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').collect();
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        shape.push('/');
        if segment.is_empty() && !last {
            return Err(Wrong::new(format!("{} has an empty segment", quoted(text)))
                .help("write one `/` between segments"));
        }
        let Some(inner) = parameter(text, segment)? else {
            path_chars(text, segment)?;
            shape.push_str(segment);
            continue;
        };
        let (rest, name) = inner
            .strip_prefix('*')
            .map_or((false, inner), |name| (true, name));
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(
                Wrong::new(format!("{} is not a parameter", quoted(segment)))
                    .help("its name is made of letters, digits and `_`: {id}, {*rest}"),
            );
        }
        if names.contains(&name) {
            return Err(
                Wrong::new(format!("{{{name}}} is there twice in {}", quoted(text)))
                    .help("give each parameter a name of its own"),
            );
        }
        if rest && !last {
            return Err(
                Wrong::new(format!("{}: {{*{name}}} may only be last", quoted(text))).help(
                    format!("it takes the rest of the path; {{{name}}} takes one segment"),
                ),
            );
        }
        names.push(name);
        shape.push_str(if rest { "{*}" } else { "{}" });
    }
    Ok(shape)
}

/// What stands between the braces, where the segment is a parameter.
fn parameter<'s>(text: &str, segment: &'s str) -> Result<Option<&'s str>, Wrong> {
    if segment.starts_with('*') || segment.starts_with(':') {
        let name = segment.trim_start_matches(['*', ':']);
        let name = if name.is_empty() { "rest" } else { name };
        let star = if segment.starts_with('*') { "*" } else { "" };
        return Err(
            Wrong::new(format!("{}: a parameter stands in braces", quoted(text)))
                .help(format!("did you mean {{{star}{name}}}?")),
        );
    }
    let inner = segment
        .strip_prefix('{')
        .and_then(|inner| inner.strip_suffix('}'));
    match inner {
        Some(inner) if !inner.contains(['{', '}']) => Ok(Some(inner)),
        _ if segment.contains(['{', '}']) => Err(Wrong::new(format!(
            "{}: a parameter is a whole segment",
            quoted(text)
        ))
        .help("like \"/users/{id}/posts\"")),
        _ => Ok(None),
    }
}

/// The characters of a segment: RFC 3986 §3.3 `pchar`, dot segments refused.
fn path_chars(text: &str, segment: &str) -> Result<(), Wrong> {
    if segment == "." || segment == ".." {
        return Err(Wrong::new(format!("{} has a dot segment", quoted(text)))
            .help("write the path that is meant, without `.` and `..`"));
    }
    let allowed = |c: &char| c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=:@".contains(*c);
    let Some(odd) = segment.chars().find(|c| !allowed(c)) else {
        let escapes = segment.split('%').skip(1);
        let hex = |escape: &str| {
            let two = escape.as_bytes().get(..2);
            two.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
        };
        return if escapes.clone().all(hex) {
            Ok(())
        } else {
            Err(
                Wrong::new(format!("{} has a `%` that escapes nothing", quoted(text)))
                    .help("two hex digits follow it; `%` itself is written %25"),
            )
        };
    };
    let wrong = Wrong::new(format!(
        "{} has {}, which is no part of a path",
        quoted(text),
        quoted(&odd.to_string())
    ));
    Err(match odd {
        '?' => wrong.help("a route does not look at the query"),
        '#' => wrong.help("a fragment never reaches a server"),
        _ => wrong.help("percent-encode it"),
    })
}

fn method(text: &str) -> Result<(), Wrong> {
    let upper = text.to_ascii_uppercase();
    if upper != text && METHODS.contains(&upper.as_str()) {
        return Err(
            Wrong::new(format!("{}: methods are in upper case", quoted(text)))
                .help(format!("did you mean \"{upper}\"?")),
        );
    }
    if !is_token(text) {
        let help = nearest(&upper, METHODS).map_or(
            "like \"GET\"; leave `methods` out to take every one".to_owned(),
            |near| format!("did you mean \"{near}\"?"),
        );
        return Err(Wrong::new(format!("{} is not a method", quoted(text))).help(help));
    }
    Ok(())
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

pub(super) fn field_name(text: &str) -> Result<(), Wrong> {
    if is_token(text) {
        return Ok(());
    }
    Err(
        Wrong::new(format!("{} is not a field's name", quoted(text)))
            .help("it is made of letters, digits and `-`"),
    )
}

/// RFC 9110 §5.5; what would end the line, or is not ASCII, never goes out.
pub(super) fn field_value(text: &str) -> Result<(), Wrong> {
    let odd = text
        .chars()
        .find(|c| !(c.is_ascii_graphic() || *c == ' ' || *c == '\t'));
    if let Some(odd) = odd {
        return Err(Wrong::new(format!(
            "a field's value may not have {}",
            quoted(&odd.to_string())
        ))
        .help("visible ASCII, spaces and tabs"));
    }
    if text.trim() != text {
        return Err(Wrong::new("a field's value has no space at either end")
            .help("receivers strip it; take it out"));
    }
    Ok(())
}

fn prefix(text: &str) -> Result<(), Wrong> {
    let Some(path) = text.strip_prefix('/') else {
        return Err(
            Wrong::new(format!("{}: a prefix begins with `/`", quoted(text)))
                .help(format!("did you mean \"/{text}\"?")),
        );
    };
    if path.is_empty() || path.ends_with('/') {
        return Err(
            Wrong::new(format!("{}: a prefix does not end with `/`", quoted(text)))
                .help("like \"/v1\""),
        );
    }
    for segment in path.split('/') {
        if segment.is_empty() {
            return Err(Wrong::new(format!("{} has an empty segment", quoted(text))));
        }
        path_chars(text, segment)?;
    }
    Ok(())
}

fn location(text: &str) -> Result<(), Wrong> {
    let plain = text.replace("{path}", "").replace("{query}", "");
    if let Some(odd) = plain
        .chars()
        .find(|c| !c.is_ascii_graphic() || "{}<>\"\\^`|".contains(*c))
    {
        let wrong = Wrong::new(format!(
            "{} has {}, which is no part of a URL",
            quoted(text),
            quoted(&odd.to_string())
        ));
        return Err(match odd {
            '{' | '}' => wrong.help("the placeholders are {path} and {query}"),
            _ => wrong.help("percent-encode it"),
        });
    }
    let absolute = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    // "//host" would leave the site by a path; a URL says so plainly.
    let local = text.starts_with("/") && !text.starts_with("//") || text.starts_with("{path}");
    if absolute.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')) || local {
        return Ok(());
    }
    Err(
        Wrong::new(format!("{} is neither a URL nor a path", quoted(text)))
            .help("like \"https://example.com{path}\" or \"/new\""),
    )
}

/// A word that is nearly "stdout" is a slip, not a file.
fn access(text: &str) -> Result<(), Wrong> {
    if text == "stdout" || text == "off" || text.contains(['/', '.']) && !text.ends_with('/') {
        return Ok(());
    }
    let help = match nearest(text, ["stdout", "off"]) {
        Some(near) => format!("did you mean \"{near}\"? A file is written \"./{text}\""),
        None => "write \"stdout\", \"off\", or a path with a `/` in it".to_owned(),
    };
    Err(Wrong::new(format!(
        "{} is neither \"stdout\", \"off\" nor the path of a file",
        quoted(text)
    ))
    .help(help))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(check: fn(&str) -> Result<(), Wrong>, text: &str, says: &str) {
        let wrong = check(text).expect_err(text);
        let all = format!("{} {}", wrong.message, wrong.help.unwrap_or_default());
        assert!(all.contains(says), "{text}: {all}");
    }

    #[test]
    fn a_wildcard_is_the_whole_first_label() {
        for good in [
            "a.example.com",
            "*.example.com",
            "localhost",
            "10.0.0.1",
            "[::1]",
            "a_b.c",
        ] {
            assert_eq!(host(good), Ok(()), "{good}");
        }
        refused(host, "*", "leave `hosts` out");
        refused(host, "a*.example.com", "whole first label");
        refused(host, "a.*.com", "whole first label");
        refused(host, "*.", "empty");
        refused(host, "example.com:8080", "\"example.com\"");
        refused(host, "https://example.com/x", "\"example.com\"");
        refused(host, "bücher.de", "punycode");
        refused(host, "a..b", "empty label");
        refused(host, "-a.b", "begins or ends");
        refused(host, "a b", "it has ` `");
        refused(host, "[::1]:80", "without a port");
        refused(host, &"a".repeat(64), "63");
        refused(host, &"a.".repeat(200), "253");
    }

    #[test]
    fn a_path_template_has_whole_segments_as_parameters() {
        let shape = |text| path_template(text).unwrap();
        assert_eq!(shape("/"), "/");
        assert_eq!(shape("/users/{id}"), "/users/{}");
        assert_eq!(shape("/static/{*rest}"), "/static/{*}");
        assert_eq!(shape("/a/"), "/a/");
        let check = |text: &str| path_template(text).map(drop);
        refused(check, "users", "\"/users\"");
        refused(check, "/a/x{id}", "whole segment");
        refused(check, "/{*rest}/x", "only be last");
        refused(check, "/{a}/{a}", "twice");
        refused(check, "/{}", "letters");
        refused(check, "/*", "{*rest}");
        refused(check, "/:id", "{id}");
        refused(check, "/a//b", "empty segment");
        refused(check, "/a/../b", "dot segment");
        refused(check, "/a?b", "query");
        refused(check, "/a b", "percent-encode");
        refused(check, "/a%2", "two hex digits");
        assert_eq!(shape("/a%2Fb"), "/a%2Fb");
    }

    #[test]
    fn methods_are_tokens_in_upper_case() {
        assert_eq!(method("GET"), Ok(()));
        assert_eq!(method("PROPFIND"), Ok(()));
        refused(method, "get", "\"GET\"");
        refused(method, "GET ", "\"GET\"");
        refused(method, "", "not a method");
    }

    #[test]
    fn a_fields_value_cannot_end_the_line() {
        assert_eq!(field_value("max-age=1, \"x\""), Ok(()));
        assert_eq!(field_value(""), Ok(()));
        refused(field_value, "a\r\nb: c", "\\r");
        refused(field_value, "a\0", "\\0");
        refused(field_value, " a", "either end");
        refused(field_value, "é", "ASCII");
        refused(field_name, "x env", "not a field's name");
        refused(field_name, "x:", "not a field's name");
    }

    #[test]
    fn a_redirect_goes_to_a_url_or_a_path() {
        for good in [
            "https://example.com{path}",
            "http://a/?{query}",
            "/new",
            "{path}/",
        ] {
            assert_eq!(location(good), Ok(()), "{good}");
        }
        refused(location, "example.com", "neither a URL nor a path");
        refused(location, "//example.com", "neither");
        refused(location, "https:///x", "neither");
        refused(location, "https://a/{host}", "{path} and {query}");
        refused(location, "/a\nb", "percent-encode");
    }

    #[test]
    fn a_slip_of_stdout_is_not_a_file() {
        assert_eq!(access("logs/access.log"), Ok(()));
        assert_eq!(access("access.log"), Ok(()));
        refused(access, "stdot", "\"stdout\"");
        refused(access, "none", "neither");
    }

    #[test]
    fn prefixes_begin_with_a_slash_and_do_not_end_with_one() {
        assert_eq!(prefix("/v1"), Ok(()));
        refused(prefix, "v1", "\"/v1\"");
        refused(prefix, "/v1/", "end with");
        refused(prefix, "/", "end with");
        refused(prefix, "/a//b", "empty segment");
    }
}
