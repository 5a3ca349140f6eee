//! From settings to a serving process, and what can go wrong on the way.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use super::control::{self, Control, Event};
use super::settings::Settings;
use crate::admin::Shown;
use crate::downstream::Shared;
use crate::listen::{self, BindError};
use crate::observe::access_log::Sink;
use crate::observe::{WorkerStats, process_log};
use crate::ring::{clock, probe};
use crate::route::Table;
use crate::upstream::{Known, Limit, Resolver};
use crate::worker::{Message, Start, Worker};

/// Upstreams, and endpoints of one, that a pool's tags can name.
const UPSTREAMS_MAX: usize = 4096;

/// How long a start waits for names; what is not resolved by then is answered with 503 until it is.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(3);

/// What is printed once everything listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announce {
    /// The addresses.
    Quiet,
    /// The addresses, and what to try next.
    Hints,
}

/// Why the process cannot start: one plain sentence with cause and remedy.
#[derive(Debug)]
pub enum StartError {
    /// The kernel does not offer what is needed.
    Kernel(probe::Missing),
    /// An address cannot be listened on.
    Bind(BindError),
    /// The access log cannot be opened.
    Log(String, io::Error),
    /// The routes do not make a table.
    Routes(String),
    /// More upstreams or endpoints than there can be.
    TooMany(&'static str),
    /// A thread or signal handler could not be had.
    Other(&'static str, io::Error),
    /// A worker ended by itself.
    WorkerFailed,
    /// A second signal cut work short.
    Forced,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(missing) => missing.fmt(f),
            Self::Bind(error) => error.fmt(f),
            Self::Log(name, error) => write!(f, "cannot open the access log {name}: {error}"),
            Self::Routes(text) => write!(f, "the routes cannot be told apart: {text}"),
            Self::TooMany(what) => write!(f, "there are more than {UPSTREAMS_MAX} {what}"),
            Self::Other(what, error) => write!(f, "cannot {what}: {error}"),
            Self::WorkerFailed => f.write_str("a worker failed: see the lines above"),
            Self::Forced => f.write_str("stopped at once by a second signal"),
        }
    }
}

impl std::error::Error for StartError {}

/// Serves until told to stop. Returns when everything under way has ended, or the drain's deadline has passed.
pub fn run(settings: &Settings, announce: Announce) -> Result<(), StartError> {
    probe::probe().map_err(StartError::Kernel)?;
    if settings.upstreams.len() > UPSTREAMS_MAX {
        return Err(StartError::TooMany("upstreams"));
    }
    if settings
        .upstreams
        .iter()
        .any(|upstream| upstream.endpoints.len() > UPSTREAMS_MAX)
    {
        return Err(StartError::TooMany("endpoints of one upstream"));
    }
    let cpus = cpus(settings.workers);
    let table = Arc::new(
        Table::new(&settings.routes).map_err(|error| StartError::Routes(format!("{error:?}")))?,
    );

    let mut sockets: Vec<Vec<_>> = cpus.iter().map(|_| Vec::new()).collect();
    let mut lines = Vec::new();
    let mut first = None;
    for listener in &settings.listeners {
        let shared = Shared::new(
            listener.connection.clone(),
            listener.max_connections,
            listener.max_connections_per_ip,
        );
        for address in &listener.bind {
            let (address, fds) = listen::bind(*address, cpus.len()).map_err(StartError::Bind)?;
            first.get_or_insert(address);
            lines.push(format!("listening on {address} ({})", listener.name));
            for (worker, fd) in sockets.iter_mut().zip(fds) {
                worker.push((fd, Arc::clone(&shared)));
            }
        }
    }
    let admin = match settings.admin {
        Some(address) => {
            let (address, mut fds) = listen::bind(address, 1).map_err(StartError::Bind)?;
            lines.push(format!("admin on {address}"));
            fds.pop().map(|fd| (address, fd))
        }
        None => None,
    };

    let sink = Sink::start(&settings.log)
        .map_err(|error| StartError::Log(format!("{:?}", settings.log.access), error))?;
    let (events, inbox) = channel::<Event>();
    let upstreams = resolve(settings, &events)?;
    let limits: Vec<Vec<Arc<Limit>>> = settings
        .upstreams
        .iter()
        .map(|upstream| {
            let max = upstream.pool.max_connections;
            let limit = |_| Arc::new(Limit::new(max, cpus.len()));
            upstream.endpoints.iter().map(limit).collect()
        })
        .collect();
    let labels = table.labels();
    let names: Vec<String> = settings
        .upstreams
        .iter()
        .map(|upstream| upstream.name.clone())
        .collect();
    let seed = clock::unix_now().as_nanos() as u64 ^ (u64::from(std::process::id()) << 32);
    // Before any other thread: what they inherit decides who gets the signals.
    control::watch_signals(events.clone())
        .map_err(|error| StartError::Other("watch for signals", error))?;

    let mut workers = Vec::new();
    let mut stats = Vec::new();
    for (index, (cpu, listeners)) in cpus.into_iter().zip(sockets).enumerate() {
        let counters = WorkerStats::new(&labels, &names);
        stats.push(Arc::clone(&counters));
        let start = Start {
            index,
            cpu,
            listeners,
            table: Arc::clone(&table),
            upstreams: settings
                .upstreams
                .iter()
                .zip(&upstreams)
                .zip(&limits)
                .map(|((settings, resolver), limits)| Known {
                    settings: Arc::new(settings.clone()),
                    addresses: resolver.addresses(),
                    limits: limits.clone(),
                })
                .collect(),
            log: sink.writer(Arc::clone(&counters)),
            stats: counters,
            seed,
        };
        let ended = events.clone();
        let worker = Worker::start(start, move || {
            let _ = ended.send(Event::WorkerEnded);
        })
        .map_err(|error| StartError::Other("start a worker", error))?;
        workers.push(worker);
    }
    lines.push("ready".into());
    if announce == Announce::Hints
        && let Some(address) = first
    {
        hints(
            address,
            admin.as_ref().map(|(address, _)| *address),
            &mut lines,
        );
    }
    // Snapshots that came between a worker's start and now.
    for (index, resolver) in upstreams.iter().enumerate() {
        for worker in &workers {
            worker
                .mailbox()
                .send(Message::Resolved(index, resolver.addresses()));
        }
    }
    let shown = Shown {
        workers: stats,
        log: Rc::new(sink),
        ready: AtomicBool::new(true),
        start_unix_millis: clock::unix_now().as_millis() as u64,
    };
    let control = Control {
        drain_notice: settings.drain_notice,
        drain_deadline: settings.drain_deadline,
        workers,
        inbox,
        shown,
        admin: admin.map(|(_, fd)| fd),
        announcement: lines,
    };
    let result = control.run();
    drop(upstreams);
    result
}

