//! The load generator.
//!
//! Threads share nothing while they run: each has its part of the connections and of the work, a poller and a tally.
//! A connection is a `transport` (bytes) and a `protocol` (exchanges); the worker knows neither's insides, so that
//! another protocol or TLS is another type beside those there are.

mod connection;
mod http1;
mod pace;
mod protocol;
mod report;
mod request;
mod tally;
mod transport;
mod worker;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::cpus::CpuList;

pub use protocol::ErrorKind;
pub(crate) use tally::empty_histogram;

pub use report::{PERCENTILES, Report, bytes, duration, micros};
use request::Requests;
pub use request::{Body, RequestShape, Target};
use tally::Tally;

/// When the load ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// After this many requests.
    Requests(u64),
    /// After this long, the warm-up included; requests then under way are still awaited.
    Elapsed(Duration),
}

/// What a load is made of.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whom to load.
    pub address: SocketAddr,
    /// What to ask for.
    pub shape: RequestShape,
    /// Connections open at the same time, all threads together.
    pub connections: usize,
    /// Requests that a connection carries at the same time.
    pub pipeline: usize,
    /// Whether a connection carries more than one request.
    pub keep_alive: bool,
    /// Open loop: requests per second, sent whatever the answers do. Closed loop if not given.
    pub rate: Option<f64>,
    /// When to end.
    pub until: Until,
    /// How much of the start counts for nothing.
    pub warm_up: Duration,
    /// How long an answer may take from the moment its request is sent.
    pub timeout: Duration,
    /// Threads.
    pub threads: usize,
    /// Where they run; anywhere if not given.
    pub cpus: Option<CpuList>,
}

/// What an answer must be, beside 2xx.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checks {
    /// Content of exactly this length.
    pub bytes: Option<u64>,
    /// Content as [`crate::pattern`] has it.
    pub pattern: bool,
}

/// What can be seen of a load while it runs. Counted from the start, the warm-up included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests answered as they should be.
    pub answered: u64,
    /// Those that were not.
    pub failed: u64,
    /// Connections that have carried an answer and are open.
    pub proven: u64,
}

/// Where one thread publishes what it has done.
#[derive(Default)]
struct Published {
    answered: AtomicU64,
    failed: AtomicU64,
    proven: AtomicU64,
    /// A copy of the thread's histogram, as old as the last look at it.
    histogram: Mutex<Option<Histogram<u64>>>,
    /// Set by who wants a copy, cleared by the thread when it has made one.
    histogram_wanted: AtomicBool,
}

/// What the threads are told while they run.
#[derive(Default)]
struct Control {
    /// End now.
    stop: AtomicBool,
    /// Begin nothing new, and end when all is answered.
    finish: AtomicBool,
}

/// A load that runs. It ends when this is dropped.
pub struct Running {
    started: Instant,
    control: Arc<Control>,
    published: Vec<Arc<Published>>,
    threads: Vec<JoinHandle<io::Result<Tally>>>,
}

/// Starts a load.
pub fn start(settings: &Settings) -> io::Result<Running> {
    let requests = Arc::new(Requests::new(&settings.shape, settings.keep_alive));
    let threads = settings.threads.clamp(1, settings.connections.max(1));
    let control = Arc::new(Control::default());
    let mut running = Running {
        started: Instant::now(),
        control,
        published: Vec::new(),
        threads: Vec::new(),
    };
    for index in 0..threads {
        let published = Arc::new(Published::default());
        running.published.push(Arc::clone(&published));
        let (settings, requests, control) = (
            settings.clone(),
            Arc::clone(&requests),
            Arc::clone(&running.control),
        );
        let started = running.started;
        let thread = std::thread::Builder::new()
            .name(format!("load-{index}"))
            .spawn(move || {
                if let Some(cpus) = &settings.cpus {
                    cpus.pin(index)?;
                }
                worker::Worker::new(
                    &settings,
                    &requests,
                    worker::Part { index, of: threads },
                    started,
                )?
                .run(&control, &published)
            })?;
        running.threads.push(thread);
    }
    Ok(running)
}

impl Running {
    /// What has been done up to now.
    pub fn counts(&self) -> Counts {
        self.published
            .iter()
            .fold(Counts::default(), |sum, thread| Counts {
                answered: sum.answered + thread.answered.load(Ordering::Relaxed),
                failed: sum.failed + thread.failed.load(Ordering::Relaxed),
                proven: sum.proven + thread.proven.load(Ordering::Relaxed),
            })
    }

    /// Latencies up to a moment ago: the copies that the last call of this asked for.
    pub fn recent_histogram(&self) -> Histogram<u64> {
        let mut all = empty_histogram();
        for thread in &self.published {
            if let Some(copy) = &*thread
                .histogram
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
            {
                tally::add(&mut all, copy);
            }
            thread.histogram_wanted.store(true, Ordering::Relaxed);
        }
        all
    }

    /// Whether all threads have ended.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Has every thread end soon, requests under way unanswered.
    pub fn stop(&self) {
        self.control.stop.store(true, Ordering::Relaxed);
    }

    /// Has every thread begin nothing new, and end when all that is under way is answered.
    pub fn finish(&self) {
        self.control.finish.store(true, Ordering::Relaxed);
    }

    /// Waits for the end.
    pub fn join(mut self) -> io::Result<Report> {
        let mut total = Tally::new(self.started);
        for thread in self.threads.drain(..) {
            let tally = thread
                .join()
                .map_err(|_| io::Error::other("a load thread panicked"))??;
            total.merge(&tally);
        }
        Ok(Report::new(total))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}
