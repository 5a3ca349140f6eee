//! Messages out of bytes that arrive in pieces.

use super::{ChunkedDecoder, Framing, Malformed, ResponseHead, parse_response};

/// Longest head accepted. Only heads that are cut by a read are copied, so this bounds what one connection can hold.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What came out of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A head. Interim (1xx) ones are not reported.
    Head(ResponseHead),
    /// Content.
    Content(&'a [u8]),
    /// The message is complete; what follows belongs to the next one.
    End,
}

/// Reads one answer after the other.
#[derive(Debug, Default)]
pub struct ResponseReader {
    /// The start of a head that was cut.
    partial: Vec<u8>,
    body: Option<BodyReader>,
}

impl ResponseReader {
    /// Whether an answer has begun and not ended.
    pub fn is_inside(&self) -> bool {
        self.body.is_some() || !self.partial.is_empty()
    }

    /// Whether the answer ends where the connection does. Then the end of the connection completes it.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self.body, Some(BodyReader::UntilClose))
    }

    /// Content that is known to follow, all of it in the bytes that come next.
    pub fn content_left(&self) -> u64 {
        match self.body {
            Some(BodyReader::Length(left)) => left,
            _ => 0,
        }
    }

    /// Takes the next `bytes` of [`content_left`](Self::content_left) as read; whether the answer has ended with them,
    /// [`next`](Self::next) says.
    pub fn skip_content(&mut self, bytes: u64) {
        if let Some(BodyReader::Length(left)) = &mut self.body {
            *left -= bytes;
        }
    }

    /// Forgets what was read; what was allocated is kept for the next connection.
    pub fn reset(&mut self) {
        self.partial.clear();
        self.body = None;
    }

    /// The next event in `input`, which is moved past what was read; `None` when more bytes are needed.
    pub fn next<'a>(
        &mut self,
        input: &mut &'a [u8],
        to_head_request: bool,
    ) -> Result<Option<Event<'a>>, Malformed> {
        loop {
            if let Some(body) = &mut self.body {
                if body.is_done() {
                    self.body = None;
                    return Ok(Some(Event::End));
                }
                return match body.next(input)? {
                    Some(content) => Ok(Some(Event::Content(content))),
                    None if body.is_done() => continue,
                    None => Ok(None),
                };
            }
            if input.is_empty() {
                return Ok(None);
            }
            let parsed = carry_over(&mut self.partial, input, |bytes| {
                parse_response(bytes, to_head_request)
            })?;
            match parsed {
                None => return Ok(None),
                // RFC 9110 §15.2: any number of interim answers may come first. 101 ends HTTP on this connection.
                Some(head) if head.status < 200 && head.status != 101 => {}
                Some(head) => {
                    self.body = Some(BodyReader::new(head.framing));
                    return Ok(Some(Event::Head(head)));
                }
            }
        }
    }
}

/// Parses a head that may have begun in an earlier read. While it is not complete, all of `input` goes into `partial`;
/// once it is, `input` stands behind it and `partial` is empty.
pub fn carry_over<T>(
    partial: &mut Vec<u8>,
    input: &mut &[u8],
    parse: impl FnOnce(&[u8]) -> Result<Option<(T, usize)>, Malformed>,
) -> Result<Option<T>, Malformed> {
    let carried = partial.len();
    let room = HEAD_BYTES_MAX - carried;
    let parsed = if carried == 0 {
        parse(input)?
    } else {
        partial.extend_from_slice(&input[..input.len().min(room)]);
        parse(partial)?
    };
    if let Some((head, len)) = parsed {
        *input = &input[len - carried..];
        partial.clear();
        return Ok(Some(head));
    }
    if input.len() >= room {
        return Err(Malformed);
    }
    if carried == 0 {
        partial.extend_from_slice(input);
    }
    *input = &[];
    Ok(None)
}

/// Finds a body's end.
#[derive(Debug)]
pub enum BodyReader {
    /// So many bytes are left.
    Length(u64),
    /// Chunked coding.
    Chunked(ChunkedDecoder),
    /// Until the connection ends.
    UntilClose,
}

impl BodyReader {
    /// Stands at the body's start.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(ChunkedDecoder::new()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Whether all of the body has been read.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(decoder) => decoder.is_done(),
            Self::UntilClose => false,
        }
    }

    /// The next piece of content, `None` when `input` holds none.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Malformed> {
        let available = input.len();
        let len = match self {
            Self::Chunked(decoder) => return decoder.next(input),
            Self::Length(left) => (*left).min(available as u64) as usize,
            Self::UntilClose => available,
        };
        if let Self::Length(left) = self {
            *left -= len as u64;
        }
        let (content, rest) = input.split_at(len);
        *input = rest;
        Ok((len > 0).then_some(content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<(u16, Vec<u8>)>, Malformed> {
        let mut reader = ResponseReader::default();
        let (mut answers, mut open) = (Vec::new(), None);
        for mut piece in pieces.iter().copied() {
            while let Some(event) = reader.next(&mut piece, false)? {
                match event {
                    Event::Head(head) => open = Some((head.status, Vec::new())),
                    Event::Content(content) => open.as_mut().unwrap().1.extend_from_slice(content),
                    Event::End => answers.push(open.take().unwrap()),
                }
            }
        }
        Ok(answers)
    }

    const ANSWERS: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\
        HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

    #[test]
    fn every_split_reads_the_same() {
        let expected = vec![
            (200, b"hello".to_vec()),
            (204, Vec::new()),
            (500, b"abc".to_vec()),
            (200, Vec::new()),
        ];
        for at in 0..=ANSWERS.len() {
            let (a, b) = ANSWERS.split_at(at);
            assert_eq!(read(&[a, b]).as_ref(), Ok(&expected), "split at {at}");
        }
        let bytes: Vec<&[u8]> = ANSWERS.chunks(1).collect();
        assert_eq!(read(&bytes), Ok(expected));
    }

    #[test]
    fn content_can_be_skipped_up_to_its_end() {
        let mut reader = ResponseReader::default();
        let mut head: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(reader.content_left(), 0);
        assert!(matches!(
            reader.next(&mut head, false),
            Ok(Some(Event::Head(_)))
        ));
        assert_eq!(reader.content_left(), 5);
        reader.skip_content(4);
        assert_eq!(reader.content_left(), 1);
        assert_eq!(reader.next(&mut &b""[..], false), Ok(None));
        assert!(reader.is_inside());
        reader.skip_content(1);
        assert_eq!(reader.next(&mut &b""[..], false), Ok(Some(Event::End)));
        assert!(!reader.is_inside());
        let mut next: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(matches!(
            reader.next(&mut next, false),
            Ok(Some(Event::Head(_)))
        ));
        assert_eq!(reader.content_left(), 0);
    }

    #[test]
    fn a_head_without_end_is_refused_at_the_limit() {
        let line = [b'a'; 1000];
        let mut pieces: Vec<&[u8]> = vec![b"HTTP/1.1 200 OK\r\nX: "];
        pieces.extend(std::iter::repeat_n(&line[..], 70));
        assert_eq!(read(&pieces), Err(Malformed));
    }
}