/// One CPU for each worker, out of those this process may use: its affinity mask, and no more than its quota.
fn cpus(workers: Option<usize>) -> Vec<Option<core_affinity::CoreId>> {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    let quota = std::thread::available_parallelism().map_or(1, NonZero::get);
    let count = workers.unwrap_or(quota);
    // More workers than CPUs would share one each: then nobody is pinned.
    (0..count)
        .map(|index| {
            if count <= allowed.len() {
                Some(allowed[index])
            } else {
                None
            }
        })
        .collect()
}

fn resolve(settings: &Settings, events: &Sender<Event>) -> Result<Vec<Resolver>, StartError> {
    let (tried, first) = channel();
    let mut resolvers = Vec::new();
    for (index, upstream) in settings.upstreams.iter().enumerate() {
        let events = events.clone();
        let resolver = Resolver::start(upstream, tried.clone(), move |addresses| {
            let _ = events.send(Event::Resolved(index, addresses));
        });
        resolvers.push(resolver.map_err(|error| StartError::Other("start a resolver", error))?);
    }
    drop(tried);
    let until = clock::now_ns() + RESOLVE_PATIENCE.as_nanos() as u64;
    for _ in &resolvers {
        let left = Duration::from_nanos(until.saturating_sub(clock::now_ns()));
        if first.recv_timeout(left).is_err() {
            break;
        }
    }
    for (upstream, resolver) in settings.upstreams.iter().zip(&resolvers) {
        for (endpoint, addresses) in upstream.endpoints.iter().zip(resolver.addresses().iter()) {
            if addresses.is_empty() {
                process_log::warn(&format!(
                    "upstream {}: {} does not resolve yet; trying again",
                    upstream.name, endpoint.authority
                ));
            }
        }
    }
    Ok(resolvers)
}

fn hints(address: SocketAddr, admin: Option<SocketAddr>, lines: &mut Vec<String>) {
    lines.push("try:".into());
    lines.push(format!("  curl -i http://{address}/hello"));
    if let Some(admin) = admin {
        lines.push(format!("  curl http://{admin}/metrics"));
    }
    lines.push("  ringway proxy --to http://127.0.0.1:3000    (your own origin)".into());
    lines.push("  ringway config --example > ringway.toml     (a file to grow from)".into());
}
