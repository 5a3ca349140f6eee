//! What a load came to, for people and for programs.

use std::{fmt, time::Duration};

use hdrhistogram::Histogram;

use super::{protocol::ErrorKind, tally::Tally};
use crate::json::{Json, object};

/// The percentiles that are reported, with their names.
pub const PERCENTILES: [(&str, f64); 6] = [
    ("p50", 50.0),
    ("p90", 90.0),
    ("p99", 99.0),
    ("p99.9", 99.9),
    ("p99.99", 99.99),
    ("max", 100.0),
];

/// What a load came to. Nothing of the warm-up is in it but errors.
#[derive(Debug, Clone)]
pub struct Report {
    /// From the end of the warm-up to the last answer.
    pub elapsed: Duration,
    /// Requests answered as they should be.
    pub answered: u64,
    /// Content received in those answers.
    pub content_bytes: u64,
    /// Latencies of those answers in nanoseconds, from the time the request should have been sent.
    pub latencies: Histogram<u64>,
    /// Open loop: requests sent more than a millisecond late, because no connection was free or the
    /// load had no CPU.
    pub missed: u64,
    /// Open loop: requests that were never sent, because no connection became free before the end.
    pub unsent: u64,
    errors: [u64; ErrorKind::ALL.len()],
}

impl Report {
    pub(super) fn new(tally: Tally) -> Self {
        Self {
            elapsed: tally.elapsed(),
            answered: tally.answered,
            content_bytes: tally.content_bytes,
            latencies: tally.latencies,
            missed: tally.missed,
            unsent: tally.unsent,
            errors: tally.errors,
        }
    }

    /// Errors of one kind.
    pub fn errors_of(&self, kind: ErrorKind) -> u64 {
        self.errors[kind as usize]
    }

    /// Errors of all kinds.
    pub fn errors(&self) -> u64 {
        self.errors.iter().sum()
    }

    /// The kinds of errors there were and how many of each.
    pub fn error_counts(&self) -> impl Iterator<Item = (ErrorKind, u64)> + '_ {
        ErrorKind::ALL
            .into_iter()
            .map(|kind| (kind, self.errors_of(kind)))
            .filter(|(_, count)| *count > 0)
    }

    /// Requests answered per second.
    pub fn rate(&self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// A percentile of the latency.
    pub fn latency(&self, percentile: f64) -> Duration {
        Duration::from_nanos(self.latencies.value_at_percentile(percentile))
    }

    /// The report for a program.
    pub fn to_json(&self) -> Json {
        let latencies =
            PERCENTILES.map(|(name, percentile)| (name, micros(self.latency(percentile)).into()));
        let errors = ErrorKind::ALL.map(|kind| (kind.name(), self.errors_of(kind).into()));
        object([
            ("seconds", self.elapsed.as_secs_f64().into()),
            ("requests", self.answered.into()),
            ("requests_per_second", self.rate().into()),
            ("content_bytes", self.content_bytes.into()),
            ("latency_us", object(latencies)),
            ("missed", self.missed.into()),
            ("unsent", self.unsent.into()),
            ("errors_total", self.errors().into()),
            ("errors", object(errors)),
        ])
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        writeln!(f, "requests   {} in {seconds:.2} s", self.answered)?;
        writeln!(f, "rate       {:.0} /s", self.rate())?;
        let content = self.content_bytes as f64;
        writeln!(
            f,
            "content    {} ({}/s)",
            bytes(content),
            bytes(content / seconds.max(1e-9))
        )?;
        write!(f, "latency   ")?;
        for (name, percentile) in PERCENTILES {
            write!(f, " {name} {}", duration(self.latency(percentile)))?;
        }
        writeln!(f)?;
        if self.missed + self.unsent > 0 {
            writeln!(
                f,
                "schedule   {} sent over 1 ms late, {} never",
                self.missed, self.unsent
            )?;
        }
        write!(f, "errors     {}", self.errors())?;
        for (index, (kind, count)) in self.error_counts().enumerate() {
            write!(
                f,
                "{}{} {count}",
                if index == 0 { ": " } else { ", " },
                kind.name()
            )?;
        }
        writeln!(f)
    }
}

/// A duration in microseconds.
pub fn micros(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1000.0
}

/// A duration as people read it, three digits.
pub fn duration(duration: Duration) -> String {
    let micros = micros(duration);
    match micros {
        ..1e3 => format!("{micros:.0} µs"),
        ..1e4 => format!("{:.2} ms", micros / 1e3),
        ..1e5 => format!("{:.1} ms", micros / 1e3),
        ..1e6 => format!("{:.0} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

/// A number of bytes as people read it.
pub fn bytes(bytes: f64) -> String {
    match bytes {
        ..1024.0 => format!("{bytes:.0} B"),
        ..1_048_576.0 => format!("{:.1} KiB", bytes / 1024.0),
        ..1_073_741_824.0 => format!("{:.1} MiB", bytes / 1_048_576.0),
        _ => format!("{:.2} GiB", bytes / 1_073_741_824.0),
    }
}
