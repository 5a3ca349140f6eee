//! The exposition's claims, checked by a reader of the format that is stricter than Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use ringway_protocol::Method;

use super::*;

const PROCESS: ProcessStats<'static> = ProcessStats {
    version: "1.2.3",
    start_unix_millis: 1_700_000_000_042,
    access_log_lines_lost: 0,
};

/// Names and texts, in their order.
type Labels = Vec<(String, String)>;

/// What a reader makes of an exposition.
#[derive(Debug, Default)]
struct Scrape {
    kinds: BTreeMap<String, String>,
    /// By name and labels.
    samples: BTreeMap<(String, Labels), f64>,
}

impl Scrape {
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels
            .iter()
            .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()))
            .collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }
}

/// Reads `text`, and refuses what a strict reader would.
fn read(text: &str) -> Scrape {
    assert!(text.ends_with('\n'), "the last line ends");
    let mut scrape = Scrape::default();
    let mut helped = BTreeSet::new();
    let mut family = String::new();
    for line in text.split_terminator('\n') {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, _) = help.split_once(' ').expect("HELP has a text");
            assert!(helped.insert(name.to_owned()), "{name} is helped once");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("TYPE has a kind");
            assert!(helped.contains(name), "HELP comes before TYPE");
            assert!(["counter", "gauge", "histogram"].contains(&kind));
            assert_eq!(scrape.kinds.insert(name.to_owned(), kind.to_owned()), None);
            family = name.to_owned();
        } else {
            let (name, labels, value) = read_sample(line);
            let base = match scrape.kinds[&family].as_str() {
                "histogram" => ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|end| name.strip_suffix(end)),
                _ => Some(name.as_str()),
            };
            assert_eq!(base, Some(family.as_str()), "samples follow their TYPE");
            assert_eq!(
                scrape.samples.insert((name, labels), value),
                None,
                "one sample a series: {line}"
            );
        }
    }
    check_histograms(&scrape);
    scrape
}

fn read_sample(line: &str) -> (String, Labels, f64) {
    let name_end = line.find(['{', ' ']).expect("a value follows the name");
    let (name, mut left) = line.split_at(name_end);
    assert!(
        name.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
        "{name}"
    );
    let mut labels = Vec::new();
    if let Some(inside) = left.strip_prefix('{') {
        left = inside;
        loop {
            let (key, rest) = left.split_once("=\"").expect("a label has a value");
            let (text, rest) = read_label(rest);
            labels.push((key.to_owned(), text));
            match rest.strip_prefix(',') {
                Some(rest) => left = rest,
                None => {
                    left = rest.strip_prefix('}').expect("labels end");
                    break;
                }
            }
        }
    }
    let value = left.strip_prefix(' ').expect("one space before the value");
    (
        name.to_owned(),
        labels,
        value.parse().expect("the value is a number"),
    )
}

/// A label's text up to its quote, and what follows that.
fn read_label(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next().expect("a label's value ends") {
            (at, '"') => return (value, &text[at + 1..]),
            (_, '\\') => value.push(match characters.next().expect("an escape is whole").1 {
                'n' => '\n',
                plain @ ('"' | '\\') => plain,
                other => panic!("no such escape: {other}"),
            }),
            (_, plain) => value.push(plain),
        }
    }
}

/// Buckets are cumulative, `+Inf` is the count, and a sum is there.
fn check_histograms(scrape: &Scrape) {
    let histograms = scrape.kinds.iter().filter(|(_, kind)| *kind == "histogram");
    for (name, _) in histograms {
        let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        for ((sample, labels), value) in &scrape.samples {
            if *sample == format!("{name}_bucket") {
                let (le, rest) = labels.split_last().expect("a bucket has a bound");
                assert_eq!(le.0, "le");
                let bound =
                    le.1.replace("+Inf", "inf")
                        .parse()
                        .expect("a bound is a number");
                series
                    .entry(rest.to_vec())
                    .or_default()
                    .push((bound, *value));
            }
        }
        for (labels, mut buckets) in series {
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert!(
                buckets.is_sorted_by(|one, other| one.0 < other.0 && one.1 <= other.1),
                "{name}"
            );
            let last = buckets.last().expect("there are buckets");
            assert_eq!(last.0, f64::INFINITY);
            assert_eq!(
                scrape
                    .samples
                    .get(&(format!("{name}_count"), labels.clone())),
                Some(&last.1)
            );
            assert!(
                scrape
                    .samples
                    .contains_key(&(format!("{name}_sum"), labels))
            );
        }
    }
}

