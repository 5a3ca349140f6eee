//! What came out of a comparison, and what follows from it.

use hdrhistogram::Histogram;

use super::{
    host::Machine,
    stats::{Spread, paired_ratios},
    workload::{Kind, Workload},
};

/// A whole comparison.
#[derive(Debug)]
pub struct Outcome {
    /// Where it was run.
    pub machine: Machine,
    /// How CPUs were shared out.
    pub cpus: String,
    /// Rounds, and seconds of each.
    pub rounds: u32,
    /// Seconds of one measurement.
    pub seconds: f64,
    /// Proxies that were not there, and why.
    pub missing: Vec<(String, String)>,
    /// Workloads that were not run, and why.
    pub skipped: Vec<(String, String)>,
    /// What else the reader should know.
    pub notes: Vec<String>,
    /// The workloads that were run.
    pub workloads: Vec<WorkloadOutcome>,
}

/// What came out of one workload.
#[derive(Debug)]
pub struct WorkloadOutcome {
    /// The workload.
    pub workload: Workload,
    /// Requests per second asked for, if that was fixed.
    pub rate: Option<f64>,
    /// Each proxy. The first is the one that is compared with the others.
    pub peers: Vec<PeerOutcome>,
    /// The origin without a proxy, if the workload calls for it.
    pub direct: Option<PeerOutcome>,
    /// Measurements that something else disturbed: round, peer, what it was and what was done.
    pub disturbed: Vec<String>,
}

/// What came out for one proxy.
#[derive(Debug)]
pub struct PeerOutcome {
    /// How it is shown.
    pub label: String,
    /// Its kind's name.
    pub kind: &'static str,
    /// The measurements that count, one a round at most.
    pub samples: Vec<Sample>,
    /// System calls per request, or why they are not known.
    pub syscalls: Result<f64, String>,
    /// Errors of all measurements, in words; empty if there were none.
    pub errors: Vec<String>,
    /// Why it could not be measured.
    pub failed: Option<String>,
}

/// One measurement.
#[derive(Debug, Clone)]
pub struct Sample {
    /// In which round.
    pub round: u32,
    /// What was measured.
    pub figures: Figures,
}

/// What was measured.
#[derive(Debug, Clone)]
pub enum Figures {
    /// Under load.
    Loaded {
        /// CPU time of the proxy per request, in microseconds.
        cpu_us: f64,
        /// Requests answered per second.
        rate: f64,
        /// Nanoseconds from the time the request should have been sent.
        latencies: Histogram<u64>,
    },
    /// With idle connections.
    Idle {
        /// Memory of the proxy's processes per connection.
        bytes_per_connection: f64,
    },
}

/// The percentiles that rows show.
pub(super) const SHOWN_PERCENTILES: [(&str, f64); 3] =
    [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9)];

impl Figures {
    fn primary(&self) -> f64 {
        match self {
            Self::Loaded { cpu_us, .. } => *cpu_us,
            Self::Idle {
                bytes_per_connection,
            } => *bytes_per_connection,
        }
    }

    fn latency_us(&self, percentile: f64) -> Option<f64> {
        match self {
            Self::Loaded { latencies, .. } => {
                Some(latencies.value_at_percentile(percentile) as f64 / 1000.0)
            }
            Self::Idle { .. } => None,
        }
    }
}

impl PeerOutcome {
    /// A proxy that has not been measured yet.
    pub fn new(label: String, kind: &'static str) -> Self {
        let syscalls = Err("not counted".to_owned());
        Self {
            label,
            kind,
            samples: Vec::new(),
            syscalls,
            errors: Vec::new(),
            failed: None,
        }
    }

    /// CPU per request in microseconds, or bytes per idle connection, by round.
    pub fn primary(&self) -> Vec<(u32, f64)> {
        self.samples
            .iter()
            .map(|sample| (sample.round, sample.figures.primary()))
            .collect()
    }

    /// Its median and spread.
    pub fn primary_spread(&self) -> Option<Spread> {
        Spread::of(self.primary().into_iter().map(|(_, value)| value))
    }

    /// Requests per second.
    pub fn rate(&self) -> Option<Spread> {
        Spread::of(
            self.samples
                .iter()
                .filter_map(|sample| match sample.figures {
                    Figures::Loaded { rate, .. } => Some(rate),
                    Figures::Idle { .. } => None,
                }),
        )
    }

    /// A percentile of the latency in microseconds: the median of the rounds, and their spread.
    pub fn latency_us(&self, percentile: f64) -> Option<Spread> {
        Spread::of(
            self.samples
                .iter()
                .filter_map(|sample| sample.figures.latency_us(percentile)),
        )
    }

