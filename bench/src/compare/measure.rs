//! One measurement: a load against a running proxy, a window in it, and what the proxy used in that window.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use super::{
    host::CpuTimes,
    outcome::Figures,
    process::{Process, cpu_time_of},
    workload::Workload,
};
use crate::{
    cpus::CpuList,
    load::{self, Checks, Report, RequestShape, Running, Settings, Until},
};

/// Connections are all in use by then, or the measurement begins without some.
const CONNECTED_MAX: Duration = Duration::from_secs(5);

/// From so many connections on it takes a while until all are open and the proxy has its own to the origin...
const CROWD: usize = 1000;

/// ...which is over once each has had this many answers, on average: opening them is not what is measured.
const CROWD_ANSWERS: u64 = 8;

/// A load is ended when its window has passed, long before this.
const LOAD_MAX: Duration = Duration::from_secs(3600);

/// A proxy whose memory is measured rests this long, so that it has done what it does after an answer.
const SETTLE: Duration = Duration::from_millis(200);

/// Who measures where and for how long.
#[derive(Debug, Clone)]
pub(super) struct Bench<'a> {
    pub(super) load_cpus: CpuList,
    pub(super) load_threads: usize,
    /// All CPUs that matter, the proxy's and the load's.
    pub(super) all_cpus: Vec<usize>,
    /// The kernel's threads that work for the measured traffic on them.
    pub(super) network_threads: Vec<u32>,
    pub(super) window: Duration,
    pub(super) warm_up: Duration,
    pub(super) interrupted: &'a AtomicBool,
}

/// What a measurement came to.
pub(super) struct Measured {
    pub(super) figures: Figures,
    pub(super) disturbance: Option<String>,
    /// Errors in words.
    pub(super) errors: Option<String>,
}

/// Why a measurement was given up.
#[derive(Debug)]
pub(super) enum GivenUp {
    Interrupted,
    Failed(String),
}

impl From<io::Error> for GivenUp {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Bench<'_> {
    /// Loads `address`. Without a proxy nobody's CPU is counted.
    pub(super) fn loaded(
        &self,
        workload: &Workload,
        rate: Option<f64>,
        address: SocketAddr,
        proxy: Option<&Process>,
    ) -> Result<Measured, GivenUp> {
        // Opening thousands of connections takes its time before the window as well.
        let opening = Duration::from_micros(150) * workload.connections as u32;
        let warm_up = self.warm_up + opening;
        let running = load::start(&self.settings(workload, rate, address, warm_up))?;
        self.sleep(warm_up)?;
        self.await_connections(workload, &running);
        let pids = proxy.map(Process::pids).unwrap_or_default();
        let before = self.read(&pids, &running);
        self.sleep(self.window)?;
        let after = self.read(&pids, &running);
        let disturbance = before.disturbance(&after);
        // What is under way is awaited: a proxy that loses a request shows as a timeout.
        running.finish();
        let report = running.join()?;
        let count = after.answered - before.answered;
        if count == 0 {
            return Err(GivenUp::Failed(format!(
                "no request was answered ({})",
                errors_of(&report).unwrap_or_default()
            )));
        }
        let figures = Figures::Loaded {
            cpu_us: after.proxy.saturating_sub(before.proxy).as_secs_f64() * 1e6 / count as f64,
            rate: count as f64 / (after.at - before.at).as_secs_f64(),
            latencies: report.latencies.clone(),
        };
        Ok(Measured {
            figures,
            disturbance,
            errors: errors_of(&report),
        })
    }

