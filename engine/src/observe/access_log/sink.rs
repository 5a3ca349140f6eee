//! The log's end of the access log: one thread that writes batches to a file or standard output.
//!
//! It may block for as long as a reader or a disk likes; nobody waits for it except `close`, for a bounded time.
//! Invariant: a batch is tried once. What cannot be written is counted, so a full disk costs lines, not CPU.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::writer::{Batch, Message, QUEUE_BATCHES_MAX, Spares, Writer};
use crate::observe::{Destination, Settings, WorkerStats};

/// Who may read a log file that is made here: its owner and group.
const FILE_MODE: u32 = 0o640;

/// How long to wait for a descriptor that would block before it is tried again. Only descriptors that someone else made
/// non-blocking (an inherited pipe) and named pipes come here.
const WOULD_BLOCK_WAIT: Duration = Duration::from_millis(10);

/// The log's thread, and the way to it.
#[derive(Debug)]
pub struct Sink {
    settings: Settings,
    spares: Spares,
    shared: Arc<Shared>,
    /// `None`: the log is off.
    thread: Option<Running>,
}

/// What is left of the log's thread to its owner.
#[derive(Debug)]
struct Running {
    queue: SyncSender<Message>,
    /// Disconnects when the thread has ended.
    ended: Receiver<()>,
}

/// How closing went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Whether everything that was queued has been tried in time.
    pub drained: bool,
    /// Lines that could not be written, over the sink's life.
    pub lines_lost: u64,
}

/// What the log's thread and its owner both touch.
#[derive(Debug, Default)]
struct Shared {
    closing: AtomicBool,
    /// A file that replaces the one being written to.
    replacement: Mutex<Option<File>>,
    lines_lost: AtomicU64,
}

impl Sink {
    /// Opens the destination and starts the thread. An error is the destination's, or the thread's.
    pub fn start(settings: &Settings) -> io::Result<Self> {
        let output = match &settings.access {
            Destination::Off => None,
            // A descriptor of its own: a stuck reader must not hold std's lock on standard output.
            Destination::Stdout => Some(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
            Destination::File(path) => Some(open(path)?),
        };
        Self::with_output(settings, output)
    }

    fn with_output(settings: &Settings, output: Option<File>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let spares = Spares::default();
        let thread = match output {
            None => None,
            Some(output) => Some(Running::start(output, &shared, &spares)?),
        };
        Ok(Self {
            settings: settings.clone(),
            spares,
            shared,
            thread,
        })
    }

    /// A worker's writer. Lines that the queue has no room for are counted in `stats`.
    pub fn writer(&self, stats: Arc<WorkerStats>) -> Writer {
        Writer::new(
            self.thread.as_ref().map(|running| running.queue.clone()),
            Arc::clone(&self.spares),
            self.settings.format,
            stats,
        )
    }

    /// Opens the file at the same path again, for who has renamed it. On an error the old one is written to as before.
    pub fn reopen(&self) -> io::Result<()> {
        let (Destination::File(path), Some(running)) = (&self.settings.access, &self.thread) else {
            return Ok(());
        };
        let file = open(path)?;
        *lock(&self.shared.replacement) = Some(file);
        running.wake();
        Ok(())
    }

    /// Lines that were queued and could not be written.
    pub fn lines_lost(&self) -> u64 {
        self.shared.lines_lost.load(Ordering::Relaxed)
    }

    /// Writes what is queued and ends the thread, waiting for `deadline` at most; a thread that is stuck in a write is
    /// left behind. Writers must have been flushed before.
    pub fn close(&self, deadline: Duration) -> Closed {
        let drained = self.thread.as_ref().is_none_or(|running| {
            self.shared.closing.store(true, Ordering::Release);
            running.wake();
            running.ended.recv_timeout(deadline) != Err(RecvTimeoutError::Timeout)
        });
        Closed {
            drained,
            lines_lost: self.lines_lost(),
        }
    }
}

impl Running {
    fn start(output: File, shared: &Arc<Shared>, spares: &Spares) -> io::Result<Self> {
        let (queue, batches) = mpsc::sync_channel(QUEUE_BATCHES_MAX);
        let (end, ended) = mpsc::sync_channel(0);
        let writing = Writing {
            output: Output::new(output),
            shared: Arc::clone(shared),
            spares: Arc::clone(spares),
        };
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                writing.run(&batches);
                drop::<SyncSender<()>>(end);
            })?;
        Ok(Self { queue, ended })
    }

    /// Makes the thread look at `Shared`. A full queue needs no waking: the thread looks after every batch.
    fn wake(&self) {
        let _ = self.queue.try_send(Message::Wake);
    }
}

/// What the thread owns.
struct Writing {
    output: Output<File>,
    shared: Arc<Shared>,
    spares: Spares,
}

impl Writing {
    /// Until every sender is gone, or until the queue is empty once closing is asked for.
    fn run(mut self, batches: &Receiver<Message>) {
        loop {
            let message = if self.shared.closing.load(Ordering::Acquire) {
                batches.try_recv().ok()
            } else {
                batches.recv().ok()
            };
            let Some(message) = message else { return };
            let replacement = lock(&self.shared.replacement).take();
            if let Some(file) = replacement {
                self.output = Output::new(file);
            }
            if let Message::Batch(batch) = message {
                let lost = self.output.write_lines(&batch.bytes);
                self.shared.lines_lost.fetch_add(lost, Ordering::Relaxed);
                self.keep(batch);
            }
        }
    }

    /// Gives a written batch's space back to the workers.
    fn keep(&self, batch: Batch) {
        let batch = batch.emptied();
        let mut spares = lock(&self.spares);
        if spares.len() < QUEUE_BATCHES_MAX {
            spares.push(batch);
        }
    }
}

/// Where lines are written, and whether the last one was whole.
struct Output<W> {
    inner: W,
    in_a_line: bool,
}

impl<W: Write> Output<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            in_a_line: false,
        }
    }

    /// Writes whole lines, and returns how many were lost.
    fn write_lines(&mut self, lines: &[u8]) -> u64 {
        // The rest of a line that was cut is gone. Its start must not garble the next one.
        let left = match self.in_a_line && self.write_all(b"\n").is_err() {
            true => lines,
            false => self.write_all(lines).err().unwrap_or_default(),
        };
        memchr::memchr_iter(b'\n', left).count() as u64
    }

    /// The error is what was not written.
    fn write_all<'a>(&mut self, bytes: &'a [u8]) -> Result<(), &'a [u8]> {
        let mut left = bytes;
        while !left.is_empty() {
            match self.inner.write(left) {
                Ok(0) => return Err(left),
                Ok(count) => {
                    self.in_a_line = left[count - 1] != b'\n';
                    left = &left[count..];
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::park_timeout(WOULD_BLOCK_WAIT);
                }
                Err(_) => return Err(left),
            }
        }
        Ok(())
    }
}

/// Appends; makes the file where there is none.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        // A named pipe without a reader is an error then, not an endless wait; and a terminal does not become ours.
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
}

/// What these locks guard is whole after every statement, so a panic elsewhere is no reason to stop logging.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