    /// What a percentile of the latency is above that of `direct`, round by round, in microseconds.
    pub fn added_latency_us(&self, direct: &Self, percentile: f64) -> Option<Spread> {
        Spread::of(self.samples.iter().filter_map(|sample| {
            let without = direct
                .samples
                .iter()
                .find(|other| other.round == sample.round)?;
            Some(sample.figures.latency_us(percentile)? - without.figures.latency_us(percentile)?)
        }))
    }

    /// The latencies of all rounds together.
    pub fn all_latencies(&self) -> Option<Histogram<u64>> {
        let mut all: Option<Histogram<u64>> = None;
        for sample in &self.samples {
            if let Figures::Loaded { latencies, .. } = &sample.figures {
                match &mut all {
                    None => all = Some(latencies.clone()),
                    Some(all) => all
                        .add(latencies)
                        .expect("all histograms have the same bounds"),
                }
            }
        }
        all
    }
}

impl WorkloadOutcome {
    /// The one that is compared with the others.
    pub fn subject(&self) -> Option<&PeerOutcome> {
        self.peers.iter().find(|peer| !peer.samples.is_empty())
    }

    /// What the subject uses of what `peer` uses, round by round.
    pub fn ratio_to(&self, peer: &PeerOutcome) -> Option<Spread> {
        let subject = self.subject()?;
        Spread::of(paired_ratios(&subject.primary(), &peer.primary()))
    }

    /// The better of nginx and HAProxy: the one that used least, by its median; all builds and variants that took part count.
    /// Not whichever was lower in each round: of two noisy figures the lower one is lower than either proxy's own.
    pub fn better(&self) -> Option<&PeerOutcome> {
        let subject = self.subject()?;
        let median = |peer: &PeerOutcome| {
            let spread = peer.primary_spread();
            spread.map_or(f64::INFINITY, |spread| spread.median)
        };
        self.peers
            .iter()
            .filter(|peer| {
                matches!(peer.kind, "nginx" | "haproxy")
                    && peer.label != subject.label
                    && !peer.samples.is_empty()
            })
            .min_by(|one, other| median(one).total_cmp(&median(other)))
    }

    /// What the subject uses of what the better of nginx and HAProxy uses, round by round.
    pub fn ratio_to_better(&self) -> Option<Spread> {
        self.ratio_to(self.better()?)
    }

    /// What [`PeerOutcome::primary`] is, with its unit.
    pub fn primary_name(&self) -> &'static str {
        match self.workload.kind {
            Kind::Idle => "bytes per connection",
            Kind::Saturate | Kind::Rate => "CPU per request, µs",
        }
    }
}

impl Outcome {
    /// Errors of all workloads and proxies, in words.
    pub fn errors(&self) -> Vec<String> {
        let mut errors = Vec::new();
        for workload in &self.workloads {
            for peer in workload.peers.iter().chain(&workload.direct) {
                let about =
                    |what: &String| format!("{}, {}: {what}", workload.workload.name, peer.label);
                errors.extend(peer.errors.iter().chain(&peer.failed).map(about));
            }
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::workload;

    fn peer(label: &str, kind: &'static str, bytes: [f64; 3]) -> PeerOutcome {
        let samples = (0..)
            .zip(bytes)
            .map(|(round, bytes_per_connection)| Sample {
                round,
                figures: Figures::Idle {
                    bytes_per_connection,
                },
            });
        PeerOutcome {
            samples: samples.collect(),
            ..PeerOutcome::new(label.to_owned(), kind)
        }
    }

    #[test]
    fn the_better_one_is_one_proxy_and_not_the_luckier_of_each_round() {
        let outcome = WorkloadOutcome {
            workload: workload::named("idle", 20_000, 1).unwrap().remove(0),
            rate: None,
            peers: vec![
                peer("ringway", "ringway", [10.0, 10.0, 10.0]),
                peer("nginx", "nginx", [20.0, 20.0, 50.0]),
                peer("haproxy", "haproxy", [40.0, 40.0, 10.0]),
                peer("h2o", "h2o", [1.0, 1.0, 1.0]),
            ],
            direct: None,
            disturbed: Vec::new(),
        };
        assert_eq!(outcome.better().unwrap().label, "nginx");
        let ratio = outcome.ratio_to_better().unwrap();
        assert_eq!((ratio.median, ratio.low, ratio.high), (0.5, 0.2, 0.5));
    }
}
