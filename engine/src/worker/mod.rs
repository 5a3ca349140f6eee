//! One core: the reactor, everything that core owns, and its mailbox, the only way in from other threads.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::downstream::{Downstream, Shared};
use crate::exchange::Services;
use crate::listen::accept_all;
use crate::observe::access_log::Writer;
use crate::observe::{DateCache, RequestIds, WorkerStats, process_log};
use crate::ring::{self, Listener, Remote, Ring, sleep_until};
use crate::route::Table;
use crate::upstream::{Addresses, Known, Pools, Tags};

/// How often idle pools are swept and a quiet log is written out, in milliseconds.
const TICK_MS: u64 = 250;

/// Top bytes of the tags by which unattended sockets and timers are known.
const DOWNSTREAM: u64 = 1;
const UPSTREAM: u64 = 2;
const ANSWER: u64 = 3;
const QUEUE: u64 = 4;
const TOLD: u64 = 5;

const TAGS: Tags = Tags {
    idle: UPSTREAM,
    queue: QUEUE,
    told: TOLD,
};

/// How often in a round what was reported is handed over.
const PASSES: usize = 2;

/// What a worker is told while it runs.
#[derive(Debug)]
pub enum Message {
    /// An upstream's names have new addresses.
    Resolved(usize, Addresses),
    /// Stop accepting, close what is idle, let the rest end, then return.
    Drain,
}

/// What a worker starts with.
pub struct Start {
    /// Its number, from 0.
    pub index: usize,
    /// The CPU it is pinned to.
    pub cpu: Option<core_affinity::CoreId>,
    /// Its listening sockets, with what all workers share of each.
    pub listeners: Vec<(OwnedFd, Arc<Shared>)>,
    /// The routes.
    pub table: Arc<Table>,
    /// The upstreams, what is resolved of them, and their endpoints' limits.
    pub upstreams: Vec<Known>,
    /// Its counters.
    pub stats: Arc<WorkerStats>,
    /// Its end of the access log.
    pub log: Writer,
    /// Seed of its request ids.
    pub seed: u64,
}

/// A worker, seen from other threads.
pub struct Worker {
    mailbox: Mailbox,
    thread: JoinHandle<io::Result<()>>,
}

/// A worker's mailbox.
#[derive(Clone)]
pub struct Mailbox {
    messages: Arc<Mutex<VecDeque<Message>>>,
    remote: Remote,
}

impl Mailbox {
    /// Leaves a message and wakes the worker.
    pub fn send(&self, message: Message) {
        self.messages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(message);
        self.remote.raise();
    }
}

impl Worker {
    /// Starts a worker's thread; returns when it accepts. `ended` is called when it has ended.
    pub fn start(start: Start, ended: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (tell, told) = std::sync::mpsc::channel();
        let index = start.index;
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || {
                let result = catch_unwind(AssertUnwindSafe(|| work(start, tell)))
                    .unwrap_or_else(|_| Err(io::Error::other("it panicked")));
                if let Err(error) = &result {
                    process_log::error(&format!("worker {index} failed: {error}"));
                }
                ended();
                result
            })?;
        match told.recv() {
            Ok(mailbox) => Ok(Self { mailbox, thread }),
            Err(_) => Err(match thread.join() {
                Ok(Err(error)) => error,
                _ => io::Error::other("a worker ended before it was ready"),
            }),
        }
    }

    /// Its mailbox.
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// Waits for its thread.
    pub fn join(self) -> io::Result<()> {
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("a worker panicked")))
    }
}

/// Whom it hands to.
type Parts = (Ring, Rc<Downstream>, Rc<Services>);

/// Hands what unattended sockets and timers report to whose it is.
#[derive(Default)]
struct Dispatch {
    parts: RefCell<Option<Parts>>,
    tags: RefCell<Vec<u64>>,
    exhausted: Cell<u64>,
}

impl Dispatch {
    fn run(&self) {
        let parts = self.parts.borrow();
        let Some((ring, downstream, services)) = &*parts else {
            return;
        };
        let mut tags = self.tags.borrow_mut();
        // What the first pass leads to goes out with the same submission.
        for _ in 0..PASSES {
            ring.take_unattended(&mut tags);
            for at in 0..tags.len() {
                let named = |tag: &u64| matches!(tag >> 56, DOWNSTREAM | ANSWER);
                downstream.foresee_ahead(|ahead| tags.get(at + ahead).copied().filter(named));
                let tag = tags[at];
                match tag >> 56 {
                    DOWNSTREAM => downstream.unattended(tag),
                    UPSTREAM => services.pools.unattended(tag),
                    ANSWER => downstream.answered(tag),
                    QUEUE => services.pools.look(tag),
                    TOLD => downstream.told(),
                    _ => {}
                }
            }
        }
    }

