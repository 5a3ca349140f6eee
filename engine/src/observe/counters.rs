//! What one worker counts.
//!
//! One thread writes a `WorkerStats`, its worker; any thread reads it. So a write is a plain load and store, never a locked
//! instruction, and two writers would lose counts. Nothing is ever taken down.
//! Invariant: the number of series depends on the configuration, never on traffic.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ringway_protocol::Method;

use super::histogram::{DurationHistogram, SizeHistogram};

/// The `path` label of requests without a route: refused heads and 404s.
pub const UNMATCHED_LABEL: &str = "unmatched";

/// Different reasons of `ringway_bad_requests_total`; what comes after is counted as `other`.
pub const BAD_REQUEST_REASONS_MAX: usize = 64;

/// The `method` labels, by `method_index`.
pub(super) const METHOD_LABELS: [&str; METHODS] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "other",
];
const METHODS: usize = 10;

/// The first status that is not counted by its number.
const STATUS_END: u16 = 600;
/// The first status that is.
const STATUS_START: u16 = 100;
const STATUS_CLASSES: usize = 5;

/// A number that only grows. One thread writes it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `count`.
    #[inline]
    pub fn add(&self, count: u64) {
        // Load and store, not fetch_add: there is one writer.
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(count),
            Ordering::Relaxed,
        );
    }

    /// What it stands at.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that grows and shrinks. One thread writes it.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Adds `change`, which may be negative.
    #[inline]
    pub fn add(&self, change: i64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add_signed(change),
            Ordering::Relaxed,
        );
    }

    /// What it stands at.
    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed).cast_signed()
    }
}

/// Declares an enum of label values, so that a new one cannot be left out of the exposition.
macro_rules! labels {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_meta])* $variant,)+ }

        impl $name {
            pub(super) const LABELS: &'static [&'static str] = &[$($label,)+];

            /// How logs and metrics say it.
            pub fn label(self) -> &'static str {
                Self::LABELS[self as usize]
            }
        }
    };
}

labels! {
    /// Why an accepted connection was closed unserved.
    Refusal {
        /// The listener had its `max_connections`.
        MaxConnections = "max_connections",
        /// The client's address had its `max_connections_per_ip`.
        MaxConnectionsPerIp = "max_connections_per_ip",
        /// The process had no descriptor left.
        Descriptors = "descriptors",
        /// A worker's table of connections was full.
        Table = "table",
        /// The process is going down.
        Draining = "draining",
    }
}

labels! {
    /// Why a request was sent again.
    Retry {
        /// A kept connection had died before any byte of the answer.
        StaleReuse = "stale_reuse",
        /// No connection could be made.
        Connect = "connect",
        /// The connection broke before the answer.
        Reset = "reset",
        /// The origin answered 502.
        Status502 = "502",
        /// The origin answered 503.
        Status503 = "503",
        /// The origin answered 504.
        Status504 = "504",
    }
}

/// Everything one worker counts. Aligned so that two workers' counters never share a cache line, nor the pair of lines
/// that x86 fetches together.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerStats {
    /// Requests begun and not yet recorded.
    pub in_flight: Gauge,
    /// Client connections open.
    pub open_connections: Gauge,
    /// Client connections accepted, refused ones included.
    pub connections_accepted: Counter,
    /// Panics contained.
    pub panics: Counter,
    /// Lines of the access log dropped because its thread fell behind.
    pub access_log_dropped: Counter,
    /// Times that no buffer was left for a read (ENOBUFS).
    pub buffer_exhausted: Counter,
    pub(super) refused: [Counter; Refusal::LABELS.len()],
    pub(super) bad_requests: [Reason; BAD_REQUEST_REASONS_MAX],
    pub(super) bad_requests_other: Counter,
    upstreams: Box<[UpstreamStats]>,
    routes: Box<[RouteStats]>,
    unmatched: RouteStats,
}

/// One reason of `ringway_bad_requests_total`, taken by the first request that has it.
#[derive(Debug, Default)]
pub(super) struct Reason {
    pub(super) name: OnceLock<&'static str>,
    pub(super) count: Counter,
}

/// What one worker counts of one upstream.
#[derive(Debug)]
pub struct UpstreamStats {
    pub(super) name: String,
    /// Connections made.
    pub connects: Counter,
    /// Connections that could not be made.
    pub connect_errors: Counter,
    /// How long connections took to make.
    pub connect_duration: DurationHistogram,
    /// Requests sent on a kept connection.
    pub reused: Counter,
    pub(super) retries: [Counter; Retry::LABELS.len()],
}

