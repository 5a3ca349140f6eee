//! Moves a body from its source to its sink.
//!
//! A long one that is the same on both sides stays in the kernel (splice); any other passes through buffers. A body
//! may begin one way and go on the other: what was received before the switch is always sent first.

use std::io;
use std::task::{Context, Poll, ready};

use super::{Part, Sink, Source};
use crate::ring::{Group, Pipe, Ring, Timer};
use crate::transport::Stream;

/// Bytes still to come from which on splicing costs less than copying, its beginning included: measured, 16 KiB is even.
const SPLICE_BYTES_MIN: u64 = 16 * 1024;

/// Pieces smaller than this are cheaper copied...
const PIECE_BYTES_MIN: usize = 8 * 1024;

/// ...and after this many in a row the rest is: the source is slow.
const SMALL_PIECES_MAX: u32 = 16;

/// With as many bytes there at the beginning, and after a piece of as many that went out at once, the next is awaited until
/// there is a pipe's worth of it: fewer and larger pieces cost less...
const BULK_BYTES_MIN: usize = 32 * 1024;

/// ...but what a source that is slower than that has sent is kept back no longer than this, in milliseconds, and a tick of the
/// timers, and half as much of it is awaited from then on. Never shorter: sources of 256 Mbit/s fill a pipe in this time.
const KEPT_BACK_MS: u64 = 16;

/// Arrivals in a row that may bring nothing: splice(2) never gets past urgent data, which poll(2) goes on reporting, and a
/// receive does.
const IN_VAIN_MAX: u32 = 3;

/// Which side of a pump failed.
#[derive(Debug)]
pub enum PumpError<A> {
    /// Where the body comes from.
    Source(A),
    /// Where it goes.
    Sink(io::Error),
}

/// How one body is being moved.
#[derive(Default)]
pub struct Pump {
    way: Way,
    /// Holds bytes between two calls only while the sink has no room for them.
    pipe: Option<Pipe>,
    small_pieces: u32,
    /// Arrivals in a row that brought nothing.
    in_vain: u32,
    /// Once the source has been fast.
    bulk: Option<Bulk>,
}

/// Waiting for many bytes at once.
struct Bulk {
    /// As many as are awaited at the most...
    bytes: usize,
    /// ...and as are awaited now; 0: none but the next.
    awaited: usize,
    timer: Timer,
    /// Time was up: what has been kept back passes first, however many pieces it takes.
    late: bool,
}

impl Bulk {
    fn new(ring: &Ring, bytes: usize) -> Self {
        Self {
            bytes,
            awaited: 0,
            timer: Timer::new(ring),
            late: false,
        }
    }

    /// How many bytes of `from` to await, of the `most` there can be.
    fn begin(&mut self, from: &Stream, most: usize, ring: &Ring, cx: &Context<'_>) -> usize {
        self.late = self.late && from.socket().has_unread();
        if self.late || self.bytes < BULK_BYTES_MIN {
            return 1;
        }
        self.awaited = self.bytes.min(most);
        self.timer.set(ring.now_ms() + KEPT_BACK_MS);
        let _ = self.timer.poll(cx);
        self.awaited
    }

    /// The wait is over, one way or the other, and brought `taken` bytes of `from`.
    fn end(&mut self, from: &Stream, taken: usize) {
        if (1..self.awaited).contains(&taken) {
            if self.timer.has_fired() {
                self.late = true;
                self.bytes /= 2;
            } else if from.socket().has_unread() {
                // All that a pipe takes: of small fragments it takes fewer bytes.
                self.bytes = taken;
            }
        }
        self.awaited = 0;
        self.timer.clear();
    }
}

#[derive(Default, PartialEq, Eq)]
enum Way {
    /// By copying so far.
    #[default]
    Undecided,
    Splicing,
    /// By copying to the end.
    Copying,
}

/// What an attempt to splice came to.
enum Spliced {
    All,
    /// The next bytes are to be copied.
    Not,
}

