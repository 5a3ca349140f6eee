//! A proxy as a process, with all the processes it starts: what they use, and their end.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::cpus::CpuList;

/// How long a proxy may take to end when it is asked to.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// A process started here, and its descendants. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
}

impl Process {
    /// Starts `command` confined to `cpus`, with its output in the file `output`.
    pub(super) fn start(mut command: Command, cpus: &CpuList, output: &Path) -> io::Result<Self> {
        let output = fs::File::create(output)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        // A thread of its own, because a child begins on the CPUs of the thread that starts it.
        let child = std::thread::scope(|scope| {
            let starter = scope.spawn(|| {
                cpus.confine_to_all()?;
                command.spawn()
            });
            starter
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the starting thread panicked")))
        })?;
        Ok(Self { child })
    }

    /// Why it has ended, if it has.
    pub(super) fn exit_status(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// It and its descendants, itself first.
    pub(super) fn pids(&self) -> Vec<u32> {
        let parents = parents_of_all();
        let mut tree = vec![self.child.id()];
        let mut next = 0;
        while let Some(&parent) = tree.get(next) {
            tree.extend(
                parents
                    .iter()
                    .filter(|(_, of)| *of == parent)
                    .map(|(pid, _)| *pid),
            );
            next += 1;
        }
        tree
    }

    /// Memory of all its processes, shared pages in proportion.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.pids()
            .into_iter()
            .filter_map(proportional_set_bytes)
            .sum()
    }

    fn stop(&mut self) {
        let tree = self.pids();
        if self.exit_status().is_none() {
            signal(self.child.id(), Signal::TERM);
            let deadline = Instant::now() + STOP_GRACE;
            while self.exit_status().is_none() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        if self.exit_status().is_none() {
            // Its children first, while it still is their parent and their numbers are theirs.
            for pid in self.pids().into_iter().rev() {
                signal(pid, Signal::KILL);
            }
        }
        // Reaps the child; it has ended or was killed.
        let _ = self.child.wait();
        // A parent that ended before its children leaves them to init; they were asked to end by it.
        for pid in tree.into_iter().skip(1) {
            let deadline = Instant::now() + Duration::from_millis(500);
            while Path::new(&format!("/proc/{pid}")).exists() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended meanwhile, which is what the signal is for.
        let _ = kill_process(pid, signal);
    }
}

/// CPU time of all threads of a process that live.
pub(super) fn cpu_time_of(pid: u32) -> Duration {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Duration::ZERO;
    };
    let nanos = threads.flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Whether the kernel keeps the account that [`cpu_time_of`] reads.
pub(super) fn check_accounting() -> io::Result<()> {
    match fs::read_to_string("/proc/self/schedstat") {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(io::Error::other(
            "the kernel keeps no /proc/PID/schedstat (CONFIG_SCHED_INFO), which CPU per request is read from",
        )),
        result => result.map(drop),
    }
}

fn proportional_set_bytes(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

/// Every process with its parent.
fn parents_of_all() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let parent_of = |entry: fs::DirEntry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name, in parentheses, may hold anything; after it come the state and the parent.
        let parent = stat
            .rsplit_once(')')?
            .1
            .split_whitespace()
            .nth(1)?
            .parse()
            .ok()?;
        Some((pid, parent))
    };
    entries.flatten().filter_map(parent_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_tree_is_seen_measured_and_ended() {
        let output =
            std::env::temp_dir().join(format!("ringway-bench-process-{}", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & wait"]);
        let process = Process::start(command, &CpuList::available().unwrap(), &output).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while process.pids().len() < 2 {
            assert!(Instant::now() < deadline, "the shell's child never came");
            std::thread::yield_now();
        }
        let pids = process.pids();
        assert!(process.memory_bytes() > 0);
        // The shell does not pass the signal on, so its child is ended here.
        signal(pids[1], Signal::TERM);
        drop(process);
        fs::remove_file(output).unwrap();
        assert_eq!(cpu_time_of(pids[0]), Duration::ZERO);
    }
}
