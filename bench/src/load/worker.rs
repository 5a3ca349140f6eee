//! One thread's load.

use std::{
    collections::VecDeque,
    io,
    num::NonZeroU64,
    sync::{PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    Control, Published, Settings, Until,
    connection::{After, Connection},
    http1::Http1,
    pace::Pace,
    protocol::{ErrorKind, Exchange, Finished, Protocol},
    request::Requests,
    tally::Tally,
};
use crate::poll::{Poller, Ready};

/// How often timeouts are looked for and wishes from other threads met.
const TICK: Duration = Duration::from_millis(20);

/// Connections opened for the first time per [`OPENING_INTERVAL`], so that a start does not overflow accept queues.
const OPENINGS: u32 = 128;
const OPENING_INTERVAL: Duration = Duration::from_millis(5);

/// How long a connection that could not be opened rests.
const CONNECT_REST: Duration = Duration::from_millis(50);

/// How long the peer is given to close a connection that it or we announced to be over.
const PARTING_MAX: Duration = Duration::from_secs(1);

const READ_BUFFER_BYTES: usize = 256 * 1024;

/// Which part of the load is this thread's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) index: usize,
    pub(super) of: usize,
}

impl Part {
    fn of(self, whole: u64) -> u64 {
        let (index, of) = (self.index as u64, self.of as u64);
        whole / of + u64::from(index < whole % of)
    }
}

