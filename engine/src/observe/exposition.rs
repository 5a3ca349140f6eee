//! The counters of all workers as Prometheus text (format 0.0.4), for `/metrics`.
//!
//! Runs on the control thread and may allocate. Series with the same labels are one series, so routes that share a
//! template, and counters of an earlier configuration or process, add up.
//! Invariant: a metric's HELP and TYPE come once, before its samples, and no series comes twice.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::counters::{
    Counter, METHOD_LABELS, Page, Reason, Refusal, Retry, UpstreamStats, WorkerStats,
};
use super::histogram::{DURATION_BOUNDS_NANOS, Histogram, SIZE_BOUNDS_BYTES};

/// The media type of what `render` writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// What is counted of the process, not of a worker.
#[derive(Debug, Clone, Copy)]
pub struct ProcessStats<'a> {
    /// Ringway's version.
    pub version: &'a str,
    /// When the process started, milliseconds since 1970.
    pub start_unix_millis: u64,
    /// Lines that the access log's thread could not write: `Sink::lines_lost`.
    pub access_log_lines_lost: u64,
}

/// Appends every metric, summed over `all`.
pub fn render(all: &[Arc<WorkerStats>], process: &ProcessStats<'_>, out: &mut String) {
    let totals = Totals::of(all, process);
    totals.render_requests(out);
    totals.render_connections(out);
    totals.render_upstreams(out);
    totals.render_own(out);
    render_process(process, out);
}

/// Everything, added up.
#[derive(Default)]
struct Totals<'a> {
    in_flight: i64,
    open_connections: i64,
    accepted: u64,
    panics: u64,
    access_log_dropped: u64,
    buffer_exhausted: u64,
    refused: [u64; Refusal::LABELS.len()],
    bad_requests: BTreeMap<&'static str, u64>,
    /// By the labels `path` and `method`.
    pages: BTreeMap<(&'a str, &'static str), PageTotal>,
    upstreams: BTreeMap<&'a str, UpstreamTotal>,
}

#[derive(Default)]
struct PageTotal {
    statuses: BTreeMap<u16, u64>,
    status_other: u64,
    duration: HistogramTotal,
    size: HistogramTotal,
}

#[derive(Default)]
struct UpstreamTotal {
    connects: u64,
    connect_errors: u64,
    connect_duration: HistogramTotal,
    reused: u64,
    retries: [u64; Retry::LABELS.len()],
}

#[derive(Default)]
struct HistogramTotal {
    buckets: Vec<u64>,
    sum: u64,
}

impl<'a> Totals<'a> {
    fn of(all: &'a [Arc<WorkerStats>], process: &ProcessStats<'_>) -> Self {
        let mut totals = Self {
            access_log_dropped: process.access_log_lines_lost,
            ..Self::default()
        };
        for stats in all {
            totals.add(stats);
        }
        totals
    }

    fn add(&mut self, stats: &'a WorkerStats) {
        self.in_flight += stats.in_flight.value();
        self.open_connections += stats.open_connections.value();
        self.accepted += stats.connections_accepted.value();
        self.panics += stats.panics.value();
        self.access_log_dropped += stats.access_log_dropped.value();
        self.buffer_exhausted += stats.buffer_exhausted.value();
        add_counters(&mut self.refused, &stats.refused);
        for Reason { name, count } in &stats.bad_requests {
            if let Some(name) = name.get() {
                *self.bad_requests.entry(name).or_default() += count.value();
            }
        }
        let other = stats.bad_requests_other.value();
        if other > 0 {
            *self.bad_requests.entry("other").or_default() += other;
        }
        for route in stats.routes() {
            for (page, method) in route.pages.iter().zip(METHOD_LABELS) {
                if let Some(page) = page.get() {
                    self.pages
                        .entry((&route.label, method))
                        .or_default()
                        .add(page);
                }
            }
        }
        for upstream in stats.upstreams() {
            self.upstreams
                .entry(&upstream.name)
                .or_default()
                .add(upstream);
        }
    }