    /// System calls per request under the workload, by perf. Not part of any other measurement, since counting costs.
    pub(super) fn syscalls(
        &self,
        workload: &Workload,
        rate: Option<f64>,
        address: SocketAddr,
        proxy: &Process,
    ) -> Result<f64, String> {
        let failed = |error: io::Error| format!("perf: {error}");
        let running =
            load::start(&self.settings(workload, rate, address, self.warm_up)).map_err(failed)?;
        std::thread::sleep(self.warm_up.max(Duration::from_millis(150)));
        let pids: Vec<String> = proxy.pids().iter().map(u32::to_string).collect();
        let seconds = (self.window / 2)
            .max(Duration::from_millis(200))
            .as_secs_f64();
        let mut command = Command::new("perf");
        command.args([
            "stat",
            "-x,",
            "-e",
            "raw_syscalls:sys_enter",
            "-p",
            &pids.join(","),
        ]);
        command
            .args(["--", "sleep", &seconds.to_string()])
            .stdin(Stdio::null());
        let (count, start) = (running.counts().answered, Instant::now());
        let output = command.output().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "perf is not installed".to_owned(),
            _ => failed(error),
        })?;
        // perf counts for as long as `sleep` sleeps; its own start and end lie around that.
        let rate = (running.counts().answered - count) as f64 / start.elapsed().as_secs_f64();
        running.finish();
        running.join().map_err(failed)?;
        let text = String::from_utf8_lossy(&output.stderr);
        let calls = perf_count(&text).ok_or_else(|| {
            format!(
                "perf counts no system calls here: {}",
                text.lines().next().unwrap_or_default()
            )
        })?;
        Ok(calls as f64 / (rate * seconds))
    }

    /// Memory per idle connection, each of which has carried one request.
    pub(super) fn idle(
        &self,
        workload: &Workload,
        address: SocketAddr,
        proxy: &Process,
    ) -> Result<Measured, GivenUp> {
        // A little traffic first, so that what a proxy takes once and for all is there.
        let mut warm = self.settings(workload, None, address, Duration::ZERO);
        warm.connections = 64;
        warm.until = Until::Requests(6400);
        let warmed = load::start(&warm)?.join()?;
        std::thread::sleep(SETTLE);
        let before = proxy.memory_bytes();
        let mut idle = Vec::with_capacity(workload.connections);
        for _ in 0..workload.connections {
            idle.push(open_and_ask_once(address, workload)?);
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(GivenUp::Interrupted);
            }
        }
        std::thread::sleep(SETTLE);
        let grown = proxy.memory_bytes().saturating_sub(before);
        let mut closed = 0;
        for stream in &idle {
            stream.set_nonblocking(true)?;
            closed += usize::from(
                !matches!(stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock),
            );
        }
        let errors =
            (closed > 0).then(|| format!("{closed} idle connections were closed by the proxy"));
        let figures = Figures::Idle {
            bytes_per_connection: grown as f64 / idle.len() as f64,
        };
        // Other load does not change how much memory is used, so nothing disturbs this.
        Ok(Measured {
            figures,
            disturbance: None,
            errors: errors.or(errors_of(&warmed)),
        })
    }

    fn read(&self, proxy: &[u32], running: &Running) -> Reading {
        let sum = |pids: &[u32]| pids.iter().copied().map(cpu_time_of).sum();
        Reading {
            times: CpuTimes::now(&self.all_cpus),
            harness: cpu_time_of(std::process::id()),
            network: sum(&self.network_threads),
            proxy: sum(proxy),
            answered: running.counts().answered,
            at: Instant::now(),
        }
    }

    fn settings(
        &self,
        workload: &Workload,
        rate: Option<f64>,
        address: SocketAddr,
        warm_up: Duration,
    ) -> Settings {
        Settings {
            address,
            shape: RequestShape {
                method: if workload.body == load::Body::None {
                    "GET"
                } else {
                    "POST"
                }
                .to_owned(),
                host: "bench.example".to_owned(),
                paths: vec![workload.path.to_owned()],
                fields: Vec::new(),
                body: workload.body,
                checks: Checks {
                    bytes: Some(workload.answer_bytes),
                    pattern: false,
                },
            },
            connections: workload.connections,
            pipeline: 1,
            keep_alive: workload.keep_alive,
            rate,
            until: Until::Elapsed(LOAD_MAX),
            warm_up,
            timeout: Duration::from_secs(10),
            threads: self.load_threads,
            cpus: Some(self.load_cpus.clone()),
        }
    }

    fn await_connections(&self, workload: &Workload, running: &Running) {
        // Without keep-alive no connection lives long enough to be counted.
        if !workload.keep_alive || workload.connections < CROWD {
            return;
        }
        let connections = workload.connections as u64;
        let settled = || {
            let counts = running.counts();
            counts.proven >= connections * 9 / 10 && counts.answered >= connections * CROWD_ANSWERS
        };
        let deadline = Instant::now() + CONNECTED_MAX;
        while !settled() && Instant::now() < deadline && !running.is_finished() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn sleep(&self, duration: Duration) -> Result<(), GivenUp> {
        let end = Instant::now() + duration;
        loop {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(GivenUp::Interrupted);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }
}

/// What the accounts say at one moment. They are read in the same order at both ends of a window, quickly.
struct Reading {
    times: CpuTimes,
    harness: Duration,
    network: Duration,
    proxy: Duration,
    answered: u64,
    at: Instant,
}

impl Reading {
    fn accounted(&self) -> Duration {
        self.harness + self.network + self.proxy
    }

    fn disturbance(&self, later: &Self) -> Option<String> {
        let accounted = later.accounted().saturating_sub(self.accounted());
        self.times
            .disturbance(&later.times, later.at - self.at, accounted)
    }
}

fn errors_of(report: &Report) -> Option<String> {
    let words: Vec<String> = report
        .error_counts()
        .map(|(kind, count)| format!("{count} {}", kind.name()))
        .collect();
    (!words.is_empty()).then(|| {
        format!(
            "{} of {} requests",
            words.join(", "),
            report.errors() + report.answered
        )
    })
}

/// The count in what `perf stat -x,` writes.
fn perf_count(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find(|line| line.contains("raw_syscalls:sys_enter"))?;
    line.split(',').next()?.parse().ok()
}

/// A connection that has carried one request, whose answer has been read.
fn open_and_ask_once(address: SocketAddr, workload: &Workload) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: bench.example\r\n\r\n",
        workload.path
    );
    // In one piece: a second one would wait for the first one's acknowledgement.
    stream.write_all(request.as_bytes())?;
    let mut buffer = [0; 4096];
    let mut reader = crate::http1::ResponseReader::default();
    loop {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut input = &buffer[..len];
        while let Some(event) = reader
            .next(&mut input, false)
            .map_err(|_| io::Error::other("not HTTP"))?
        {
            if event == crate::http1::Event::End {
                return Ok(stream);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perf_counts_are_read() {
        assert_eq!(
            perf_count("1234,,raw_syscalls:sys_enter,5,100.00,,\n"),
            Some(1234)
        );
        assert_eq!(
            perf_count("<not supported>,,raw_syscalls:sys_enter,0,100.00,,\n"),
            None
        );
        assert_eq!(perf_count("Error: no permission"), None);
    }
}
