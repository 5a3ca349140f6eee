//! A running `ringway`: started with a config of its own, asked, signalled, and killed with the test.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, fs, process};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use crate::binary::ringway_binary;
use crate::client::{Client, Response, get};
use crate::log::{Lines, Record};
use crate::metrics::Metrics;
use crate::signal::eventually;

/// A directory of this test's own, removed with it.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch::new()
    }
}

impl Scratch {
    /// An empty directory.
    pub fn new() -> Scratch {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "ringway-tests-{}-{}",
            process::id(),
            MADE.fetch_add(1, Ordering::Relaxed)
        );
        let path = env::temp_dir().join(name);
        fs::create_dir(&path)
            .unwrap_or_else(|error| panic!("creating {}: {error}", path.display()));
        Scratch { path }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into it.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, text)
            .unwrap_or_else(|error| panic!("writing {}: {error}", path.display()));
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Runs `ringway` to its end.
pub fn ringway(args: &[&str]) -> Output {
    let mut command = Command::new(ringway_binary());
    command.args(args).env("NO_COLOR", "1").stdin(Stdio::null());
    command
        .output()
        .unwrap_or_else(|error| panic!("starting ringway: {error}"))
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    listeners: Vec<(String, SocketAddr)>,
    admin: SocketAddr,
    stdout: Lines,
    stuck: Option<ChildStdout>,
    stderr: Lines,
    _scratch: Scratch,
}

impl Proxy {
    /// `ringway run` with this config; returns once it is ready.
    pub fn start(config: &str) -> Proxy {
        Proxy::start_with(config, true)
    }

    /// Like `start`, but nobody ever reads its standard output.
    pub fn start_with_stuck_stdout(config: &str) -> Proxy {
        Proxy::start_with(config, false)
    }

    fn start_with(config: &str, read_stdout: bool) -> Proxy {
        let scratch = Scratch::new();
        let file = scratch.file("ringway.toml", config);
        let file = file
            .to_str()
            .expect("the system's temporary directory is named in UTF-8");
        Proxy::launch(&["run", "--config", file], read_stdout, scratch)
    }

    /// `ringway proxy` with ports that the kernel chooses, one worker, and these arguments.
    pub fn quick(args: &[&str]) -> Proxy {
        let own = [
            "proxy",
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--workers",
            "1",
        ];
        Proxy::launch(&[&own[..], args].concat(), true, Scratch::new())
    }

