//! What becomes of lines when the disk, the reader or the operator interferes.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::{env, fs, process};

use super::*;
use crate::observe::Format;
use crate::observe::access_log::{Phases, Record};

/// Ample for what is over at once, unless something is broken.
const PATIENCE: Duration = Duration::from_secs(30);
/// For what never happens.
const MOMENT: Duration = Duration::from_millis(20);

/// A file name nobody else uses, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(env::temp_dir().join(format!("ringway-sink-{}-{name}", process::id())))
    }

    fn lines(&self) -> usize {
        fs::read_to_string(&self.0)
            .expect("the log can be read")
            .lines()
            .count()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn record() -> Record<'static> {
    Record {
        unix_millis: 0,
        method: b"GET",
        path: b"/some/path",
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

fn stats() -> Arc<WorkerStats> {
    WorkerStats::new(&[], &[])
}

fn settings(path: &Path) -> Settings {
    Settings {
        access: Destination::File(path.to_owned()),
        format: Format::Json,
    }
}

fn start(path: &Path) -> Sink {
    Sink::start(&settings(path)).expect("the log starts")
}

fn append(sink: &Sink, count: usize) -> u64 {
    let stats = stats();
    let mut writer = sink.writer(Arc::clone(&stats));
    (0..count).for_each(|_| writer.append(&record()));
    writer.flush();
    stats.access_log_dropped.value()
}

#[test]
fn lines_reach_the_file_before_close_returns() {
    let scratch = Scratch::new("reach");
    let sink = start(&scratch.0);
    assert_eq!(append(&sink, 10_000), 0);
    let closed = sink.close(PATIENCE);
    assert_eq!(
        closed,
        Closed {
            drained: true,
            lines_lost: 0
        }
    );
    assert_eq!(scratch.lines(), 10_000);
}

#[test]
fn lines_of_several_workers_are_whole() {
    let scratch = Scratch::new("several");
    let sink = start(&scratch.0);
    thread::scope(|scope| {
        for _ in 0..4 {
            let mut writer = sink.writer(stats());
            scope.spawn(move || (0..1000).for_each(|_| writer.append(&record())));
        }
    });
    assert!(sink.close(PATIENCE).drained);
    let text = fs::read_to_string(&scratch.0).expect("the log can be read");
    assert!(
        text.lines()
            .all(|line| line.starts_with("{\"time\":") && line.ends_with("\"error\":null}"))
    );
    assert_eq!(text.lines().count(), 4000);
}

#[test]
fn a_new_file_is_for_its_owner_and_group_and_an_old_one_is_appended_to() {
    let scratch = Scratch::new("mode");
    for expected in [1, 2] {
        let sink = start(&scratch.0);
        append(&sink, 1);
        sink.close(PATIENCE);
        assert_eq!(scratch.lines(), expected);
    }
    let mode = fs::metadata(&scratch.0)
        .expect("the log is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777 & !FILE_MODE, 0);
}

#[test]
fn a_renamed_file_is_left_for_a_new_one_on_request() {
    let (scratch, renamed) = (Scratch::new("reopen"), Scratch::new("reopen-old"));
    let sink = start(&scratch.0);
    fs::rename(&scratch.0, &renamed.0).expect("the log can be renamed");
    sink.reopen().expect("the log opens again");
    append(&sink, 5);
    assert!(sink.close(PATIENCE).drained);
    assert_eq!((renamed.lines(), scratch.lines()), (0, 5));
}

#[test]
fn a_path_that_cannot_be_opened_again_keeps_the_old_file() {
    let (scratch, renamed) = (Scratch::new("stay"), Scratch::new("stay-old"));
    let sink = start(&scratch.0);
    fs::rename(&scratch.0, &renamed.0).expect("the log can be renamed");
    fs::create_dir(&scratch.0).expect("a directory takes its place");
    assert!(sink.reopen().is_err());
    append(&sink, 5);
    assert!(sink.close(PATIENCE).drained);
    fs::remove_dir(&scratch.0).expect("the directory goes");
    assert_eq!(renamed.lines(), 5);
}

#[test]
fn a_path_that_cannot_be_opened_is_an_error_at_the_start() {
    assert!(Sink::start(&settings(Path::new("/nonexistent/log"))).is_err());
    assert!(Sink::start(&settings(Path::new("/"))).is_err());
}

#[test]
fn a_full_disk_costs_lines_and_says_how_many() {
    let sink = start(Path::new("/dev/full"));
    let dropped = append(&sink, 1000);
    let closed = sink.close(PATIENCE);
    assert!(closed.drained);
    assert_eq!(closed.lines_lost + dropped, 1000);
}

/// A sink whose reader is in the test's hands.
fn piped() -> (Sink, io::PipeReader) {
    let (reader, writer) = io::pipe().expect("a pipe can be made");
    let output = File::from(OwnedFd::from(writer));
    let settings = Settings {
        access: Destination::Stdout,
        format: Format::Json,
    };
    (
        Sink::with_output(&settings, Some(output)).expect("the log starts"),
        reader,
    )
}

#[test]
fn a_reader_that_is_stuck_holds_nobody_and_every_line_is_accounted_for() {
    let (sink, reader) = piped();
    let appended = 160_000;
    // Far more than pipe and queue hold: this returns only if nothing waits.
    let dropped = append(&sink, appended);
    assert!(dropped > 0);
    // The reader comes back, and gets whole lines.
    let lines =
        thread::spawn(move || BufReader::new(reader).lines().map_while(Result::ok).count() as u64);
    let closed = sink.close(PATIENCE);
    assert_eq!(
        closed,
        Closed {
            drained: true,
            lines_lost: 0
        }
    );
    assert_eq!(
        lines.join().expect("the reader reads") + dropped,
        appended as u64
    );
}

#[test]
fn closing_gives_up_on_a_stuck_reader_at_its_deadline() {
    let (sink, reader) = piped();
    append(&sink, 10_000);
    assert!(!sink.close(MOMENT).drained);
    drop(reader);
}

#[test]
fn a_reader_that_is_gone_costs_lines_only() {
    let (sink, reader) = piped();
    drop(reader);
    assert_eq!(append(&sink, 10), 0);
    assert_eq!(
        sink.close(PATIENCE),
        Closed {
            drained: true,
            lines_lost: 10
        }
    );
}

#[test]
fn a_pipe_that_would_block_is_waited_for() {
    let (mut reader, writer) = io::pipe().expect("a pipe can be made");
    let fd = OwnedFd::from(writer);
    // The same pipe again, this time non-blocking.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
    let sink = start(Path::new(&path));
    drop(fd);
    assert_eq!(append(&sink, 3000), 0);
    let text = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    assert_eq!(
        sink.close(PATIENCE),
        Closed {
            drained: true,
            lines_lost: 0
        }
    );
    let text = text
        .join()
        .expect("the reader reads")
        .expect("the pipe can be read");
    assert_eq!(text.lines().count(), 3000);
}

#[test]
fn a_log_that_is_off_starts_nothing_and_closes_at_once() {
    let sink = Sink::start(&Settings {
        access: Destination::Off,
        format: Format::Json,
    });
    let sink = sink.expect("there is nothing to fail");
    assert!(!sink.writer(stats()).is_on());
    assert!(sink.reopen().is_ok());
    assert!(sink.close(Duration::ZERO).drained);
}

/// Takes so many bytes a write, then fails, by turns.
struct Script {
    written: Vec<u8>,
    answers: Vec<Option<usize>>,
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = match self.answers.is_empty() {
            true => bytes.len(),
            false => self
                .answers
                .remove(0)
                .ok_or(ErrorKind::StorageFull)?
                .min(bytes.len()),
        };
        self.written.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_line_cut_by_a_full_disk_does_not_garble_the_next() {
    let mut output = Output::new(Script {
        written: Vec::new(),
        answers: vec![Some(4), None],
    });
    assert_eq!(output.write_lines(b"a\nbb\ncc\n"), 2);
    assert_eq!(output.write_lines(b"d\n"), 0);
    assert_eq!(output.inner.written, b"a\nbb\nd\n");
}

#[test]
fn lines_are_lost_while_a_cut_line_cannot_be_ended() {
    let mut output = Output::new(Script {
        written: Vec::new(),
        answers: vec![Some(1), None, None],
    });
    assert_eq!(output.write_lines(b"aa\n"), 1);
    assert_eq!(output.write_lines(b"b\nc\n"), 2);
    assert_eq!(output.write_lines(b"d\n"), 0);
    assert_eq!(output.inner.written, b"a\nd\n");
}

#[test]
fn short_writes_go_on_where_they_stopped() {
    let mut output = Output::new(Script {
        written: Vec::new(),
        answers: vec![Some(1), Some(2), Some(1)],
    });
    assert_eq!(output.write_lines(b"a\nbb\n"), 0);
    assert_eq!(output.inner.written, b"a\nbb\n");
}
