//! The table of connections that need no task, idle or waiting for an answer, and the driver tasks that serve the others.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::connection::Connection;
use super::session::{FLUSH_LOOK_MS, Session, serve};
use crate::exchange::Services;
use crate::ring::{Group, Panic, clock, prefetch};
use crate::upstream::Grant;

/// Driver tasks kept waiting for work, whether any comes or not.
const WAITING_KEPT: usize = 64;

/// Levels of [`Downstream::foresee`].
const FORESEEN: usize = 4;

/// How many reports ahead each level of memory is asked for.
const AHEAD: usize = 2;

/// All client connections of one worker.
pub struct Downstream {
    pub(super) services: Rc<Services>,
    /// Top byte of the tags of connections left to themselves.
    tag: u64,
    /// The same of the answers they wait for.
    answer_tag: u64,
    idle: RefCell<Idle>,
    /// What requests are served with that need no task.
    session: RefCell<Session>,
    /// Kept for the next ones.
    told: RefCell<Vec<(u64, Grant)>>,
    ready: RefCell<VecDeque<Box<Connection>>>,
    waiting: RefCell<Vec<Waker>>,
    /// The fewest drivers that waited since the last tick, and how many are to end for it.
    spare: Cell<usize>,
    ending: Cell<usize>,
    /// Connections being served.
    active: Cell<usize>,
    drained: RefCell<Option<Waker>>,
}

/// Connections without a task. One keeps its place while its requests are served without.
#[derive(Default)]
struct Idle {
    slots: Vec<(u32, Option<Box<Connection>>)>,
    free: Vec<u32>,
    count: usize,
}

impl Idle {
    /// A free place, and its tag in its next life.
    fn place(&mut self, tag: u64) -> (u32, u64) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            (self.slots.len() - 1) as u32
        });
        let generation = self.slots[index as usize].0;
        (
            index,
            (tag << 56) | (u64::from(generation) << 32) | u64::from(index),
        )
    }

    fn put(&mut self, index: u32, connection: Box<Connection>) {
        self.slots[index as usize].1 = Some(connection);
        self.count += 1;
    }

    /// The connection named by `tag`, taken out of its place; that is kept for it.
    fn lift(&mut self, tag: u64) -> Option<Box<Connection>> {
        let (generation, place) = self.slots.get_mut(tag as u32 as usize)?;
        if *generation != (tag >> 32) as u32 & GENERATION {
            return None;
        }
        let connection = place.take()?;
        self.count -= 1;
        Some(connection)
    }

    /// Gives the place of a connection up that was taken out.
    fn release(&mut self, index: u32) {
        let generation = &mut self.slots[index as usize].0;
        *generation = (*generation + 1) & GENERATION;
        self.free.push(index);
    }
}

/// What becomes of a connection something happened to.
enum Next {
    /// It keeps its place.
    Stay(Box<Connection>),
    /// A driver serves it.
    Serve(Box<Connection>),
    /// It is closed.
    Gone,
}

/// The same connection's tag with another top byte.
fn retag(tag: u64, top: u64) -> u64 {
    (tag & !(0xff << 56)) | (top << 56)
}

const GENERATION: u32 = 0x00ff_ffff;

impl Downstream {
    /// No connections yet. `tag` goes into the top byte of what sockets and timers of connections without a task report,
    /// `answer_tag` into that of the answers they wait for.
    pub fn new(services: Rc<Services>, tag: u64, answer_tag: u64) -> Rc<Self> {
        Rc::new(Self {
            services,
            tag,
            answer_tag,
            session: RefCell::default(),
            idle: RefCell::default(),
            told: RefCell::default(),
            ready: RefCell::default(),
            waiting: RefCell::default(),
            spare: Cell::new(0),
            ending: Cell::new(0),
            active: Cell::new(0),
            drained: RefCell::new(None),
        })
    }

    /// Open connections, idle ones included.
    pub fn connections(&self) -> usize {
        self.idle.borrow().count + self.active.get()
    }

    /// Takes a new connection; its head must come in time.
    pub fn accept(&self, connection: Box<Connection>) {
        let patience = connection.shared.settings.timeouts.request_head.as_millis() as u64;
        connection.timer.set(self.services.ring.now_ms() + patience);
        self.leave(connection);
    }

    /// Leaves a connection to itself until something arrives or its time is up. Its timer is set.
    pub(super) fn leave(&self, connection: Box<Connection>) {
        let mut idle = self.idle.borrow_mut();
        let (index, tag) = idle.place(self.tag);
        connection.stream.socket().set_group(Group::Small);
        connection.stream.socket().leave(tag);
        connection.timer.leave(tag);
        idle.put(index, connection);
    }