/// One route's pages, one for each method, made when the first such request is done.
#[derive(Debug)]
pub(super) struct RouteStats {
    pub(super) label: String,
    pub(super) pages: [OnceLock<Box<Page>>; METHODS],
}

/// What is counted of one route and method.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Page {
    pub(super) duration: DurationHistogram,
    pub(super) size: SizeHistogram,
    /// By status class, then status.
    statuses: [OnceLock<Box<StatusClass>>; STATUS_CLASSES],
    /// Statuses that are none of HTTP's.
    pub(super) status_other: Counter,
}

#[derive(Debug)]
struct StatusClass([Counter; 100]);

impl WorkerStats {
    /// Counters for routes and upstreams as they are numbered. A label or name may occur more than once: it is one series.
    pub fn new(route_labels: &[String], upstream_names: &[String]) -> Arc<Self> {
        Arc::new(Self {
            in_flight: Gauge::default(),
            open_connections: Gauge::default(),
            connections_accepted: Counter::default(),
            panics: Counter::default(),
            access_log_dropped: Counter::default(),
            buffer_exhausted: Counter::default(),
            refused: counters(),
            bad_requests: std::array::from_fn(|_| Reason::default()),
            bad_requests_other: Counter::default(),
            upstreams: upstream_names
                .iter()
                .map(|name| UpstreamStats::new(name))
                .collect(),
            routes: route_labels
                .iter()
                .map(|label| RouteStats::new(label))
                .collect(),
            unmatched: RouteStats::new(UNMATCHED_LABEL),
        })
    }

    /// Counts one request that is over. `route` is its route's index, `None` where none matched; `response_bytes` the
    /// body's, as sent to the client. The first request of a route, method or status class allocates its page.
    #[inline]
    pub fn request_done(
        &self,
        route: Option<usize>,
        method: Method,
        status: u16,
        duration: Duration,
        response_bytes: u64,
    ) {
        let route = route
            .and_then(|index| self.routes.get(index))
            .unwrap_or(&self.unmatched);
        let page = route.pages[method_index(method)].get_or_init(Box::default);
        page.count_status(status);
        page.duration.record(duration);
        page.size.record(response_bytes);
    }

    /// Counts a connection that was closed unserved.
    pub fn connection_refused(&self, reason: Refusal) {
        self.refused[reason as usize].increment();
    }

    /// Counts a request that was refused for what it is. `reason` is one of the parser's, in the style of a label.
    pub fn bad_request(&self, reason: &'static str) {
        for slot in &self.bad_requests {
            // Slots fill in order, and by this thread only.
            let name = *slot.name.get_or_init(|| reason);
            if name == reason {
                return slot.count.increment();
            }
        }
        self.bad_requests_other.increment();
    }

    /// The counters of the upstream with this index.
    #[inline]
    pub fn upstream(&self, index: usize) -> &UpstreamStats {
        &self.upstreams[index]
    }

    pub(super) fn upstreams(&self) -> &[UpstreamStats] {
        &self.upstreams
    }

    pub(super) fn routes(&self) -> impl Iterator<Item = &RouteStats> {
        self.routes.iter().chain([&self.unmatched])
    }
}

impl UpstreamStats {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            connects: Counter::default(),
            connect_errors: Counter::default(),
            connect_duration: DurationHistogram::default(),
            reused: Counter::default(),
            retries: counters(),
        }
    }

    /// Counts a request that is sent again.
    #[inline]
    pub fn retried(&self, reason: Retry) {
        self.retries[reason as usize].increment();
    }
}

impl RouteStats {
    fn new(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            pages: Default::default(),
        }
    }
}

impl Page {
    #[inline]
    fn count_status(&self, status: u16) {
        if !(STATUS_START..STATUS_END).contains(&status) {
            return self.status_other.increment();
        }
        let class = &self.statuses[usize::from(status / 100) - 1];
        class.get_or_init(Box::default).0[usize::from(status % 100)].increment();
    }

