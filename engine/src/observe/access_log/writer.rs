//! A worker's end of the access log: lines gather in a batch, batches go to the log's thread.
//!
//! Invariant: a worker never waits here. A batch that finds the queue full is dropped, its lines counted.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex};

use super::line::{Lines, Record};
use crate::observe::{Format, WorkerStats};

/// A batch is handed over once it has this many bytes.
pub const BATCH_BYTES: usize = 16 * 1024;

/// Batches waiting for the log's thread, from all workers: what a stuck reader can hold is 16 MiB. The thread competes
/// with workers for a CPU, and half a million requests a second fill this in about 90 ms.
pub const QUEUE_BATCHES_MAX: usize = 1024;

/// How long a line waits in a batch that does not fill, with a worker that calls `flush_if_due` once a tick.
pub const FLUSH_AFTER_MILLIS: u64 = 100;

/// Empty batches a worker keeps to itself, so that a moment in which the log's thread does not run costs no allocation.
/// Their memory is touched only when they are used.
const OWN_SPARES_MAX: usize = 4;

/// A batch's space at the start: what makes it due, and one common line more.
const BATCH_SPACE_BYTES: usize = BATCH_BYTES + 2048;

/// Lines on their way, each with its line feed.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: u64,
}

/// What goes to the log's thread.
pub(super) enum Message {
    /// Lines to be written.
    Batch(Batch),
    /// Look at what else is asked for.
    Wake,
}

/// Batches that have been written, for the next one who needs one.
pub(super) type Spares = Arc<Mutex<Vec<Batch>>>;

/// One worker's writer.
#[derive(Debug)]
pub struct Writer {
    /// `None`: the log is off.
    queue: Option<SyncSender<Message>>,
    spares: Spares,
    lines: Lines,
    batch: Batch,
    /// Empty batches of this worker's own, `OWN_SPARES_MAX` at most.
    own_spares: Vec<Batch>,
    /// When the batch's first line was appended.
    since_unix_millis: u64,
    stats: Arc<WorkerStats>,
}

impl Writer {
    pub(super) fn new(
        queue: Option<SyncSender<Message>>,
        spares: Spares,
        format: Format,
        stats: Arc<WorkerStats>,
    ) -> Self {
        let with_space = |count| (0..count).map(|_| Batch::with_space()).collect();
        let (batch, own_spares) = match queue {
            Some(_) => (Batch::with_space(), with_space(OWN_SPARES_MAX)),
            None => Default::default(),
        };
        Self {
            batch,
            own_spares,
            queue,
            spares,
            lines: Lines::new(format),
            since_unix_millis: 0,
            stats,
        }
    }

    /// Whether lines go anywhere; where not, a caller need not gather what a record wants.
    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Appends a line, and hands the batch over where it is large enough.
    pub fn append(&mut self, record: &Record<'_>) {
        if self.queue.is_none() {
            return;
        }
        if self.batch.lines == 0 {
            self.since_unix_millis = record.unix_millis;
        }
        self.lines.append(&mut self.batch.bytes, record);
        self.batch.lines += 1;
        if self.batch.bytes.len() >= BATCH_BYTES {
            self.flush();
        }
    }

    /// Hands the batch over where its first line has waited long enough. For a worker's tick.
    pub fn flush_if_due(&mut self, unix_millis: u64) {
        // A clock that was set back makes it due as well.
        let waited = unix_millis.checked_sub(self.since_unix_millis);
        if self.batch.lines > 0 && waited.is_none_or(|millis| millis >= FLUSH_AFTER_MILLIS) {
            self.flush();
        }
    }

    /// Hands the batch over, or drops it where the log's thread has fallen behind.
    pub fn flush(&mut self) {
        if self.batch.lines == 0 {
            return;
        }
        let next = self.spare();
        let Some(queue) = &self.queue else { return };
        let full = std::mem::replace(&mut self.batch, next);
        match queue.try_send(Message::Batch(full)) {
            Ok(()) => {}
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => {
                if let Message::Batch(dropped) = message {
                    self.stats.access_log_dropped.add(dropped.lines);
                    let spare = std::mem::replace(&mut self.batch, dropped.emptied());
                    self.own_spares.push(spare);
                }
            }
        }
    }