fn worker(labels: &[&str], upstreams: &[&str]) -> Arc<WorkerStats> {
    let owned = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    WorkerStats::new(&owned(labels), &owned(upstreams))
}

fn scrape(all: &[Arc<WorkerStats>]) -> Scrape {
    let mut text = String::new();
    render(all, &PROCESS, &mut text);
    read(&text)
}

#[test]
fn the_playbooks_five_are_there_by_name_and_kind() {
    let scrape = scrape(&[worker(&[], &[])]);
    for (name, kind) in [
        ("http_requests_total", "counter"),
        ("http_request_duration_seconds", "histogram"),
        ("http_response_size_bytes", "histogram"),
        ("http_in_flight_requests", "gauge"),
        ("http_open_connections", "gauge"),
    ] {
        assert_eq!(
            scrape.kinds.get(name).map(String::as_str),
            Some(kind),
            "{name}"
        );
    }
}

#[test]
fn all_others_are_ours_by_prefix() {
    let scrape = scrape(&[worker(&[], &[])]);
    let others = scrape
        .kinds
        .keys()
        .filter(|name| !name.starts_with("http_"));
    assert!(others.clone().count() > 10);
    assert!(others.into_iter().all(|name| name.starts_with("ringway_")));
}

#[test]
fn workers_are_summed() {
    let all = [worker(&["/a"], &["u"]), worker(&["/a"], &["u"])];
    for stats in &all {
        stats.request_done(Some(0), Method::Get, 200, Duration::from_millis(1500), 100);
        stats.in_flight.add(3);
        stats.open_connections.add(1);
        stats.connections_accepted.increment();
        stats.connection_refused(Refusal::MaxConnections);
        stats.bad_request("framing");
        stats.upstream(0).connects.increment();
        stats.upstream(0).retried(Retry::StaleReuse);
        stats
            .upstream(0)
            .connect_duration
            .record(Duration::from_micros(250));
    }
    let scrape = scrape(&all);
    let get = [("method", "GET"), ("path", "/a")];
    let ok = [("method", "GET"), ("path", "/a"), ("status", "200")];
    assert_eq!(scrape.value("http_requests_total", &ok), Some(2.0));
    assert_eq!(
        scrape.value("http_request_duration_seconds_sum", &get),
        Some(3.0)
    );
    assert_eq!(
        scrape.value("http_request_duration_seconds_count", &get),
        Some(2.0)
    );
    assert_eq!(
        scrape.value("http_response_size_bytes_sum", &get),
        Some(200.0)
    );
    assert_eq!(scrape.value("http_in_flight_requests", &[]), Some(6.0));
    assert_eq!(scrape.value("http_open_connections", &[]), Some(2.0));
    assert_eq!(
        scrape.value("ringway_connections_accepted_total", &[]),
        Some(2.0)
    );
    let refused = [("reason", "max_connections")];
    assert_eq!(
        scrape.value("ringway_connections_refused_total", &refused),
        Some(2.0)
    );
    assert_eq!(
        scrape.value("ringway_bad_requests_total", &[("reason", "framing")]),
        Some(2.0)
    );
    let upstream = [("upstream", "u")];
    assert_eq!(
        scrape.value("ringway_upstream_connects_total", &upstream),
        Some(2.0)
    );
    assert_eq!(
        scrape.value("ringway_upstream_connect_seconds_sum", &upstream),
        Some(0.0005)
    );
    let retried = [("upstream", "u"), ("reason", "stale_reuse")];
    assert_eq!(scrape.value("ringway_retries_total", &retried), Some(2.0));
}

#[test]
fn routes_with_one_template_are_one_series() {
    let stats = worker(&["/a", "/a"], &["u", "u"]);
    stats.request_done(Some(0), Method::Get, 200, Duration::ZERO, 0);
    stats.request_done(Some(1), Method::Get, 200, Duration::ZERO, 0);
    let ok = [("method", "GET"), ("path", "/a"), ("status", "200")];
    assert_eq!(
        scrape(&[stats]).value("http_requests_total", &ok),
        Some(2.0)
    );
}

