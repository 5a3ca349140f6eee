//! The control thread: signals, drain, admin pages, news from the resolvers.

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;

use super::start::StartError;
use crate::admin::{self, Shown};
use crate::observe::process_log;
use crate::ring::{self, Remote, Ring, Timer};
use crate::upstream::Addresses;
use crate::worker::{Message, Worker};

/// How long the log's thread may take to write what is left.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

/// What happens to a process.
#[derive(Debug)]
pub(super) enum Event {
    /// TERM or INT.
    Stop,
    /// HUP.
    Reopen,
    /// An upstream has new addresses.
    Resolved(usize, Addresses),
    /// A worker's thread ended.
    WorkerEnded,
}

/// Turns signals into events.
pub(super) fn watch_signals(events: Sender<Event>) -> io::Result<()> {
    // A write to a socket or pipe that is gone is an error there, not a signal.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGUSR2])?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                let event = match signal {
                    SIGTERM | SIGINT => Event::Stop,
                    SIGHUP => Event::Reopen,
                    SIGUSR2 => {
                        process_log::warn(
                            "USR2: this version cannot upgrade itself; going on as before",
                        );
                        continue;
                    }
                    _ => continue,
                };
                if events.send(event).is_err() {
                    return;
                }
            }
        })?;
    Ok(())
}

/// What the control thread looks after.
pub(super) struct Control {
    pub(super) drain_notice: Duration,
    pub(super) drain_deadline: Duration,
    pub(super) workers: Vec<Worker>,
    pub(super) inbox: Receiver<Event>,
    pub(super) shown: Shown,
    pub(super) admin: Option<OwnedFd>,
    /// Printed once everything is up.
    pub(super) announcement: Vec<String>,
}

/// How far the way down has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Not ready any more, still accepting.
    Notice,
    /// Not accepting; what is open ends.
    Draining,
}

impl Control {
    /// Runs until every worker has ended, or the deadline or a second signal ends all.
    pub(super) fn run(self) -> Result<(), StartError> {
        let result = ring::run(move |ring| self.serve(ring), || {});
        result.map_err(|error| StartError::Other("run the control thread", error))?
    }

    async fn serve(self, ring: Ring) -> Result<(), StartError> {
        let Self {
            drain_notice,
            drain_deadline,
            workers,
            inbox,
            shown,
            admin,
            announcement,
        } = self;
        let shown = Rc::new(shown);
        if let Some(fd) = admin {
            ring.spawn(admin::serve(ring.clone(), fd, Rc::clone(&shown)));
        }
        let remote = ring
            .remote()
            .map_err(|error| StartError::Other("wake the control thread", error))?;
        let events =
            forward(inbox, remote).map_err(|error| StartError::Other("start a thread", error))?;
        for line in announcement {
            process_log::announce(&line);
        }
        let timer = Timer::new(&ring);
        let phase = Cell::new(Phase::Serving);
        let mut ended = 0;
        let result = loop {
            let timed_out = std::future::poll_fn(|cx| {
                if ring.poll_remote(cx).is_ready() {
                    return std::task::Poll::Ready(false);
                }
                timer.poll(cx).map(|()| true)
            })
            .await;
            if timed_out {
                timer.clear();
                match phase.get() {
                    Phase::Serving => {}
                    Phase::Notice => {
                        phase.set(Phase::Draining);
                        process_log::info("draining: no new connections");
                        for worker in &workers {
                            worker.mailbox().send(Message::Drain);
                        }
                        timer.set(ring.now_ms() + drain_deadline.as_millis() as u64);
                    }
                    Phase::Draining => {
                        process_log::warn("the drain's deadline has passed: closing what is left");
                        break Ok(());
                    }
                }
            }
            let news = std::mem::take(&mut *events.lock().unwrap_or_else(PoisonError::into_inner));
            let (mut forced, mut failed) = (false, false);
            for event in news {
                match event {
                    Event::Stop if phase.get() == Phase::Serving => {
                        phase.set(Phase::Notice);
                        shown.ready.store(false, Ordering::Relaxed);
                        process_log::info("told to stop: not ready any more");
                        timer.set(ring.now_ms() + drain_notice.as_millis() as u64);
                    }
                    Event::Stop => forced = true,
                    Event::Reopen => match shown.log.reopen() {
                        Ok(()) => process_log::info("the access log was opened again"),
                        Err(error) => process_log::error(&format!(
                            "the access log cannot be opened again, the old one is kept: {error}"
                        )),
                    },
                    Event::Resolved(upstream, addresses) => {
                        for worker in &workers {
                            worker
                                .mailbox()
                                .send(Message::Resolved(upstream, Arc::clone(&addresses)));
                        }
                    }
                    Event::WorkerEnded => {
                        ended += 1;
                        // Its listening sockets are gone or deaf: the process is to be started anew.
                        failed |= phase.get() != Phase::Draining;
                    }
                }
            }
            if forced {
                break Err(StartError::Forced);
            }
            if failed {
                break Err(StartError::WorkerFailed);
            }
            if ended == workers.len() {
                break Ok(());
            }
        };
        if ended == workers.len() {
            for worker in workers {
                if let Err(error) = worker.join() {
                    process_log::error(&format!("a worker failed: {error}"));
                }
            }
        }
        if result.is_ok() {
            // The admin task's share of it ends with the process.
            shown.log.close(LOG_PATIENCE);
        }
        result
    }
}

/// Carries events from their channel to where the control thread's reactor finds them.
fn forward(inbox: Receiver<Event>, remote: Remote) -> io::Result<Arc<Mutex<Vec<Event>>>> {
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let shared = Arc::clone(&events);
    std::thread::Builder::new()
        .name("events".into())
        .spawn(move || {
            while let Ok(event) = inbox.recv() {
                shared
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(event);
                remote.raise();
            }
        })?;
    Ok(events)
}
