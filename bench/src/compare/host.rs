//! The machine: what it is, and whether something else was going on.

use std::{fmt, fs, time::Duration};

use crate::{
    cpus::CpuList,
    json::{Json, object},
};

/// A window is disturbed when others used more than this part of the CPUs that are measured on.
const OTHERS_MAX: f64 = 0.05;

/// A window is disturbed when the hypervisor kept more than this part of the CPUs' time.
const STEAL_MAX: f64 = 0.02;

/// The kernel counts CPU time in these, whatever its tick is.
const TICK_MS: u64 = 10;

/// What the machine is, for the reader of a report.
#[derive(Debug, Clone)]
pub struct Machine {
    /// CPUs this process may use.
    pub cpus: usize,
    /// The processor's name.
    pub processor: String,
    /// The kernel's version.
    pub kernel: String,
    /// TCP's congestion control where a socket asks for none. It decides in how many pieces long answers leave, and when.
    pub congestion_control: String,
}

impl Machine {
    /// This machine.
    pub fn this() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let sysctl = |path: &str| {
            fs::read_to_string(format!("/proc/sys/{path}"))
                .map_or_else(|_| "unknown".to_owned(), |value| value.trim().to_owned())
        };
        Self {
            cpus: CpuList::available().map_or(0, |cpus| cpus.as_slice().len()),
            processor: model
                .map_or("unknown processor", |(_, name)| name.trim())
                .to_owned(),
            kernel: sysctl("kernel/osrelease"),
            congestion_control: sysctl("net/ipv4/tcp_congestion_control"),
        }
    }

    /// The description for a program.
    pub fn to_json(&self) -> Json {
        object([
            ("cpus", (self.cpus as u64).into()),
            ("processor", self.processor.as_str().into()),
            ("kernel", self.kernel.as_str().into()),
            (
                "congestion_control",
                self.congestion_control.as_str().into(),
            ),
        ])
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} CPUs ({}), Linux {}, TCP with {}",
            self.cpus, self.processor, self.kernel, self.congestion_control
        )
    }
}

/// The kernel's threads that take up a CPU's network work where an interrupt leaves some (`ksoftirqd`): what they do is the
/// measured traffic's. None where they cannot be seen.
pub(super) fn network_threads(cpus: &[usize]) -> Vec<u32> {
    let names: Vec<String> = cpus.iter().map(|cpu| format!("ksoftirqd/{cpu}")).collect();
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = processes
        .flatten()
        .filter_map(|process| process.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm"))
            .is_ok_and(|name| names.iter().any(|own| own == name.trim_end()))
    })
    .collect()
}

fn ticks_long(ticks: u64) -> Duration {
    Duration::from_millis(ticks * TICK_MS)
}

/// CPU time up to a moment, on some CPUs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CpuTimes {
    /// On how many; none where the kernel does not tell.
    cpus: u32,
    /// Sampled at ticks, which fall together with other timers: it may come to more than there was.
    busy: Duration,
    /// Measured, but without what the kernel does on its way into and out of idleness.
    idle: Duration,
    stolen: Duration,
}

impl CpuTimes {
    pub(super) fn now(cpus: &[usize]) -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default(), cpus)
    }

    fn parse(stat: &str, cpus: &[usize]) -> Self {
        let mut times = Self::default();
        for line in stat.lines() {
            let mut words = line.split_whitespace();
            let cpu = words
                .next()
                .and_then(|name| name.strip_prefix("cpu")?.parse::<usize>().ok());
            if !cpu.is_some_and(|cpu| cpus.contains(&cpu)) {
                continue;
            }
            let ticks: Vec<u64> = words.map(|word| word.parse().unwrap_or(0)).collect();
            // user nice system idle iowait irq softirq steal
            let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks[..] else {
                continue;
            };
            times.cpus += 1;
            times.busy += ticks_long(user + nice + system + irq + softirq);
            times.idle += ticks_long(idle + iowait);
            times.stolen += ticks_long(steal);
        }
        times
    }

    /// What disturbed the window from `self` to `later`, in which `accounted` of CPU time was the measurement's own.
    pub(super) fn disturbance(
        &self,
        later: &Self,
        window: Duration,
        accounted: Duration,
    ) -> Option<String> {
        let whole = window * self.cpus;
        if whole.is_zero() {
            return None;
        }
        let of_whole = |time: Duration| time.as_secs_f64() / whole.as_secs_f64();
        let stolen = later.stolen.saturating_sub(self.stolen);
        let idle = later.idle.saturating_sub(self.idle);
        // Somebody else's work shows in both.
        let busy = later.busy.saturating_sub(self.busy);
        let busy = busy.min(whole.saturating_sub(idle + stolen));
        let others = of_whole(busy.saturating_sub(accounted));
        let stolen = of_whole(stolen);
        if stolen > STEAL_MAX {
            Some(format!(
                "the hypervisor took {:.0} % of the CPUs",
                stolen * 100.0
            ))
        } else if others > OTHERS_MAX {
            Some(format!("others used {:.0} % of the CPUs", others * 100.0))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str =
        "cpu  9 9 9 9 9 9 9 9\ncpu0 100 0 100 500 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\nintr 5";

    fn disturbance(after: &str) -> Option<String> {
        let (before, after) = (CpuTimes::parse(BEFORE, &[0]), CpuTimes::parse(after, &[0]));
        before.disturbance(&after, Duration::from_secs(1), Duration::from_millis(500))
    }

    #[test]
    fn what_others_use_and_what_is_stolen_disturbs() {
        assert_eq!(disturbance("cpu0 130 0 120 550 0 0 0 0 0 0"), None);
        assert_eq!(
            disturbance("cpu0 150 0 120 530 0 0 0 0 0 0").unwrap(),
            "others used 20 % of the CPUs"
        );
        assert_eq!(disturbance("cpu0 150 0 120 550 0 0 0 0 0 0"), None);
        assert_eq!(disturbance("cpu0 130 0 120 530 0 0 0 0 0 0"), None);
        let stolen = disturbance("cpu0 125 0 125 540 0 0 0 10 0 0");
        assert_eq!(stolen.unwrap(), "the hypervisor took 10 % of the CPUs");
    }

    #[test]
    fn nothing_disturbs_where_the_kernel_does_not_tell() {
        let unknown = CpuTimes::parse("", &[0]);
        let second = Duration::from_secs(1);
        assert_eq!(unknown.disturbance(&unknown, second, Duration::ZERO), None);
    }
}