#[test]
fn workers_of_an_older_configuration_still_count() {
    let old = worker(&["/old", "/a"], &[]);
    let new = worker(&["/a"], &[]);
    old.request_done(Some(1), Method::Get, 200, Duration::ZERO, 0);
    new.request_done(Some(0), Method::Get, 200, Duration::ZERO, 0);
    let ok = [("method", "GET"), ("path", "/a"), ("status", "200")];
    assert_eq!(
        scrape(&[old, new]).value("http_requests_total", &ok),
        Some(2.0)
    );
}

#[test]
fn a_million_requests_to_other_paths_add_no_series() {
    let stats = worker(&["/users/{id}"], &["u"]);
    let count = |stats: &Arc<WorkerStats>| scrape(std::slice::from_ref(stats)).samples.len();
    stats.request_done(Some(0), Method::Get, 200, Duration::ZERO, 0);
    stats.request_done(None, Method::Get, 404, Duration::ZERO, 0);
    let before = count(&stats);
    for number in 0..1_000_000 {
        let route = (number % 2 == 0).then_some(0);
        let status = if route.is_some() { 200 } else { 404 };
        stats.request_done(
            route,
            Method::Get,
            status,
            Duration::from_nanos(number),
            number,
        );
    }
    assert_eq!(count(&stats), before);
}

#[test]
fn labels_are_escaped() {
    let path = "/a\"b\\c\nd";
    let stats = worker(&[path], &[]);
    stats.request_done(Some(0), Method::Get, 200, Duration::ZERO, 0);
    let labels = [("method", "GET"), ("path", path), ("status", "200")];
    assert_eq!(
        scrape(&[stats]).value("http_requests_total", &labels),
        Some(1.0)
    );
}

#[test]
fn duration_bounds_are_written_in_seconds() {
    let stats = worker(&[], &[]);
    stats.request_done(None, Method::Get, 404, Duration::from_millis(3), 0);
    let scrape = scrape(&[stats]);
    let bucket = |le| {
        let labels = [("method", "GET"), ("path", "unmatched"), ("le", le)];
        scrape.value("http_request_duration_seconds_bucket", &labels)
    };
    assert_eq!(bucket("0.0005"), Some(0.0));
    assert_eq!(bucket("0.0025"), Some(0.0));
    assert_eq!(bucket("0.005"), Some(1.0));
    assert_eq!(bucket("60"), Some(1.0));
    assert_eq!(bucket("+Inf"), Some(1.0));
}

#[test]
fn lines_the_log_lost_and_workers_dropped_are_one_count() {
    let stats = worker(&[], &[]);
    stats.access_log_dropped.add(3);
    let process = ProcessStats {
        access_log_lines_lost: 4,
        ..PROCESS
    };
    let mut text = String::new();
    render(&[stats], &process, &mut text);
    assert_eq!(
        read(&text).value("ringway_access_log_dropped_total", &[]),
        Some(7.0)
    );
}

#[test]
fn the_process_says_its_version_and_start() {
    let scrape = scrape(&[]);
    assert_eq!(
        scrape.value("ringway_build_info", &[("version", "1.2.3")]),
        Some(1.0)
    );
    assert_eq!(
        scrape.value("ringway_process_start_time_seconds", &[]),
        Some(1_700_000_000.042)
    );
}

#[test]
fn seconds_are_exact() {
    assert_eq!(seconds(0), "0");
    assert_eq!(seconds(1), "0.000000001");
    assert_eq!(seconds(1_500_000_000), "1.5");
    assert_eq!(seconds(60_000_000_000), "60");
}

proptest! {
    #[test]
    fn whatever_is_counted_reads_back(
        requests in prop::collection::vec((0usize..4, 0u16..700, any::<u32>(), any::<u32>()), 0..100),
    ) {
        let stats = worker(&["/a", "/*", "/\u{e9}\""], &[]);
        for &(route, status, micros, bytes) in &requests {
            let duration = Duration::from_micros(micros.into());
            stats.request_done(Some(route), Method::Post, status, duration, bytes.into());
        }
        let scrape = scrape(&[stats]);
        let total: f64 = scrape
            .samples
            .iter()
            .filter(|((name, _), _)| name == "http_requests_total")
            .map(|(_, value)| value)
            .sum();
        prop_assert_eq!(total, requests.len() as f64);
    }
}
