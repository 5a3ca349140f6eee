//! HTTP/1.1 as bytes on a socket, read without any leniency: both the client and the origins read with it.
//!
//! Whatever the product sends must be beyond doubt, so a bare LF, a folded line, two lengths or a chunk size with a sign are
//! `Malformed` here.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::PATIENCE;

/// A head longer than this is not one that a test sends.
const HEAD_BYTES_MAX: usize = 1 << 20;

/// Why a read did not yield what was awaited.
#[derive(Debug)]
pub enum WireError {
    /// The peer closed before the first byte of it.
    Closed,
    /// The peer closed inside it.
    CutShort,
    /// The peer reset the connection.
    Reset,
    /// The peer's bytes are not HTTP/1.1; in words.
    Malformed(String),
    /// Nothing came for as long as a test is patient.
    TimedOut,
    /// Anything else.
    Io(io::Error),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => WireError::Reset,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => WireError::TimedOut,
            _ => WireError::Io(error),
        }
    }
}

/// A head: its start line and its fields, as sent.
#[derive(Debug, Clone)]
pub struct Head {
    /// The first line, without its CRLF.
    pub start: String,
    /// Every field in order, the value without the white space around it.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// Every value of the fields called `name`, in order.
    pub fn values(&self, name: &str) -> Vec<&str> {
        values(&self.fields, name)
    }

    /// The value of the only field called `name`; panics on two.
    pub fn value(&self, name: &str) -> Option<&str> {
        let values = self.values(name);
        assert!(values.len() <= 1, "{name} more than once: {values:?}");
        values.first().copied()
    }

    /// Whether a field is called `name`.
    pub fn has(&self, name: &str) -> bool {
        !self.values(name).is_empty()
    }

    /// Whether `name`'s comma-separated members include `member`, in any case.
    pub fn lists(&self, name: &str, member: &str) -> bool {
        self.values(name)
            .iter()
            .flat_map(|value| value.split(','))
            .any(|one| one.trim().eq_ignore_ascii_case(member))
    }
}

/// Every value of the fields called `name`, in order.
pub fn values<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    fields
        .iter()
        .filter(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
        .collect()
}

/// How a body's end is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// This many bytes.
    Length(u64),
    /// Chunked coding.
    Chunked,
    /// Until the connection closes.
    UntilClose,
}

impl Framing {
    /// How the fields tell it; `otherwise` where they do not.
    fn told_by(head: &Head, otherwise: Framing) -> Result<Framing, WireError> {
        let codings = head.values("transfer-encoding");
        let lengths = head.values("content-length");
        match (codings.as_slice(), lengths.as_slice()) {
            ([], []) => Ok(otherwise),
            ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
            ([], [length]) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
                length
                    .parse()
                    .map(Framing::Length)
                    .map_err(|_| WireError::Malformed(format!("content-length: {length}")))
            }
            _ => Err(WireError::Malformed(format!(
                "a body framed by transfer-encoding {codings:?} and content-length {lengths:?}"
            ))),
        }
    }

    /// Of a request with this head.
    pub fn of_request(head: &Head) -> Result<Framing, WireError> {
        Framing::told_by(head, Framing::Empty)
    }

    /// Of a response with this head to a request of `method`. RFC 9112 §6.3.
    pub fn of_response(head: &Head, method: &str) -> Result<Framing, WireError> {
        let status = status_of(head)?;
        let told = Framing::told_by(head, Framing::UntilClose)?;
        let bodiless = method == "HEAD" || status < 200 || status == 204 || status == 304;
        Ok(if bodiless { Framing::Empty } else { told })
    }
}

/// The status of a response's head.
pub fn status_of(head: &Head) -> Result<u16, WireError> {
    let bad = || WireError::Malformed(format!("status line: {:?}", head.start));
    let rest = head
        .start
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| head.start.strip_prefix("HTTP/1.0 "))
        .ok_or_else(bad)?;
    let (digits, reason) = rest.split_at_checked(3).ok_or_else(bad)?;
    // RFC 9112 §4: the space stays where the reason is empty.
    if !reason.starts_with(' ') || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    digits.parse().map_err(|_| bad())
}

/// A socket and the bytes read ahead from it.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    ahead: Vec<u8>,
    taken: usize,
}

impl Wire {
    /// Reads from and writes to `stream`.
    pub fn new(stream: TcpStream) -> Wire {
        stream
            .set_nodelay(true)
            .expect("a TCP socket has no delay to be turned off");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("the timeout is not zero");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("the timeout is not zero");
        Wire {
            stream,
            ahead: Vec::new(),
            taken: 0,
        }
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends all of `bytes`.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Bytes read from the socket and not taken yet.
    fn pending(&self) -> &[u8] {
        &self.ahead[self.taken..]
    }

    /// Reads once more; false at the end.
    fn fill(&mut self) -> Result<bool, WireError> {
        self.ahead.drain(..self.taken);
        self.taken = 0;
        let held = self.ahead.len();
        self.ahead.resize(held + 64 * 1024, 0);
        let outcome = loop {
            match self.stream.read(&mut self.ahead[held..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome,
            }
        };
        self.ahead.truncate(held + *outcome.as_ref().unwrap_or(&0));
        Ok(outcome? > 0)
    }

    /// One line without its CRLF.
    pub fn read_line(&mut self) -> Result<Vec<u8>, WireError> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.pending()[searched..].iter().position(|&b| b == b'\n') {
                let end = searched + at;
                let line = self.pending()[..end].to_vec();
                self.taken += end + 1;
                let Some((b'\r', line)) = line.split_last() else {
                    return Err(WireError::Malformed(format!(
                        "bare LF after {:?}",
                        String::from_utf8_lossy(&line)
                    )));
                };
                if line.iter().any(|&b| b == b'\r' || b == 0) {
                    return Err(WireError::Malformed(format!(
                        "CR or NUL in {:?}",
                        String::from_utf8_lossy(line)
                    )));
                }
                return Ok(line.to_vec());
            }
            searched = self.pending().len();
            if searched > HEAD_BYTES_MAX {
                return Err(WireError::Malformed("a line without end".into()));
            }
            if !self.fill()? {
                return Err(if searched == 0 {
                    WireError::Closed
                } else {
                    WireError::CutShort
                });
            }
        }
    }