    /// An empty batch: one that has been written, or a new one where the log's thread is further behind than the
    /// worker's own spares last. Where another thread is at those that have been written, they are left to it.
    fn spare(&mut self) -> Batch {
        if let Ok(mut spares) = self.spares.try_lock() {
            let wanted = OWN_SPARES_MAX - self.own_spares.len();
            let rest = spares.len().saturating_sub(wanted);
            self.own_spares.extend(spares.drain(rest..));
        }
        self.own_spares.pop().unwrap_or_else(Batch::with_space)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Batch {
    fn with_space() -> Self {
        Self {
            bytes: Vec::with_capacity(BATCH_SPACE_BYTES),
            lines: 0,
        }
    }

    /// The same space, with nothing in it.
    pub(super) fn emptied(mut self) -> Self {
        self.bytes.clear();
        self.lines = 0;
        self
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::mpsc::{self, Receiver};
    use std::time::Duration;

    use super::*;
    use crate::observe::access_log::Phases;

    fn record(unix_millis: u64) -> Record<'static> {
        Record {
            unix_millis,
            method: b"GET",
            path: b"/",
            status: 200,
            bytes: 0,
            duration: Duration::ZERO,
            remote: SocketAddr::from(([192, 0, 2, 1], 1)),
            user_agent: None,
            request_id: b"",
            route: None,
            upstream: None,
            endpoint: None,
            attempts: 0,
            protocol: "HTTP/1.1",
            tls: None,
            reused: None,
            phases: Phases::default(),
            error: None,
        }
    }

    fn writer(queued_max: usize) -> (Writer, Receiver<Message>) {
        let (queue, batches) = mpsc::sync_channel(queued_max);
        let stats = WorkerStats::new(&[], &[]);
        (
            Writer::new(Some(queue), Spares::default(), Format::Json, stats),
            batches,
        )
    }

    /// Where a batch's space is.
    fn at(batch: &Batch) -> *const u8 {
        batch.bytes.as_ptr()
    }

    /// Lines of the next batch in the queue.
    fn lines(batches: &Receiver<Message>) -> Option<u64> {
        match batches.try_recv().ok()? {
            Message::Batch(batch) => Some(batch.lines),
            Message::Wake => None,
        }
    }

    #[test]
    fn a_batch_goes_once_it_is_large_enough() {
        let (mut writer, batches) = writer(8);
        let mut appended = 0;
        let sent = loop {
            writer.append(&record(0));
            appended += 1;
            if let Some(lines) = lines(&batches) {
                break lines;
            }
        };
        assert_eq!(sent, appended);
        assert!((10..1000).contains(&sent), "{sent}");
    }

    #[test]
    fn a_batch_of_a_quiet_worker_goes_when_its_first_line_has_waited() {
        let (mut writer, batches) = writer(8);
        writer.append(&record(1000));
        writer.append(&record(1090));
        writer.flush_if_due(1000 + FLUSH_AFTER_MILLIS - 1);
        assert_eq!(lines(&batches), None);
        writer.flush_if_due(1000 + FLUSH_AFTER_MILLIS);
        assert_eq!(lines(&batches), Some(2));
        writer.flush_if_due(100_000);
        assert_eq!(lines(&batches), None);
    }

    #[test]
    fn a_clock_set_back_does_not_hold_lines() {
        let (mut writer, batches) = writer(8);
        writer.append(&record(100_000));
        writer.flush_if_due(1);
        assert_eq!(lines(&batches), Some(1));
    }

    #[test]
    fn a_full_queue_drops_the_batch_and_counts_its_lines() {
        let (mut writer, batches) = writer(1);
        for _ in 0..3 {
            writer.append(&record(0));
            writer.append(&record(0));
            writer.flush();
        }
        assert_eq!(writer.stats.access_log_dropped.value(), 4);
        assert_eq!(lines(&batches), Some(2));
        writer.append(&record(0));
        writer.flush();
        assert_eq!(lines(&batches), Some(1));
    }

    #[test]
    fn a_log_thread_that_is_gone_drops_and_counts() {
        let (mut writer, batches) = writer(1);
        drop(batches);
        writer.append(&record(0));
        writer.flush();
        assert_eq!(writer.stats.access_log_dropped.value(), 1);
    }

    #[test]
    fn spaces_of_written_batches_are_used_again() {
        let (mut writer, batches) = writer(8);
        writer.append(&record(0));
        let first = writer.batch.bytes.as_ptr();
        writer.flush();
        let Ok(Message::Batch(written)) = batches.try_recv() else {
            panic!("a batch was sent");
        };
        writer
            .spares
            .lock()
            .expect("nobody panicked")
            .push(written.emptied());
        writer.append(&record(0));
        writer.flush();
        assert_eq!(writer.batch.bytes.as_ptr(), first);
    }

    #[test]
    fn a_log_thread_that_is_a_moment_behind_costs_no_new_space() {
        let (mut writer, batches) = writer(8);
        let mut known: Vec<_> = writer
            .own_spares
            .iter()
            .chain([&writer.batch])
            .map(at)
            .collect();
        for _ in 0..OWN_SPARES_MAX {
            writer.append(&record(0));
            writer.flush();
        }
        assert!(known.contains(&at(&writer.batch)));
        for written in batches.try_iter() {
            if let Message::Batch(batch) = written {
                let mut spares = writer.spares.lock().expect("nobody panicked");
                spares.push(batch.emptied());
            }
        }
        writer.append(&record(0));
        writer.flush();
        let mut now: Vec<_> = writer
            .own_spares
            .iter()
            .chain([&writer.batch])
            .map(at)
            .collect();
        assert_eq!(now.len(), OWN_SPARES_MAX);
        now.sort_unstable();
        known.retain(|space| now.binary_search(space).is_ok());
        assert_eq!(known.len(), now.len(), "all of them are old ones");
    }

    #[test]
    fn a_dropped_batch_leaves_as_many_spares_as_before() {
        let (mut writer, _batches) = writer(1);
        for _ in 0..3 {
            writer.append(&record(0));
            writer.flush();
        }
        assert_eq!(writer.own_spares.len(), OWN_SPARES_MAX - 1);
    }

    #[test]
    fn spares_that_another_thread_is_at_are_not_waited_for() {
        let (mut writer, batches) = writer(8);
        let spares = Arc::clone(&writer.spares);
        let held = spares.lock().expect("nobody panicked");
        writer.append(&record(0));
        writer.flush();
        drop(held);
        assert_eq!(lines(&batches), Some(1));
    }

    #[test]
    fn a_writer_that_ends_hands_over_what_it_has() {
        let (mut writer, batches) = writer(8);
        writer.append(&record(0));
        drop(writer);
        assert_eq!(lines(&batches), Some(1));
    }

    #[test]
    fn a_log_that_is_off_keeps_nothing() {
        let stats = WorkerStats::new(&[], &[]);
        let mut writer = Writer::new(None, Spares::default(), Format::Json, Arc::clone(&stats));
        assert!(!writer.is_on());
        writer.append(&record(0));
        writer.flush();
        assert_eq!(writer.batch.bytes.capacity(), 0);
        assert_eq!(stats.access_log_dropped.value(), 0);
    }
}