    /// Carries the reactor's own counters over to the worker's.
    fn count(&self) {
        let parts = self.parts.borrow();
        let Some((ring, _, services)) = &*parts else {
            return;
        };
        let exhausted = ring.counters().buffer_exhausted;
        services
            .stats
            .buffer_exhausted
            .add(exhausted - self.exhausted.replace(exhausted));
    }
}

fn work(start: Start, ready: Sender<Mailbox>) -> io::Result<()> {
    if let Some(cpu) = start.cpu
        && !core_affinity::set_for_current(cpu)
    {
        process_log::warn(&format!(
            "worker {} could not be pinned to CPU {}",
            start.index, cpu.id
        ));
    }
    let dispatch = Rc::new(Dispatch::default());
    let after_turn = {
        let dispatch = Rc::clone(&dispatch);
        move || dispatch.run()
    };
    ring::run(move |ring| serve(ring, start, ready, dispatch), after_turn)?
}

async fn serve(
    ring: Ring,
    start: Start,
    ready: Sender<Mailbox>,
    dispatch: Rc<Dispatch>,
) -> io::Result<()> {
    let upstream_names = start
        .upstreams
        .iter()
        .map(|known| known.settings.name.clone())
        .collect();
    let services = Rc::new(Services {
        ring: ring.clone(),
        table: start.table,
        pools: Pools::new(&ring, &start.upstreams, start.index, TAGS),
        upstream_names,
        stats: Arc::clone(&start.stats),
        log: RefCell::new(start.log),
        ids: RefCell::new(RequestIds::new(start.seed, start.index as u64)),
        date: RefCell::new(DateCache::default()),
        spare: RefCell::default(),
        draining: Cell::new(false),
    });
    let downstream = Downstream::new(Rc::clone(&services), DOWNSTREAM, ANSWER);
    *dispatch.parts.borrow_mut() =
        Some((ring.clone(), Rc::clone(&downstream), Rc::clone(&services)));
    let accepting = Rc::new(Cell::new(start.listeners.len()));
    let mut listeners = Vec::new();
    for (fd, shared) in start.listeners {
        let listener = Rc::new(Listener::new(&ring, fd));
        listeners.push(Rc::clone(&listener));
        let (stats, downstream, left) = (
            Arc::clone(&start.stats),
            Rc::clone(&downstream),
            Rc::clone(&accepting),
        );
        let accept = accept_all(ring.clone(), listener, shared, stats, downstream);
        ring.spawn(async move {
            accept.await;
            left.set(left.get() - 1);
        });
    }
    let messages = Arc::new(Mutex::new(VecDeque::new()));
    // Nobody waits for the answer only where the process is going down already.
    let _ = ready.send(Mailbox {
        messages: Arc::clone(&messages),
        remote: ring.remote()?,
    });
    {
        let (ring, downstream, dispatch) =
            (ring.clone(), Rc::clone(&downstream), Rc::clone(&dispatch));
        ring.clone().spawn(async move {
            loop {
                sleep_until(&ring, ring.now_ms() + TICK_MS).await;
                downstream.tick();
                dispatch.count();
            }
        });
    }
    loop {
        poll_fn(|cx| ring.poll_remote(cx)).await;
        loop {
            let message = messages
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front();
            match message {
                Some(Message::Resolved(upstream, addresses)) => {
                    services.pools.resolved(upstream, addresses);
                }
                Some(Message::Drain) => {
                    services.draining.set(true);
                    for listener in listeners.drain(..) {
                        listener.stop();
                    }
                    // Each socket closes with its acceptor, which takes what still waits in its queue.
                    while accepting.get() > 0 {
                        sleep_until(&ring, ring.now_ms() + 1).await;
                    }
                    services.pools.clear();
                    downstream.close_idle();
                    downstream.drained().await;
                    dispatch.count();
                    services.log.borrow_mut().flush();
                    dispatch.parts.borrow_mut().take();
                    return Ok(());
                }
                None => break,
            }
        }
    }
}
