//! A comparison for a program.

use super::{
    outcome::{Figures, Outcome, PeerOutcome, SHOWN_PERCENTILES, WorkloadOutcome},
    stats::{Spread, Verdict},
};
use crate::{
    json::{Json, list, object},
    load::PERCENTILES,
};

/// The whole outcome.
pub fn to_json(outcome: &Outcome) -> Json {
    let named = |pairs: &[(String, String)]| {
        list(pairs.iter().map(|(name, why)| {
            object([("name", name.as_str().into()), ("why", why.as_str().into())])
        }))
    };
    object([
        ("machine", outcome.machine.to_json()),
        ("cpus", outcome.cpus.as_str().into()),
        ("rounds", u64::from(outcome.rounds).into()),
        ("seconds", outcome.seconds.into()),
        ("missing", named(&outcome.missing)),
        ("skipped", named(&outcome.skipped)),
        ("notes", list(outcome.notes.iter().map(String::as_str))),
        ("errors", list(outcome.errors())),
        ("workloads", list(outcome.workloads.iter().map(workload))),
    ])
}

fn workload(outcome: &WorkloadOutcome) -> Json {
    let direct = outcome.direct.as_ref().map(latencies);
    object([
        ("name", outcome.workload.name.as_str().into()),
        ("title", outcome.workload.title.as_str().into()),
        ("connections", (outcome.workload.connections as u64).into()),
        ("rate", outcome.rate.into()),
        ("figure", outcome.primary_name().into()),
        (
            "subject",
            outcome
                .subject()
                .map(|subject| subject.label.as_str())
                .into(),
        ),
        (
            "ratio_to_better_of_nginx_and_haproxy",
            outcome.ratio_to_better().map(ratio).into(),
        ),
        (
            "peers",
            list(outcome.peers.iter().map(|one| peer(outcome, one))),
        ),
        ("latency_us_without_proxy", direct.into()),
        (
            "disturbed",
            list(outcome.disturbed.iter().map(String::as_str)),
        ),
    ])
}

fn peer(outcome: &WorkloadOutcome, peer: &PeerOutcome) -> Json {
    let is_subject = outcome
        .subject()
        .is_some_and(|subject| subject.label == peer.label);
    let added = outcome.direct.as_ref().map(|direct| {
        let added = |(name, percentile)| {
            (
                name,
                peer.added_latency_us(direct, percentile).map(spread).into(),
            )
        };
        object(SHOWN_PERCENTILES.map(added))
    });
    let samples = peer.samples.iter().map(|sample| match &sample.figures {
        Figures::Loaded { cpu_us, rate, .. } => object([
            ("round", u64::from(sample.round + 1).into()),
            ("cpu_us", (*cpu_us).into()),
            ("requests_per_second", (*rate).into()),
        ]),
        Figures::Idle {
            bytes_per_connection,
        } => object([
            ("round", u64::from(sample.round + 1).into()),
            ("bytes_per_connection", (*bytes_per_connection).into()),
        ]),
    });
    object([
        ("name", peer.label.as_str().into()),
        ("kind", peer.kind.into()),
        ("figure", peer.primary_spread().map(spread).into()),
        (
            "subject_over_this",
            outcome
                .ratio_to(peer)
                .filter(|_| !is_subject)
                .map(ratio)
                .into(),
        ),
        ("requests_per_second", peer.rate().map(spread).into()),
        ("latency_us", latencies(peer)),
        ("added_latency_us", added.into()),
        (
            "syscalls_per_request",
            peer.syscalls.as_ref().ok().copied().into(),
        ),
        (
            "syscalls_unknown_because",
            peer.syscalls.as_ref().err().map(String::as_str).into(),
        ),
        ("errors", list(peer.errors.iter().map(String::as_str))),
        ("failed", peer.failed.as_deref().into()),
        ("samples", list(samples)),
    ])
}

fn latencies(peer: &PeerOutcome) -> Json {
    object(
        PERCENTILES
            .map(|(name, percentile)| (name, peer.latency_us(percentile).map(spread).into())),
    )
}

fn spread(spread: Spread) -> Json {
    object([
        ("median", spread.median.into()),
        ("low", spread.low.into()),
        ("high", spread.high.into()),
        ("count", (spread.count as u64).into()),
    ])
}

fn ratio(ratio: Spread) -> Json {
    let verdict = match ratio.verdict() {
        Verdict::Less => "less",
        Verdict::More => "more",
        Verdict::Undecided => "undecided",
    };
    object([
        ("median", ratio.median.into()),
        ("low", ratio.low.into()),
        ("high", ratio.high.into()),
        ("count", (ratio.count as u64).into()),
        ("verdict", verdict.into()),
    ])
}
