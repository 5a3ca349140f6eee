//! Request and response heads, parsed in place.

use super::Malformed;

/// How a message's end is found (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Content of this many bytes, possibly none.
    Length(u64),
    /// Chunked coding.
    Chunked,
    /// All that comes until the connection is closed.
    UntilClose,
}

/// What a client needs to know of an answer's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status code.
    pub status: u16,
    /// How its content ends.
    pub framing: Framing,
    /// Whether the connection may carry another exchange.
    pub keep_alive: bool,
}

/// What an origin needs to know of a request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The request target, as sent.
    pub target: &'a [u8],
    /// How its content ends.
    pub framing: Framing,
    /// Whether the connection may carry another exchange.
    pub keep_alive: bool,
    /// Whether the client waits for a 100 before it sends content.
    pub expects_continue: bool,
}

/// The fields that decide about framing and the connection.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
}

/// The answer's head at the start of `input` and its length; `None` while it is not complete.
pub fn parse_response(
    input: &[u8],
    to_head_request: bool,
) -> Result<Option<(ResponseHead, usize)>, Malformed> {
    let Some((line, fields_at)) = next_line(input, 0) else {
        return Ok(None);
    };
    let Some((fields, len)) = parse_fields(input, fields_at)? else {
        return Ok(None);
    };
    let (minor, status) = match line {
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            minor @ (b'0' | b'1'),
            b' ',
            a,
            b,
            c,
            rest @ ..,
        ] if [a, b, c].iter().all(|digit| digit.is_ascii_digit())
            && rest.first().is_none_or(|&byte| byte == b' ') =>
        {
            (
                *minor,
                u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'),
            )
        }
        _ => return Err(Malformed),
    };
    let framing = match fields.length {
        _ if to_head_request || status < 200 || status == 204 || status == 304 => {
            Framing::Length(0)
        }
        _ if fields.chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    };
    let keep_alive = framing != Framing::UntilClose && fields.allows_reuse(minor);
    Ok(Some((
        ResponseHead {
            status,
            framing,
            keep_alive,
        },
        len,
    )))
}

/// The request's head at the start of `input` and its length; `None` while it is not complete.
pub fn parse_request(input: &[u8]) -> Result<Option<(RequestHead<'_>, usize)>, Malformed> {
    let Some((line, fields_at)) = next_line(input, 0) else {
        return Ok(None);
    };
    let Some((fields, len)) = parse_fields(input, fields_at)? else {
        return Ok(None);
    };
    let method_end = memchr::memchr(b' ', line).ok_or(Malformed)?;
    let (method, rest) = (&line[..method_end], &line[method_end + 1..]);
    let target_end = memchr::memchr(b' ', rest).ok_or(Malformed)?;
    let minor = match &rest[target_end + 1..] {
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            minor @ (b'0' | b'1'),
        ] => *minor,
        _ => return Err(Malformed),
    };
    let framing = match fields.length {
        _ if fields.chunked => Framing::Chunked,
        length => Framing::Length(length.unwrap_or(0)),
    };
    let head = RequestHead {
        method,
        target: &rest[..target_end],
        framing,
        keep_alive: fields.allows_reuse(minor),
        expects_continue: fields.expects_continue,
    };
    Ok(Some((head, len)))
}

impl Fields {
    fn allows_reuse(&self, minor: u8) -> bool {
        !self.close && (minor == b'1' || self.keep_alive)
    }

    fn note(&mut self, line: &[u8]) -> Result<(), Malformed> {
        let colon = memchr::memchr(b':', line).ok_or(Malformed)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        // The length tells most fields apart without looking at them.
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .ok_or(Malformed)?;
                if self.length.is_some_and(|before| before != length) {
                    return Err(Malformed);
                }
                self.length = Some(length);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.chunked = value.eq_ignore_ascii_case(b"chunked");
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
            }
            _ => {}
        }
        Ok(())
    }
}

/// The fields from `at` on, and where the head ends.
fn parse_fields(input: &[u8], mut at: usize) -> Result<Option<(Fields, usize)>, Malformed> {
    let mut fields = Fields::default();
    while let Some((line, next)) = next_line(input, at) {
        if line.is_empty() {
            return Ok(Some((fields, next)));
        }
        fields.note(line)?;
        at = next;
    }
    Ok(None)
}

/// The line that starts at `at`, without its end, and where the next one starts.
fn next_line(input: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let len = memchr::memchr(b'\n', &input[at..])?;
    let line = &input[at..at + len];
    Some((line.strip_suffix(b"\r").unwrap_or(line), at + len + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_head_says_what_an_origin_needs() {
        let input = b"POST /echo HTTP/1.1\r\nHost: x\r\ncontent-length: 12\r\nExpect: 100-continue\r\n\r\nbody";
        let (head, len) = parse_request(input).unwrap().unwrap();
        assert_eq!((head.method, head.target), (&b"POST"[..], &b"/echo"[..]));
        assert_eq!(
            (head.framing, head.keep_alive, head.expects_continue),
            (Framing::Length(12), true, true)
        );
        assert_eq!(&input[len..], b"body");
    }

    #[test]
    fn framing_follows_the_rfc() {
        let framing = |head: &str, to_head_request| {
            parse_response(head.as_bytes(), to_head_request)
                .unwrap()
                .unwrap()
                .0
                .framing
        };
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false),
            Framing::Length(5)
        );
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true),
            Framing::Length(0)
        );
        assert_eq!(
            framing("HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n", false),
            Framing::Chunked
        );
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\n\r\n", false),
            Framing::UntilClose
        );
        assert_eq!(
            framing("HTTP/1.1 204 No Content\r\n\r\n", false),
            Framing::Length(0)
        );
        assert_eq!(
            framing(
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
                false
            ),
            Framing::Length(0)
        );
    }

    #[test]
    fn reuse_follows_version_and_connection() {
        let keep = |head: &str| {
            parse_response(head.as_bytes(), false)
                .unwrap()
                .unwrap()
                .0
                .keep_alive
        };
        assert!(keep("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        assert!(!keep(
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n\r\n"
        ));
        assert!(!keep("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"));
        assert!(keep(
            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"
        ));
        assert!(!keep("HTTP/1.1 200 OK\r\n\r\n"));
    }

    #[test]
    fn what_is_not_http_is_malformed() {
        for bad in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        ] {
            assert_eq!(parse_response(bad.as_bytes(), false), Err(Malformed));
        }
        let twice = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
        assert_eq!(parse_response(twice, false), Err(Malformed));
    }
}