    /// A head up to and with its empty line.
    pub fn read_head(&mut self) -> Result<Head, WireError> {
        let start = text(&self.read_line()?);
        let fields = self.read_fields()?;
        Ok(Head { start, fields })
    }

    /// Fields up to and with the empty line.
    fn read_fields(&mut self) -> Result<Vec<(String, String)>, WireError> {
        let mut fields = Vec::new();
        loop {
            let line = match self.read_line() {
                Err(WireError::Closed) => return Err(WireError::CutShort),
                line => text(&line?),
            };
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| WireError::Malformed(format!("a field without colon: {line:?}")))?;
            if name.is_empty() || name.bytes().any(|b| b <= b' ' || b >= 127) {
                return Err(WireError::Malformed(format!("a field's name: {line:?}")));
            }
            fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }

    /// Passes the next bytes, at most `most`, to `sink` as they come; how many. 0 only at the end.
    fn pass(&mut self, most: u64, sink: &mut dyn FnMut(&[u8])) -> Result<u64, WireError> {
        if self.pending().is_empty() && !self.fill()? {
            return Ok(0);
        }
        let n = self
            .pending()
            .len()
            .min(usize::try_from(most).unwrap_or(usize::MAX));
        sink(&self.pending()[..n]);
        self.taken += n;
        Ok(n as u64)
    }

    /// Passes exactly `bytes` bytes to `sink`.
    fn pass_exactly(&mut self, bytes: u64, sink: &mut dyn FnMut(&[u8])) -> Result<(), WireError> {
        let mut left = bytes;
        while left > 0 {
            match self.pass(left, sink)? {
                0 => return Err(WireError::CutShort),
                n => left -= n,
            }
        }
        Ok(())
    }

    /// Exactly `bytes` bytes.
    pub fn read_exactly(&mut self, bytes: usize) -> Result<Vec<u8>, WireError> {
        let mut all = Vec::new();
        self.pass_exactly(bytes as u64, &mut |piece| all.extend_from_slice(piece))?;
        Ok(all)
    }

    /// Whatever comes next, at least a byte; empty at the end.
    pub fn read_some(&mut self) -> Result<Vec<u8>, WireError> {
        let mut some = Vec::new();
        self.pass(u64::MAX, &mut |piece| some.extend_from_slice(piece))?;
        Ok(some)
    }

    /// Everything up to the end.
    pub fn read_to_end(&mut self) -> Result<Vec<u8>, WireError> {
        let mut all = Vec::new();
        while self.pass(u64::MAX, &mut |piece| all.extend_from_slice(piece))? > 0 {}
        Ok(all)
    }

    /// One chunk's data; `None` for the last one, whose trailers come next.
    pub fn read_chunk(&mut self) -> Result<Option<Vec<u8>>, WireError> {
        let mut data = Vec::new();
        let more = self.pass_chunk(&mut |piece| data.extend_from_slice(piece))?;
        Ok(more.then_some(data))
    }

    /// Passes one chunk's data to `sink`; false for the last one.
    fn pass_chunk(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<bool, WireError> {
        let line = match self.read_line() {
            Err(WireError::Closed) => return Err(WireError::CutShort),
            line => text(&line?),
        };
        let digits = line.split(';').next().unwrap_or_default();
        if digits.is_empty() || digits.len() > 16 || !digits.bytes().all(|b| b.is_ascii_hexdigit())
        {
            return Err(WireError::Malformed(format!("chunk size {line:?}")));
        }
        let size =
            u64::from_str_radix(digits, 16).map_err(|_| WireError::Malformed(line.clone()))?;
        if size == 0 {
            return Ok(false);
        }
        self.pass_exactly(size, sink)?;
        match self.read_line() {
            Ok(rest) if rest.is_empty() => Ok(true),
            Ok(rest) => Err(WireError::Malformed(format!(
                "{} bytes after a chunk's data",
                rest.len()
            ))),
            Err(WireError::Closed) => Err(WireError::CutShort),
            Err(error) => Err(error),
        }
    }

    /// The trailers of a chunked body, after its last chunk.
    pub fn read_trailers(&mut self) -> Result<Vec<(String, String)>, WireError> {
        self.read_fields()
    }

    /// Passes a body to `sink` as it comes; its trailers.
    pub fn pass_body(
        &mut self,
        framing: Framing,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Vec<(String, String)>, WireError> {
        match framing {
            Framing::Empty => Ok(Vec::new()),
            Framing::Length(bytes) => self.pass_exactly(bytes, sink).map(|()| Vec::new()),
            Framing::Chunked => {
                while self.pass_chunk(sink)? {}
                self.read_trailers()
            }
            Framing::UntilClose => {
                while self.pass(u64::MAX, sink)? > 0 {}
                Ok(Vec::new())
            }
        }
    }
}

/// Bytes as text, one character a byte, so that nothing is lost or refused.
fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}

/// A chunked body of these chunks, without trailers.
pub fn chunked(chunks: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    for data in chunks {
        body.extend(chunk(data));
    }
    body.extend_from_slice(b"0\r\n\r\n");
    body
}

/// One chunk.
pub fn chunk(data: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
    chunk.extend_from_slice(data);
    chunk.extend_from_slice(b"\r\n");
    chunk
}