    /// Every status that was counted, with its count.
    pub(super) fn statuses(&self) -> impl Iterator<Item = (u16, u64)> {
        let classes = self.statuses.iter().zip(1u16..);
        classes
            .filter_map(|(class, hundreds)| Some((class.get()?, hundreds)))
            .flat_map(|(class, hundreds)| {
                let counts = class.0.iter().map(Counter::value).zip(hundreds * 100..);
                counts
                    .filter(|(count, _)| *count > 0)
                    .map(|(count, status)| (status, count))
            })
    }
}

impl Default for StatusClass {
    fn default() -> Self {
        Self(counters())
    }
}

fn counters<const N: usize>() -> [Counter; N] {
    std::array::from_fn(|_| Counter::default())
}

/// A method's place in `METHOD_LABELS`.
#[inline]
fn method_index(method: Method) -> usize {
    match method {
        Method::Get => 0,
        Method::Head => 1,
        Method::Post => 2,
        Method::Put => 3,
        Method::Delete => 4,
        Method::Options => 5,
        Method::Patch => 6,
        Method::Trace => 7,
        Method::Connect => 8,
        Method::Other => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn stats() -> Arc<WorkerStats> {
        WorkerStats::new(&["/users/{id}".to_owned()], &["users".to_owned()])
    }

    fn statuses(stats: &WorkerStats, route: usize, method: usize) -> Vec<(u16, u64)> {
        let route = stats.routes().nth(route).expect("there is such a route");
        route.pages[method]
            .get()
            .map(|page| page.statuses().collect())
            .unwrap_or_default()
    }

    #[test]
    fn requests_are_counted_by_route_method_and_status() {
        let stats = stats();
        stats.request_done(Some(0), Method::Get, 200, MILLISECOND, 10);
        stats.request_done(Some(0), Method::Get, 200, MILLISECOND, 10);
        stats.request_done(Some(0), Method::Get, 499, MILLISECOND, 0);
        stats.request_done(Some(0), Method::Other, 599, MILLISECOND, 0);
        assert_eq!(statuses(&stats, 0, 0), [(200, 2), (499, 1)]);
        assert_eq!(statuses(&stats, 0, 9), [(599, 1)]);
        assert_eq!(statuses(&stats, 1, 0), []);
    }

    #[test]
    fn requests_without_a_route_are_unmatched() {
        let stats = stats();
        stats.request_done(None, Method::Get, 404, MILLISECOND, 0);
        stats.request_done(Some(7), Method::Get, 404, MILLISECOND, 0);
        assert_eq!(statuses(&stats, 1, 0), [(404, 2)]);
    }

    #[test]
    fn statuses_that_are_none_are_counted_apart() {
        let stats = stats();
        for status in [0, 99, 600, u16::MAX] {
            stats.request_done(None, Method::Get, status, MILLISECOND, 0);
        }
        let page = stats.unmatched.pages[0]
            .get()
            .expect("requests were counted");
        assert_eq!(page.status_other.value(), 4);
        assert_eq!(page.statuses().count(), 0);
    }

    #[test]
    fn gauges_go_up_and_down() {
        let stats = stats();
        stats.in_flight.add(2);
        stats.in_flight.add(-3);
        assert_eq!(stats.in_flight.value(), -1);
    }

    #[test]
    fn reasons_of_bad_requests_are_bounded() {
        let stats = stats();
        for number in 0..BAD_REQUEST_REASONS_MAX + 5 {
            stats.bad_request(Box::leak(format!("reason_{number}").into_boxed_str()));
        }
        stats.bad_request("reason_1");
        assert_eq!(stats.bad_requests[1].count.value(), 2);
        assert_eq!(stats.bad_requests_other.value(), 5);
    }

    #[test]
    fn methods_have_the_labels_they_are_written_with() {
        for token in METHOD_LABELS {
            let method = Method::of(token.as_bytes());
            assert_eq!(METHOD_LABELS[method_index(method)], token);
        }
    }

    #[test]
    fn two_workers_counters_share_no_cache_line() {
        assert_eq!(align_of::<WorkerStats>() % 128, 0);
        assert_eq!(align_of::<Page>() % 128, 0);
    }

    #[test]
    fn another_thread_reads_while_one_counts() {
        let stats = stats();
        let reader = Arc::clone(&stats);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut last = 0;
                while last < 10_000 {
                    let now = reader.connections_accepted.value();
                    assert!(now >= last);
                    last = now;
                }
            });
            (0..10_000).for_each(|_| stats.connections_accepted.increment());
        });
    }
}