    fn render_requests(&self, out: &mut String) {
        family(
            out,
            "http_requests_total",
            "counter",
            "Requests that are over.",
        );
        for ((path, method), page) in &self.pages {
            let numbered = page
                .statuses
                .iter()
                .map(|(status, count)| (status.to_string(), *count));
            let other = (page.status_other > 0).then(|| ("other".to_owned(), page.status_other));
            for (status, count) in numbered.chain(other) {
                let labels = [("method", *method), ("path", path), ("status", &status)];
                sample(out, "http_requests_total", &labels, count);
            }
        }
        let name = "http_request_duration_seconds";
        family(
            out,
            name,
            "histogram",
            "Time from a request's first byte to its end.",
        );
        for ((path, method), page) in &self.pages {
            page.duration
                .render_seconds(out, name, &[("method", method), ("path", path)]);
        }
        let name = "http_response_size_bytes";
        family(
            out,
            name,
            "histogram",
            "Bytes of a response's body, as sent.",
        );
        for ((path, method), page) in &self.pages {
            page.size
                .render_bytes(out, name, &[("method", method), ("path", path)]);
        }
        single(
            out,
            "http_in_flight_requests",
            "gauge",
            "Requests being served.",
            self.in_flight,
        );
    }

    fn render_connections(&self, out: &mut String) {
        let open = self.open_connections;
        single(
            out,
            "http_open_connections",
            "gauge",
            "Client connections open.",
            open,
        );
        let name = "ringway_connections_accepted_total";
        single(
            out,
            name,
            "counter",
            "Client connections accepted.",
            self.accepted,
        );
        let name = "ringway_connections_refused_total";
        family(out, name, "counter", "Client connections closed unserved.");
        for (reason, count) in Refusal::LABELS.iter().zip(self.refused) {
            sample(out, name, &[("reason", reason)], count);
        }
        let name = "ringway_bad_requests_total";
        family(
            out,
            name,
            "counter",
            "Requests refused for how they were written.",
        );
        for (reason, count) in &self.bad_requests {
            sample(out, name, &[("reason", reason)], count);
        }
    }

    fn render_upstreams(&self, out: &mut String) {
        let by_upstream = |out: &mut String, name, help, value: fn(&UpstreamTotal) -> u64| {
            family(out, name, "counter", help);
            for (upstream, total) in &self.upstreams {
                sample(out, name, &[("upstream", upstream)], value(total));
            }
        };
        let name = "ringway_upstream_connects_total";
        by_upstream(out, name, "Connections made to origins.", |total| {
            total.connects
        });
        let name = "ringway_upstream_connect_errors_total";
        let help = "Connections to origins that failed.";
        by_upstream(out, name, help, |total| total.connect_errors);
        let name = "ringway_upstream_reused_total";
        by_upstream(out, name, "Requests sent on a kept connection.", |total| {
            total.reused
        });
        let name = "ringway_upstream_connect_seconds";
        family(out, name, "histogram", "Time to connect to an origin.");
        for (upstream, total) in &self.upstreams {
            total
                .connect_duration
                .render_seconds(out, name, &[("upstream", upstream)]);
        }
        let name = "ringway_retries_total";
        family(out, name, "counter", "Requests sent again.");
        for (upstream, total) in &self.upstreams {
            for (reason, count) in Retry::LABELS.iter().zip(total.retries) {
                sample(
                    out,
                    name,
                    &[("upstream", upstream), ("reason", reason)],
                    count,
                );
            }
        }
    }

    fn render_own(&self, out: &mut String) {
        let name = "ringway_panics_total";
        single(out, name, "counter", "Panics contained.", self.panics);
        let name = "ringway_access_log_dropped_total";
        let help = "Lines of the access log that were dropped.";
        single(out, name, "counter", help, self.access_log_dropped);
        let name = "ringway_buffer_exhausted_total";
        let help = "Times that no buffer was left for a read.";
        single(out, name, "counter", help, self.buffer_exhausted);
        #[cfg(feature = "count-allocations")]
        {
            let name = "ringway_worker_allocations_total";
            let help = "Heap allocations of workers.";
            single(out, name, "counter", help, super::allocations::total());
        }
    }
}