impl Pump {
    /// Moves parts from `source` to `sink` until the end, or until either has to wait.
    pub fn poll<A: Source>(
        &mut self,
        source: &mut A,
        sink: &mut impl Sink,
        ring: &Ring,
        cx: &Context<'_>,
    ) -> Poll<Result<(), PumpError<A::Error>>> {
        loop {
            if self.way != Way::Copying {
                match ready!(self.poll_splice(source, sink, ring, cx)) {
                    Ok(Spliced::All) => return Poll::Ready(Ok(())),
                    Ok(Spliced::Not) => {}
                    Err(error) => {
                        self.pipe = None;
                        return Poll::Ready(Err(PumpError::Sink(error)));
                    }
                }
            }
            match ready!(poll_copy(source, sink, cx)) {
                Ok(true) => return Poll::Ready(Ok(())),
                Ok(false) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Whether bytes that were taken out of the source are not in the sink yet.
    pub fn holds_bytes(&self) -> bool {
        self.pipe.as_ref().is_some_and(|pipe| pipe.held() > 0)
    }

    fn poll_splice<A: Source>(
        &mut self,
        source: &mut A,
        sink: &mut impl Sink,
        ring: &Ring,
        cx: &Context<'_>,
    ) -> Poll<io::Result<Spliced>> {
        // One pipe's worth a turn: others wait, and what is handed to TCP faster than it goes out (BBR) it paces by timers.
        let mut taken = 0;
        loop {
            let Some(to) = sink.bare() else {
                return Poll::Ready(Ok(Spliced::Not));
            };
            if self.pipe.as_ref().is_none_or(|pipe| pipe.held() == 0) {
                let Some((from, left)) = source.bare() else {
                    return Poll::Ready(Ok(Spliced::Not));
                };
                let begins = self.way == Way::Undecided;
                if begins {
                    if left < SPLICE_BYTES_MIN {
                        return Poll::Ready(Ok(Spliced::Not));
                    }
                    let still = from.socket().poll_still(cx);
                    if from.has_more() || from.socket().is_stale() {
                        return Poll::Ready(Ok(Spliced::Not));
                    }
                    ready!(still);
                    ready!(to.socket().poll_unsent(cx, 0))?;
                    self.way = Way::Splicing;
                }
                let Some(pipe) = self.pipe.take().or_else(|| ring.pipe()) else {
                    return Poll::Ready(Ok(self.give_up(source)));
                };
                let most = left.min(pipe.capacity() as u64) as usize;
                // What is there at the beginning tells a fast source as a piece does.
                let (there, waits) = if begins && most > BULK_BYTES_MIN {
                    let there = from.socket().unread_bytes();
                    (there, (BULK_BYTES_MIN..most).contains(&there))
                } else {
                    (taken, taken > 0)
                };
                if waits {
                    let bytes = if there < BULK_BYTES_MIN {
                        1
                    } else {
                        self.bulk
                            .get_or_insert_with(|| Bulk::new(ring, pipe.capacity()))
                            .begin(from, most, ring, cx)
                    };
                    ready!(from.socket().poll_arrival(cx, bytes as u32));
                }
                let pipe = self.pipe.insert(pipe);
                let told = from.socket().is_still();
                let moved = from.socket().poll_splice_in(cx, pipe, left);
                if let Some(bulk) = &mut self.bulk {
                    bulk.end(from, pipe.held());
                }
                taken = match moved {
                    Poll::Ready(Ok(taken @ 1..)) => taken,
                    // Copying says how it ended.
                    Poll::Ready(_) => {
                        self.pipe = None;
                        return Poll::Ready(Ok(Spliced::Not));
                    }
                    Poll::Pending => {
                        self.pipe = None;
                        self.in_vain += u32::from(told);
                        if self.in_vain > IN_VAIN_MAX {
                            return Poll::Ready(Ok(self.give_up(source)));
                        }
                        return Poll::Pending;
                    }
                };
                self.in_vain = 0;
                if taken < PIECE_BYTES_MIN {
                    self.small_pieces += 1;
                } else {
                    self.small_pieces = 0;
                }
                source.passed(taken as u64);
            }
            let last = source.is_ended();
            if let Some(pipe) = &mut self.pipe {
                ready!(to.socket().poll_splice_out(cx, pipe))?;
            }
            sink.passed(last);
            if last {
                self.pipe = None;
                return Poll::Ready(Ok(Spliced::All));
            }
            if self.small_pieces >= SMALL_PIECES_MAX {
                return Poll::Ready(Ok(self.give_up(source)));
            }
        }
    }

    /// The rest is copied.
    fn give_up(&mut self, source: &mut impl Source) -> Spliced {
        self.pipe = None;
        self.way = Way::Copying;
        if let Some((from, _)) = source.bare() {
            from.socket().set_group(Group::Large);
        }
        Spliced::Not
    }
}

/// Moves one part; true: it was the last.
fn poll_copy<A: Source>(
    source: &mut A,
    sink: &mut impl Sink,
    cx: &Context<'_>,
) -> Poll<Result<bool, PumpError<A::Error>>> {
    ready!(sink.poll_ready(cx)).map_err(PumpError::Sink)?;
    match ready!(source.poll_part(cx)).map_err(PumpError::Source)? {
        Part::Data(lease) => {
            let mut last = false;
            if source.is_ended() {
                source.with_trailers(&mut |trailers| last = trailers.is_none());
            }
            sink.data(lease, last);
            Poll::Ready(Ok(last))
        }
        Part::End => {
            source.with_trailers(&mut |trailers| sink.end(trailers));
            Poll::Ready(Ok(true))
        }
    }
}