    /// Leaves a connection to itself until its last bytes are sent, and closed with them. Its timer is set. It is
    /// returned where that has to be waited for.
    pub(super) fn part(&self, mut connection: Box<Connection>) -> Option<Box<Connection>> {
        let mut idle = self.idle.borrow_mut();
        let (index, tag) = idle.place(self.tag);
        if !connection.stream.socket().leave_last(tag) {
            idle.free.push(index);
            return Some(connection);
        }
        connection.timer.leave(tag);
        connection.parting = true;
        idle.put(index, connection);
        None
    }

    /// One level of pointers for each call, from 0 to `FORESEEN - 1`; each wants what the one before asked for.
    fn foresee(&self, tag: u64, level: usize) {
        let idle = self.idle.borrow();
        let Some(slot) = idle.slots.get(tag as u32 as usize) else {
            return;
        };
        if level == 0 {
            return prefetch(slot);
        }
        let Some(connection) = &slot.1 else { return };
        match (level, &connection.pending) {
            (1, _) => prefetch(&**connection),
            (2, pending) => {
                connection.timer.prefetch();
                connection.stream.socket().prefetch();
                if let Some(pending) = pending {
                    prefetch(&**pending);
                }
            }
            (_, Some(pending)) => pending.prefetch(),
            (_, None) => {}
        }
    }

    /// Something happened to a connection without a task: bytes, its end, or its time is up.
    pub fn unattended(self: &Rc<Self>, tag: u64) {
        self.handle(tag, |mut connection| {
            let socket = connection.stream.socket();
            if connection.pending.is_some() {
                // More than the answer it waits for: a driver sees to it.
                return Next::Serve(connection);
            }
            if connection.parting {
                // One that is reported before all is sent has a client that is slow to take it.
                return if socket.is_sent() {
                    Next::Gone
                } else {
                    Next::Serve(connection)
                };
            }
            if socket.has_arrived() {
                let answer = retag(tag, self.answer_tag);
                let mut session = self.session.borrow_mut();
                if !session.quick_begin(&self.services, &mut connection, answer) {
                    return Next::Serve(connection);
                }
                let socket = connection.stream.socket();
                let waiting = connection
                    .pending
                    .as_ref()
                    .is_some_and(|it| it.is_waiting());
                // Arming a receive just to notice a client that goes away would cost every short connection an operation.
                if connection.requests == 1 && !waiting {
                    socket.leave_unarmed(tag);
                } else {
                    socket.leave(tag);
                }
                return Next::Stay(connection);
            }
            if socket.has_ended() || connection.timer.has_fired() {
                // Closed by the client, or idle too long: nothing was asked, nothing is answered.
                return Next::Gone;
            }
            // What was reported was seen to together with something else.
            socket.leave(tag);
            Next::Stay(connection)
        });
    }

    /// The answer that a connection without a task waits for has arrived, or will not.
    pub fn answered(self: &Rc<Self>, tag: u64) {
        let tag = retag(tag, self.tag);
        self.handle(tag, |mut connection| {
            if connection.pending.is_none() {
                return Next::Stay(connection);
            }
            let mut session = self.session.borrow_mut();
            let Some(outcome) = session.quick_complete(&self.services, &mut connection) else {
                return Next::Serve(connection);
            };
            let socket = connection.stream.socket();
            if outcome.keep_alive {
                connection.rest(&self.services.ring, false);
                socket.leave(tag);
                return Next::Stay(connection);
            }
            connection.parting = true;
            connection
                .timer
                .set(self.services.ring.now_ms() + FLUSH_LOOK_MS);
            if outcome.failure.is_none() && socket.leave_last(tag) {
                Next::Stay(connection)
            } else {
                Next::Serve(connection)
            }
        });
    }

    /// Requests that waited for connections were given some.
    pub fn told(self: &Rc<Self>) {
        let mut told = std::mem::take(&mut *self.told.borrow_mut());
        self.services.pools.take_told(&mut told);
        for at in 0..told.len() {
            self.foresee_ahead(|ahead| told.get(at + ahead).map(|(tag, _)| *tag));
            let (tag, ref mut grant) = told[at];
            self.handle(retag(tag, self.tag), |mut connection| {
                let Connection { pending, timer, .. } = &mut *connection;
                let (Some(pending), Some(granted)) = (pending, grant.take()) else {
                    return Next::Serve(connection);
                };
                match pending.send(&self.services, granted, timer, tag) {
                    Ok(()) => Next::Stay(connection),
                    Err(granted) => {
                        *grant = Some(granted);
                        Next::Serve(connection)
                    }
                }
            });
            if let Some(unused) = grant.take() {
                self.services.pools.give_back(unused);
            }
        }
        told.clear();
        *self.told.borrow_mut() = told;
    }

    /// Something is about to be said of the connections that `tag` names, by how much later: has what they lie in at hand
    /// by then.
    pub fn foresee_ahead(&self, tag: impl Fn(usize) -> Option<u64>) {
        for level in 0..FORESEEN {
            if let Some(tag) = tag(AHEAD * (FORESEEN - level)) {
                self.foresee(tag, level);
            }
        }
    }

