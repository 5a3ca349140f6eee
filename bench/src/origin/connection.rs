//! One connection of the origin: requests in, answers out, one at a time and in order.

use std::{
    io::{self, IoSlice, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags},
};

use super::answer::{Answer, Heads, Length, write};
use crate::{
    http1::{BodyReader, Framing, carry_over, parse_request},
    pattern::{self, PatternFile},
};

/// Content up to this size is copied behind its head and sent with it; longer content is sent from the table...
const COPIED_BYTES_MAX: u64 = 4096;

/// ...and while at least as much is to come, from a file, which copies nothing but takes a call more.
const FROM_FILE_BYTES_MIN: u64 = 64 * 1024;

/// Answers to pipelined requests are collected up to this size before they are sent.
const COLLECTED_BYTES_MAX: usize = 64 * 1024;

/// Content of one chunk of a chunked answer.
const CHUNK_BYTES: u64 = 16 * 1024;

/// Longest content that `/echo` keeps. More is answered with 413.
const ECHO_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What the connection waits for after it was driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    Readable,
    Writable,
    /// Nothing but the client's leaving, and possibly a moment.
    Until(Option<Instant>),
    Closed,
}

/// What a thread's connections share.
pub(super) struct Shared {
    pub(super) heads: Heads,
    pub(super) read_buffer: Box<[u8]>,
    /// A thread's own, because threads that share pages wait for each other to count their users.
    pub(super) file: PatternFile,
    pub(super) now: Instant,
}

pub(super) struct Connection {
    socket: TcpStream,
    reading: Reading,
    sending: Option<Content>,
    /// Bytes to send before `sending`, from `out_sent` on.
    out: Vec<u8>,
    out_sent: usize,
    /// Bytes that arrived behind a request that is still being answered.
    ahead: Vec<u8>,
    /// The start of a head that was cut.
    partial: Vec<u8>,
    echo: Vec<u8>,
    close_when_sent: bool,
}

/// Where the request being read stands.
enum Reading {
    Head,
    Body {
        body: BodyReader,
        request: Request,
    },
    /// The answer is due then.
    Delayed {
        until: Instant,
        request: Request,
    },
    Hanging,
}

/// What has to be remembered of a head until its answer begins.
#[derive(Clone, Copy)]
struct Request {
    answer: Answer,
    keep_alive: bool,
    head_only: bool,
    echo_refused: bool,
}

/// Content that is being sent from the pattern: from `offset` to `end`.
#[derive(Clone, Copy)]
struct Content {
    offset: u64,
    end: u64,
    chunked: bool,
}

enum Flushed {
    All,
    Blocked,
}