    fn launch(args: &[&str], read_stdout: bool, scratch: Scratch) -> Proxy {
        let mut command = Command::new(ringway_binary());
        command
            .args(args)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("starting ringway: {error}"));
        let stderr = Lines::of(child.stderr.take().expect("it is piped"));
        let pipe = child.stdout.take().expect("it is piped");
        let (stdout, stuck) = if read_stdout {
            (Lines::of(pipe), None)
        } else {
            (Lines::default(), Some(pipe))
        };
        let mut proxy = Proxy {
            child,
            listeners: Vec::new(),
            admin: SocketAddr::from(([0, 0, 0, 0], 0)),
            stdout,
            stuck,
            stderr,
            _scratch: scratch,
        };
        let lines = proxy.stderr.wait_for("ringway: ready", |lines| {
            lines
                .iter()
                .any(|line| line == "ringway: ready")
                .then(|| lines.to_vec())
        });
        for line in &lines {
            if let Some(rest) = line.strip_prefix("ringway: listening on ") {
                let (addr, name) = rest.split_once(' ').unwrap_or((rest, ""));
                let addr = addr
                    .parse()
                    .unwrap_or_else(|error| panic!("{line}: {error}"));
                proxy
                    .listeners
                    .push((name.trim_matches(['(', ')']).to_owned(), addr));
            } else if let Some(addr) = line.strip_prefix("ringway: admin on ") {
                proxy.admin = addr
                    .parse()
                    .unwrap_or_else(|error| panic!("{line}: {error}"));
            }
        }
        assert!(
            !proxy.listeners.is_empty(),
            "no listener was announced:\n{}",
            lines.join("\n")
        );
        proxy
    }

    /// Where its first listener listens.
    pub fn addr(&self) -> SocketAddr {
        self.listeners[0].1
    }

    /// Where all of its listeners listen, in the order of the config.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|(_, addr)| *addr).collect()
    }

    /// Where its admin listener listens.
    pub fn admin_addr(&self) -> SocketAddr {
        assert_ne!(self.admin.port(), 0, "no admin listener was announced");
        self.admin
    }

    /// A new connection to it.
    pub fn client(&self) -> Client {
        Client::connect(self.addr())
    }

    /// One request on a connection of its own.
    pub fn get(&self, target: &str) -> Response {
        self.client().get(target)
    }

    /// Sends `bytes` on a connection of their own and reads one response.
    pub fn ask(&self, bytes: impl AsRef<[u8]>) -> Response {
        let mut client = self.client();
        client.send(bytes);
        client.read_response()
    }

    /// One request to its admin listener.
    pub fn admin(&self, target: &str) -> Response {
        let mut client = Client::connect(self.admin_addr());
        client.send(get(target));
        client.read_response()
    }

    /// A scrape.
    pub fn metrics(&self) -> Metrics {
        let response = self.admin("/metrics");
        assert_eq!(response.status(), 200);
        Metrics::read(&response.text())
    }

    /// Scrapes until `condition` holds; panics with `what` when it never does.
    pub fn wait_for_metrics(&self, what: &str, condition: impl Fn(&Metrics) -> bool) -> Metrics {
        eventually(what, || Some(self.metrics()).filter(&condition))
    }

    /// Waits until no client is connected any more.
    pub fn wait_until_idle(&self) {
        self.wait_for_metrics("http_open_connections 0", |metrics| {
            metrics.gauge("http_open_connections") == 0.0
        });
    }

    /// Waits for `count` lines of the access log that fulfil `condition`, and passes them.
    pub fn access_records(
        &self,
        what: &str,
        count: usize,
        condition: impl Fn(&Record) -> bool,
    ) -> Vec<Record> {
        self.stdout.wait_for(what, |lines| {
            let found: Vec<_> = lines
                .iter()
                .map(|line| read_record(line))
                .filter(&condition)
                .collect();
            (found.len() >= count).then_some(found)
        })
    }

    /// Waits for the line of the access log about `path`.
    pub fn access_record(&self, path: &str) -> Record {
        let found = self.access_records(path, 1, |record| record.text("path") == path);
        assert_eq!(found.len(), 1, "lines about {path}: {found:?}");
        found.into_iter().next().expect("one")
    }

    /// Its standard output so far.
    pub fn stdout(&self) -> &Lines {
        &self.stdout
    }

    /// Its standard error so far.
    pub fn stderr(&self) -> &Lines {
        &self.stderr
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = self.pid();
        kill_process(pid, signal).unwrap_or_else(|error| panic!("signalling {pid:?}: {error}"));
    }

    /// Lets it have at most this many descriptors from now on.
    pub fn limit_descriptors(&self, most: u64) {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        prlimit(Some(self.pid()), Resource::Nofile, limit)
            .unwrap_or_else(|error| panic!("limiting descriptors: {error}"));
    }

    /// Closes the reading end of its standard output that nobody read.
    pub fn close_stuck_stdout(&mut self) {
        drop(self.stuck.take().expect("nobody reads its standard output"));
    }

    fn pid(&self) -> Pid {
        i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id is positive")
    }

    /// Waits until it has exited by itself.
    pub fn wait_exit(&mut self) -> ExitStatus {
        self.stderr.wait_for_end();
        self.child.wait().expect("it is this process's own child")
    }

    /// Waits until it has exited with code 0.
    pub fn wait_exit_cleanly(&mut self) {
        let status = self.wait_exit();
        let printed = self.stderr.all().join("\n");
        assert_eq!(
            status.code(),
            Some(0),
            "exited with {status} (signal {:?}):\n{printed}",
            status.signal()
        );
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("it is this process's own child")
            .is_none()
    }

    /// Its resident memory.
    pub fn rss_bytes(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("a process has memory");
        line.trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .expect("a number of kilobytes")
            * 1024
    }

    /// The most memory it ever had resident.
    pub fn rss_peak_bytes(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("a process has memory");
        line.trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .expect("a number of kilobytes")
            * 1024
    }

    /// The processor time it has used, in its own code and in the kernel's; in steps of 10 ms.
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        // proc(5): the second field is a name in parentheses; utime and stime are the 14th and 15th, in ticks of which
        // Linux reports 100 a second.
        let (_, after_name) = stat.rsplit_once(") ").expect("a process has a name");
        let ticks: u64 = after_name
            .split(' ')
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().expect("a number of ticks"))
            .sum();
        Duration::from_millis(ticks * 10)
    }

    /// Its open descriptors. Sockets that are direct descriptors of a ring do not count.
    pub fn fd_count(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .expect("it runs")
            .count()
    }
}

fn read_record(line: &str) -> Record {
    Record::read(line)
        .unwrap_or_else(|error| panic!("not a line of the access log: {line}: {error}"))
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stuck.take());
        // One that has exited needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let printed = self.stderr.all();
        let panicked = printed.iter().any(|line| line.contains("panicked at"));
        if std::thread::panicking() {
            eprintln!("ringway printed:\n{}", printed.join("\n"));
        } else {
            let asked_for = printed.iter().any(|line| line.contains("fault"));
            assert!(
                !panicked || asked_for,
                "a panic in ringway:\n{}",
                printed.join("\n")
            );
        }
    }
}