pub(super) struct Worker<'a> {
    settings: &'a Settings,
    requests: &'a Requests,
    poller: Poller,
    connections: Vec<Connection<Http1>>,
    /// Connections that may take another exchange, each once, the one that waited longest first.
    with_room: VecDeque<u32>,
    pace: Pace,
    tally: Tally,
    next_request: u32,
    in_flight: usize,
    answered: u64,
    failed: u64,
    proven: u64,
    openings_left: u32,
    openings_renewed: Instant,
    read_buffer: Box<[u8]>,
    finished: Vec<Finished>,
    unfinished: Vec<Exchange>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(
        settings: &'a Settings,
        requests: &'a Requests,
        part: Part,
        started: Instant,
    ) -> io::Result<Self> {
        // The kernel may otherwise round the short waits of an open loop up by 50 µs.
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
        let connections = part.of(settings.connections as u64).max(1) as u32;
        let (end, left) = match settings.until {
            Until::Elapsed(duration) => (Some(started + duration), None),
            Until::Requests(requests) => (None, Some(part.of(requests))),
        };
        let pace = match settings.rate {
            None => Pace::closed(started, end, left),
            Some(rate) => {
                let phase = part.index as f64 / part.of as f64;
                Pace::open(started, end, left, rate / part.of as f64, phase)
            }
        };
        Ok(Self {
            settings,
            requests,
            poller: Poller::new()?,
            connections: (0..connections).map(Connection::new).collect(),
            with_room: (0..connections).collect(),
            pace,
            tally: Tally::new(started + settings.warm_up),
            next_request: part.index as u32 % requests.count(),
            in_flight: 0,
            answered: 0,
            failed: 0,
            proven: 0,
            openings_left: OPENINGS,
            openings_renewed: started,
            read_buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            finished: Vec::new(),
            unfinished: Vec::new(),
        })
    }

    pub(super) fn run(mut self, control: &Control, published: &Published) -> io::Result<Tally> {
        let mut ready: Vec<Ready> = Vec::new();
        let mut now = Instant::now();
        let mut next_tick = now + TICK;
        while !control.stop.load(Ordering::Relaxed) && !self.is_done(now) {
            let wake = self.begin_what_is_due(now, next_tick);
            ready.extend(
                self.poller
                    .wait(wake.saturating_duration_since(Instant::now()))?,
            );
            for event in ready.drain(..) {
                now = Instant::now();
                self.on_event(event, now);
            }
            now = Instant::now();
            if now >= next_tick {
                next_tick = now + TICK;
                self.tick(now);
                if control.finish.load(Ordering::Relaxed) {
                    self.pace.end_by(now);
                }
                self.publish_histogram(published);
            }
            published.answered.store(self.answered, Ordering::Relaxed);
            published.failed.store(self.failed, Ordering::Relaxed);
            published.proven.store(self.proven, Ordering::Relaxed);
        }
        self.tally.missed = self.pace.missed();
        self.tally.unsent = self.pace.unsent(now);
        Ok(self.tally)
    }

    fn is_done(&self, now: Instant) -> bool {
        self.in_flight == 0 && self.pace.is_over(now)
    }

    /// Gives what is due to connections with room. Returns when to look again.
    fn begin_what_is_due(&mut self, now: Instant, next_tick: Instant) -> Instant {
        if now - self.openings_renewed >= OPENING_INTERVAL {
            self.openings_renewed = now;
            self.openings_left = OPENINGS;
        }
        for _ in 0..self.with_room.len() {
            let Some(&slot) = self.with_room.front() else {
                break;
            };
            let is_first = !self.connections[slot as usize].was_open;
            if is_first && self.openings_left == 0 {
                // Those that are open come first; without any, it is a matter of waiting.
                self.with_room.rotate_left(1);
                continue;
            }
            if !self.connections[slot as usize].has_room(self.room()) {
                // It lost its room while it was listed, and is listed again when it is closed.
                self.with_room.pop_front();
                self.connections[slot as usize].listed = false;
                continue;
            }
            let Some(intended) = self.pace.take(now) else {
                let due = self.pace.next_due().filter(|due| *due > now);
                return due.map_or(next_tick, |due| due.min(next_tick));
            };
            self.openings_left -= u32::from(is_first);
            self.with_room.pop_front();
            self.connections[slot as usize].listed = false;
            self.begin(slot, intended, now);
            self.refill(slot, now);
        }
        if self.with_room.is_empty() {
            next_tick
        } else {
            next_tick.min(self.openings_renewed + OPENING_INTERVAL)
        }
    }

    fn begin(&mut self, slot: u32, intended: Instant, now: Instant) {
        let request = self.next_request;
        self.next_request = if request + 1 == self.requests.count() {
            0
        } else {
            request + 1
        };
        self.in_flight += 1;
        self.connections[slot as usize].protocol.begin(Exchange {
            intended,
            begun: now,
            request,
        });
    }

    /// Fills a connection up with what is due, sends, and lists it if it still has room.
    fn refill(&mut self, slot: u32, now: Instant) {
        while self.connections[slot as usize].has_room(self.room()) {
            let Some(intended) = self.pace.take(now) else {
                break;
            };
            self.begin(slot, intended, now);
        }
        let connection = &mut self.connections[slot as usize];
        if connection.protocol.in_flight() > 0 {
            let after = connection.flush(self.settings.address, self.requests, &self.poller);
            self.settle(slot, after, now);
        }
        self.list(slot);
    }

    fn room(&self) -> usize {
        if self.settings.keep_alive {
            self.settings.pipeline
        } else {
            1
        }
    }

    fn list(&mut self, slot: u32) {
        let room = self.room();
        let connection = &mut self.connections[slot as usize];
        if !connection.listed && connection.has_room(room) {
            connection.listed = true;
            self.with_room.push_back(slot);
        }
    }

    fn on_event(&mut self, ready: Ready, now: Instant) {
        let slot = ready.token.slot;
        let connection = &mut self.connections[slot as usize];
        if connection.token != ready.token {
            return;
        }
        let mut after = After::Nothing;
        if ready.writable {
            after = connection.flush(self.settings.address, self.requests, &self.poller);
        }
        if ready.readable && after == After::Nothing {
            after =
                connection.on_readable(&mut self.read_buffer, self.requests, &mut self.finished);
        }
        self.note_finished(slot, now);
        self.settle(slot, after, now);
        let connection = &self.connections[slot as usize];
        // Only what the peer's answer or its leaving made room for; the rest waits in line.
        if connection.has_room(self.room()) && !connection.listed {
            self.refill(slot, now);
        }
    }

    fn note_finished(&mut self, slot: u32, now: Instant) {
        if self.finished.is_empty() {
            return;
        }
        let connection = &mut self.connections[slot as usize];
        if !connection.proven {
            connection.proven = true;
            self.proven += 1;
        }
        for finished in self.finished.drain(..) {
            self.in_flight -= 1;
            self.tally.note(&finished, now);
            match finished.outcome {
                Ok(_) => self.answered += 1,
                Err(_) => self.failed += 1,
            }
        }
        if connection.protocol.in_flight() == 0
            && (!self.settings.keep_alive || !connection.protocol.is_reusable())
        {
            connection.part(now);
        }
    }

    /// Deals with what a connection's end leaves behind.
    fn settle(&mut self, slot: u32, after: After, now: Instant) {
        let After::Closed(kind) = after else { return };
        let connection = &mut self.connections[slot as usize];
        self.proven -= u64::from(connection.proven);
        let may_repeat = connection.close(&mut self.unfinished);
        connection.rests_until = (kind == ErrorKind::Connect).then(|| now + CONNECT_REST);
        for exchange in self.unfinished.drain(..) {
            self.in_flight -= 1;
            if may_repeat {
                self.pace.give_back(exchange.intended);
            } else {
                self.failed += 1;
                self.tally.note(
                    &Finished {
                        exchange,
                        outcome: Err(kind),
                    },
                    now,
                );
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        for slot in 0..self.connections.len() as u32 {
            let connection = &mut self.connections[slot as usize];
            let timed_out = connection
                .protocol
                .oldest()
                .is_some_and(|begun| now - begun >= self.settings.timeout);
            let parted = connection
                .parting_since()
                .is_some_and(|since| now - since >= PARTING_MAX);
            let rested = connection
                .rests_until
                .take_if(|until| *until <= now)
                .is_some();
            if timed_out || parted {
                self.settle(slot, After::Closed(ErrorKind::Timeout), now);
            }
            if timed_out || parted || rested {
                self.list(slot);
            }
        }
    }

    fn publish_histogram(&self, published: &Published) {
        if published.histogram_wanted.swap(false, Ordering::Relaxed) {
            *published
                .histogram
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(self.tally.latencies.clone());
        }
    }
}