fn render_process(process: &ProcessStats<'_>, out: &mut String) {
    let name = "ringway_build_info";
    family(out, name, "gauge", "1, with the version as a label.");
    sample(out, name, &[("version", process.version)], 1);
    let name = "ringway_process_start_time_seconds";
    let start = process.start_unix_millis;
    let seconds = format_args!("{}.{:03}", start / 1000, start % 1000).to_string();
    single(
        out,
        name,
        "gauge",
        "When the process started, seconds since 1970.",
        seconds,
    );
}

impl PageTotal {
    fn add(&mut self, page: &Page) {
        for (status, count) in page.statuses() {
            *self.statuses.entry(status).or_default() += count;
        }
        self.status_other += page.status_other.value();
        self.duration.add(&page.duration.0);
        self.size.add(&page.size.0);
    }
}

impl UpstreamTotal {
    fn add(&mut self, stats: &UpstreamStats) {
        self.connects += stats.connects.value();
        self.connect_errors += stats.connect_errors.value();
        self.connect_duration.add(&stats.connect_duration.0);
        self.reused += stats.reused.value();
        add_counters(&mut self.retries, &stats.retries);
    }
}

impl HistogramTotal {
    fn add<const BUCKETS: usize>(&mut self, histogram: &Histogram<BUCKETS>) {
        self.buckets.resize(BUCKETS, 0);
        add_counters(&mut self.buckets, &histogram.buckets);
        self.sum = self.sum.wrapping_add(histogram.sum.value());
    }

    fn render_seconds(&self, out: &mut String, name: &str, labels: &[(&str, &str)]) {
        self.render(
            out,
            name,
            labels,
            &DURATION_BOUNDS_NANOS.map(seconds),
            &seconds(self.sum),
        );
    }

    fn render_bytes(&self, out: &mut String, name: &str, labels: &[(&str, &str)]) {
        let bounds = SIZE_BOUNDS_BYTES.map(|bound| bound.to_string());
        self.render(out, name, labels, &bounds, &self.sum.to_string());
    }

    fn render(
        &self,
        out: &mut String,
        name: &str,
        labels: &[(&str, &str)],
        bounds: &[String],
        sum: &str,
    ) {
        let bucket = format!("{name}_bucket");
        let infinite = "+Inf".to_owned();
        let mut cumulated = 0;
        for (bound, count) in bounds.iter().chain([&infinite]).zip(&self.buckets) {
            cumulated += count;
            let labels: Vec<_> = labels
                .iter()
                .copied()
                .chain([("le", bound.as_str())])
                .collect();
            sample(out, &bucket, &labels, cumulated);
        }
        sample(out, &format!("{name}_sum"), labels, sum);
        sample(out, &format!("{name}_count"), labels, cumulated);
    }
}

fn add_counters(totals: &mut [u64], counters: &[Counter]) {
    for (total, counter) in totals.iter_mut().zip(counters) {
        *total += counter.value();
    }
}

/// Nanoseconds as seconds, exactly, without zeros at the end.
fn seconds(nanos: u64) -> String {
    let whole = nanos / NANOS_PER_SECOND;
    match nanos % NANOS_PER_SECOND {
        0 => whole.to_string(),
        fraction => format!("{whole}.{fraction:09}")
            .trim_end_matches('0')
            .to_owned(),
    }
}

/// A metric with one sample and no labels.
fn single(out: &mut String, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
    family(out, name, kind, help);
    sample(out, name, &[], value);
}

/// The lines before a metric's samples.
fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    put(
        out,
        format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"),
    );
}

fn sample(out: &mut String, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    out.push_str(name);
    for (index, (key, text)) in labels.iter().enumerate() {
        out.push(if index == 0 { '{' } else { ',' });
        out.push_str(key);
        out.push_str("=\"");
        escape_label(out, text);
        out.push('"');
    }
    if !labels.is_empty() {
        out.push('}');
    }
    put(out, format_args!(" {value}\n"));
}

/// A label's value may hold anything but these three, plain.
fn escape_label(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            plain => out.push(plain),
        }
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests;