impl Connection {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            reading: Reading::Head,
            sending: None,
            out: Vec::new(),
            out_sent: 0,
            ahead: Vec::new(),
            partial: Vec::new(),
            echo: Vec::new(),
            close_when_sent: false,
        }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Does all that can be done without waiting. An error means that the client is gone.
    pub(super) fn drive(&mut self, shared: &mut Shared) -> io::Result<Waits> {
        loop {
            if let Flushed::Blocked = self.flush(&shared.file)? {
                return Ok(Waits::Writable);
            }
            if self.close_when_sent {
                return Ok(Waits::Closed);
            }
            match self.reading {
                Reading::Hanging if self.client_left()? => return Ok(Waits::Closed),
                Reading::Hanging => return Ok(Waits::Until(None)),
                Reading::Delayed { until, .. } if until > shared.now => {
                    return Ok(if self.client_left()? {
                        Waits::Closed
                    } else {
                        Waits::Until(Some(until))
                    });
                }
                Reading::Delayed { request, .. } => {
                    self.reading = Reading::Head;
                    self.answer(request, &shared.heads);
                    continue;
                }
                Reading::Head | Reading::Body { .. } => {}
            }
            if !self.ahead.is_empty() {
                let ahead = std::mem::take(&mut self.ahead);
                if self.take_in(&ahead, shared).is_break() {
                    return Ok(Waits::Closed);
                }
                continue;
            }
            // The buffer leaves its place while its bytes are looked at.
            let mut buffer = std::mem::take(&mut shared.read_buffer);
            let received = rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty());
            let step = match received {
                Ok((_, 0)) => Ok(Some(Waits::Closed)),
                Ok((_, len)) if self.take_in(&buffer[..len], shared).is_break() => {
                    Ok(Some(Waits::Closed))
                }
                // A read that did not fill the buffer took all there was.
                Ok((_, len)) if len < buffer.len() && self.is_between() => {
                    match self.flush(&shared.file) {
                        Ok(Flushed::All) if self.close_when_sent => Ok(Some(Waits::Closed)),
                        Ok(Flushed::All) => Ok(Some(Waits::Readable)),
                        Ok(Flushed::Blocked) => Ok(Some(Waits::Writable)),
                        Err(error) => Err(error),
                    }
                }
                Ok(_) | Err(Errno::INTR) => Ok(None),
                Err(Errno::AGAIN) => Ok(Some(Waits::Readable)),
                Err(errno) => Err(errno.into()),
            };
            shared.read_buffer = buffer;
            if let Some(waits) = step? {
                return Ok(waits);
            }
        }
    }

    /// Whether only the client can set things going again, once all has been sent.
    fn is_between(&self) -> bool {
        matches!(self.reading, Reading::Head | Reading::Body { .. }) && self.ahead.is_empty()
    }

    /// Reads requests and begins their answers until one has to be waited for. `Break`: the connection is to be reset.
    fn take_in(&mut self, mut input: &[u8], shared: &Shared) -> std::ops::ControlFlow<()> {
        use std::ops::ControlFlow::{Break, Continue};
        while !input.is_empty() {
            let may_begin = self.sending.is_none()
                && !self.close_when_sent
                && self.out.len() < COLLECTED_BYTES_MAX;
            match &mut self.reading {
                Reading::Head if may_begin => match self.read_head(&mut input, shared) {
                    Ok(true) => {}
                    Ok(false) => return Continue(()),
                    Err(()) => return Break(()),
                },
                Reading::Body { body, request } => {
                    match body.next(&mut input) {
                        Ok(Some(content)) if matches!(request.answer, Answer::Echo) => {
                            if self.echo.len() + content.len() > ECHO_BYTES_MAX {
                                request.echo_refused = true;
                            } else {
                                self.echo.extend_from_slice(content);
                            }
                        }
                        Ok(_) => {}
                        Err(_) => return self.refuse(shared),
                    }
                    if body.is_done() {
                        let request = *request;
                        if self.begin(request, shared).is_break() {
                            return Break(());
                        }
                    }
                }
                _ => {
                    self.ahead.extend_from_slice(input);
                    return Continue(());
                }
            }
        }
        Continue(())
    }

    /// `Ok(false)`: the head is not complete. `Err`: the connection is to be reset.
    fn read_head(&mut self, input: &mut &[u8], shared: &Shared) -> Result<bool, ()> {
        let parsed = carry_over(&mut self.partial, input, |bytes| {
            Ok(parse_request(bytes)?.map(|(head, len)| {
                let request = Request {
                    answer: Answer::to(head.target),
                    keep_alive: head.keep_alive,
                    head_only: head.method == b"HEAD",
                    echo_refused: false,
                };
                ((request, head.framing, head.expects_continue), len)
            }))
        });
        let (request, framing, expects_continue) = match parsed {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(false),
            Err(_) if self.refuse(shared).is_break() => return Err(()),
            Err(_) => return Ok(false),
        };
        if framing == Framing::Length(0) {
            return if self.begin(request, shared).is_break() {
                Err(())
            } else {
                Ok(true)
            };
        }
        if expects_continue {
            self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.reading = Reading::Body {
            body: BodyReader::new(framing),
            request,
        };
        Ok(true)
    }

    fn refuse(&mut self, shared: &Shared) -> std::ops::ControlFlow<()> {
        shared
            .heads
            .write(&mut self.out, 400, Length::Bytes(0), false);
        self.close_when_sent = true;
        std::ops::ControlFlow::Continue(())
    }

    /// The request has been read: now, later or never it is answered.
    fn begin(&mut self, request: Request, shared: &Shared) -> std::ops::ControlFlow<()> {
        self.reading = Reading::Head;
        match request.answer {
            Answer::Reset => {
                // What close() then sends is a reset. Where the option fails the client sees an orderly end instead.
                let _ = rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
                return std::ops::ControlFlow::Break(());
            }
            Answer::Hang => self.reading = Reading::Hanging,
            Answer::Content {
                delay: Some(delay), ..
            } => {
                self.reading = Reading::Delayed {
                    until: shared.now + delay,
                    request,
                };
            }
            _ => self.answer(request, &shared.heads),
        }
        std::ops::ControlFlow::Continue(())
    }

    fn answer(&mut self, request: Request, heads: &Heads) {
        let keep_alive = request.keep_alive && !matches!(request.answer, Answer::Cut { .. });
        self.close_when_sent |= !keep_alive;
        let out = &mut self.out;
        let content = match request.answer {
            Answer::Content { bytes, .. } => {
                heads.write(out, 200, Length::Bytes(bytes), keep_alive);
                Content {
                    offset: 0,
                    end: bytes,
                    chunked: false,
                }
            }
            Answer::Cut { bytes } => {
                heads.write(out, 200, Length::Bytes(bytes), true);
                Content {
                    offset: 0,
                    end: bytes / 2,
                    chunked: false,
                }
            }
            Answer::Chunked { bytes } => {
                heads.write(out, 200, Length::Chunked, keep_alive);
                Content {
                    offset: 0,
                    end: bytes,
                    chunked: true,
                }
            }
            Answer::Echo if !request.echo_refused => {
                heads.write(out, 200, Length::Bytes(self.echo.len() as u64), keep_alive);
                if !request.head_only {
                    out.append(&mut self.echo);
                }
                self.echo = Vec::new();
                return;
            }
            Answer::Echo => {
                self.echo = Vec::new();
                return heads.write(out, 413, Length::Bytes(0), keep_alive);
            }
            Answer::Status(status @ (204 | 304)) => {
                return heads.write(out, status, Length::Forbidden, keep_alive);
            }
            Answer::Status(status) => {
                return heads.write(out, status, Length::Bytes(0), keep_alive);
            }
            // These end before there is anything to write.
            Answer::Reset | Answer::Hang => return,
        };
        if request.head_only {
            return;
        }
        if !content.chunked && content.end <= COPIED_BYTES_MAX {
            out.extend_from_slice(&pattern::from(0)[..content.end as usize]);
        } else {
            self.sending = Some(content);
        }
    }

    /// Sends what is due; long content from `file`.
    fn flush(&mut self, file: &PatternFile) -> io::Result<Flushed> {
        loop {
            if let Some(Content {
                offset,
                end,
                chunked: true,
            }) = self.sending
            {
                self.next_chunk(offset, end);
            }
            let head = &self.out[self.out_sent..];
            let (offset, left) = match self.sending {
                Some(Content {
                    offset,
                    end,
                    chunked: false,
                }) => (offset, end - offset),
                _ => (0, 0),
            };
            let from_file = left >= FROM_FILE_BYTES_MIN;
            let slice = pattern::from(offset);
            let body = &slice[..left.min(slice.len() as u64) as usize];
            if head.is_empty() && body.is_empty() {
                self.out.clear();
                self.out_sent = 0;
                if self.sending.take().is_none_or(|content| !content.chunked) {
                    return Ok(Flushed::All);
                }
                continue;
            }
            let head_len = head.len();
            let sent = match (head_len, body.len()) {
                (0, _) if from_file => file.send(&self.socket, offset, left),
                // The content follows at once, in the same packet.
                _ if from_file => {
                    let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
                    rustix::net::send(&self.socket, head, flags).map_err(io::Error::from)
                }
                (_, 0) => (&self.socket).write(head),
                (0, _) => (&self.socket).write(body),
                _ => (&self.socket).write_vectored(&[IoSlice::new(head), IoSlice::new(body)]),
            };
            let sent = match sent {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Flushed::Blocked);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.out_sent += sent.min(head_len);
            if let Some(content @ Content { chunked: false, .. }) = &mut self.sending {
                content.offset += sent.saturating_sub(head_len) as u64;
            }
        }
    }

    /// Puts the next chunks of the answer into `out`, when that is nearly empty.
    fn next_chunk(&mut self, mut offset: u64, end: u64) {
        if self.out.len() - self.out_sent > CHUNK_BYTES as usize {
            return;
        }
        self.out.drain(..self.out_sent);
        self.out_sent = 0;
        while offset < end && self.out.len() < COLLECTED_BYTES_MAX {
            let len = (end - offset).min(CHUNK_BYTES);
            write(&mut self.out, format_args!("{len:x}\r\n"));
            self.out
                .extend_from_slice(&pattern::from(offset)[..len as usize]);
            self.out.extend_from_slice(b"\r\n");
            offset += len;
        }
        self.sending = if offset < end {
            Some(Content {
                offset,
                end,
                chunked: true,
            })
        } else {
            self.out.extend_from_slice(b"0\r\n\r\n");
            None
        };
    }

    /// Looks for the client's end of stream without taking bytes.
    fn client_left(&self) -> io::Result<bool> {
        match rustix::net::recv(&self.socket, &mut [0; 1], RecvFlags::PEEK) {
            Ok((_, len)) => Ok(len == 0),
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}