    /// Has `f` see to the connection whose tag it is. A panic ends that connection alone.
    fn handle(self: &Rc<Self>, tag: u64, f: impl FnOnce(Box<Connection>) -> Next) {
        let Some(connection) = self.idle.borrow_mut().lift(tag) else {
            return;
        };
        let (index, peer) = (tag as u32, connection.peer);
        match self.services.ring.contain_call(|| f(connection)) {
            Ok(Next::Stay(connection)) => self.idle.borrow_mut().put(index, connection),
            Ok(Next::Serve(connection)) => {
                self.idle.borrow_mut().release(index);
                connection.stream.socket().attend();
                self.serve(connection);
            }
            Ok(Next::Gone) => {
                self.idle.borrow_mut().release(index);
                self.tell_drained();
            }
            Err(panic) => {
                self.idle.borrow_mut().release(index);
                *self.session.borrow_mut() = Session::default();
                self.panicked(peer, &panic);
                self.tell_drained();
            }
        }
    }

    /// Hands a connection to a driver.
    fn serve(self: &Rc<Self>, connection: Box<Connection>) {
        self.active.set(self.active.get() + 1);
        self.ready.borrow_mut().push_back(connection);
        let (waker, left) = {
            let mut waiting = self.waiting.borrow_mut();
            (waiting.pop(), waiting.len())
        };
        self.spare.set(self.spare.get().min(left));
        match waker {
            Some(waker) => waker.wake(),
            None => self.services.ring.spawn(drive(Rc::clone(self))),
        }
    }

    fn panicked(&self, peer: SocketAddr, panic: &Panic) {
        self.services.stats.panics.increment();
        crate::observe::process_log::error(&format!(
            "connection from {peer} closed after a panic: {}",
            panic.0
        ));
    }

    /// Closes every connection on which nothing is under way. A new one may still send its first request.
    pub fn close_idle(&self) {
        let tags: Vec<u64> = {
            let idle = self.idle.borrow();
            let quiet = |connection: &Connection| {
                connection.requests > 0
                    && !connection.parting
                    && connection.pending.is_none()
                    && !connection.stream.socket().has_arrived()
            };
            idle.slots
                .iter()
                .enumerate()
                .filter(|(_, (_, connection))| {
                    connection
                        .as_ref()
                        .is_some_and(|connection| quiet(connection))
                })
                .map(|(index, (generation, _))| (u64::from(*generation) << 32) | index as u64)
                .collect()
        };
        for tag in tags {
            let mut idle = self.idle.borrow_mut();
            let connection = idle.lift(tag);
            if connection.is_some() {
                idle.release(tag as u32);
            }
            drop(idle);
            drop(connection);
        }
        self.tell_drained();
    }

    /// Waits until no connection is left.
    pub async fn drained(&self) {
        poll_fn(|cx| {
            if self.connections() == 0 {
                return Poll::Ready(());
            }
            *self.drained.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn tell_drained(&self) {
        if self.connections() == 0
            && let Some(waker) = self.drained.borrow_mut().take()
        {
            waker.wake();
        }
    }

    /// Ends half of the drivers that were not needed since the last tick: a crowd costs memory only while it lasts.
    fn end_spare(&self) {
        let mut waiting = self.waiting.borrow_mut();
        let ending = self.spare.get().saturating_sub(WAITING_KEPT).div_ceil(2);
        let wakers: Vec<Waker> = waiting.drain(..ending).collect();
        self.spare.set(waiting.len());
        drop(waiting);
        self.ending.set(ending);
        for waker in wakers {
            waker.wake();
        }
    }

    /// Ends what is not needed and writes what waits in the log, once a tick.
    pub fn tick(&self) {
        self.end_spare();
        self.services
            .log
            .borrow_mut()
            .flush_if_due(clock::unix_now().as_millis() as u64);
        self.services.pools.sweep();
    }
}

/// One driver: serves connection after connection.
async fn drive(downstream: Rc<Downstream>) {
    let mut session = Box::new(Session::default());
    loop {
        let next = poll_fn(|cx| {
            if let Some(connection) = downstream.ready.borrow_mut().pop_front() {
                return Poll::Ready(Some(connection));
            }
            if let Some(ending) = downstream.ending.get().checked_sub(1) {
                downstream.ending.set(ending);
                return Poll::Ready(None);
            }
            downstream.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
        let Some(connection) = next else { return };
        let peer = connection.peer;
        let served = downstream
            .services
            .ring
            .contain(serve(&downstream, connection, &mut session))
            .await;
        downstream.active.set(downstream.active.get() - 1);
        match served {
            Ok(Some(connection)) => downstream.leave(connection),
            Ok(None) => {}
            Err(panic) => {
                *session = Session::default();
                downstream.panicked(peer, &panic);
            }
        }
        downstream.tell_drained();
    }
}
