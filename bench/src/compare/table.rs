//! A comparison on a terminal.

use std::{fmt, time::Duration};

use super::{
    outcome::{Outcome, PeerOutcome, SHOWN_PERCENTILES, WorkloadOutcome},
    stats::{Spread, Verdict},
    workload::Kind,
};
use crate::load;

/// Shows an outcome as tables, one a workload.
pub struct Table<'a>(pub &'a Outcome);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = self.0;
        writeln!(f, "{}; {}", outcome.machine, outcome.cpus)?;
        writeln!(
            f,
            "{} rounds of {} s; medians, with the spread of the rounds",
            outcome.rounds, outcome.seconds
        )?;
        for workload in &outcome.workloads {
            writeln!(f)?;
            write_workload(f, workload)?;
        }
        writeln!(f)?;
        for (name, why) in &outcome.missing {
            writeln!(f, "missing: {name} ({why})")?;
        }
        for (name, why) in &outcome.skipped {
            writeln!(f, "skipped: {name} ({why})")?;
        }
        for note in &outcome.notes {
            writeln!(f, "note: {note}")?;
        }
        let errors = outcome.errors();
        if errors.is_empty() {
            return writeln!(f, "no errors");
        }
        writeln!(f, "ERRORS: the figures of these cannot be trusted")?;
        errors.iter().try_for_each(|error| writeln!(f, "  {error}"))
    }
}

/// A row of cells; the first column is aligned left, the others right.
type Row = Vec<String>;

fn write_workload(f: &mut fmt::Formatter<'_>, outcome: &WorkloadOutcome) -> fmt::Result {
    let workload = &outcome.workload;
    write!(f, "{}: {}", workload.name, workload.title)?;
    match (outcome.rate, workload.kind) {
        (Some(rate), _) => writeln!(f, ", {rate:.0} requests/s")?,
        (_, Kind::Idle) => writeln!(f, ", {} connections", workload.connections)?,
        _ => writeln!(f)?,
    }
    let Some(subject) = outcome.subject() else {
        return writeln!(f, "  nothing could be measured");
    };
    let mut rows = vec![header(outcome, subject)];
    rows.extend(outcome.peers.iter().map(|peer| row(outcome, subject, peer)));
    if let Some(better) = outcome.ratio_to_better() {
        let mut row = vec![String::new(); rows[0].len()];
        row[0] = "better of nginx and haproxy".to_owned();
        row[2] = ratio(better);
        rows.push(row);
    }
    if let Some(direct) = &outcome.direct {
        let mut row = vec![
            "no proxy".to_owned(),
            String::new(),
            String::new(),
            rate(direct),
        ];
        row.extend(latencies(direct));
        rows.push(row);
    }
    write_rows(f, &rows)?;
    for line in &outcome.disturbed {
        writeln!(f, "  disturbed: {line}")?;
    }
    let unknown: Vec<&String> = outcome
        .peers
        .iter()
        .filter_map(|peer| peer.syscalls.as_ref().err())
        .collect();
    if let Some(reason) = unknown.first().filter(|reason| **reason != "not counted") {
        writeln!(f, "  system calls not known: {reason}")?;
    }
    Ok(())
}

fn header(outcome: &WorkloadOutcome, subject: &PeerOutcome) -> Row {
    let kind = subject.kind;
    let mut row = vec![
        String::new(),
        outcome.primary_name().to_owned(),
        format!("{kind} / this"),
    ];
    if outcome.workload.kind != Kind::Idle {
        row.push("requests/s".to_owned());
        row.extend(SHOWN_PERCENTILES.map(|(name, _)| name.to_owned()));
        if outcome.direct.is_some() {
            row.extend(SHOWN_PERCENTILES.map(|(name, _)| format!("added {name}")));
        }
        row.push("syscalls".to_owned());
    }
    row
}

fn row(outcome: &WorkloadOutcome, subject: &PeerOutcome, peer: &PeerOutcome) -> Row {
    let mut row = vec![peer.label.clone()];
    if let (Some(reason), true) = (&peer.failed, peer.samples.is_empty()) {
        row.push(format!(
            "failed: {}",
            reason.chars().take(60).collect::<String>()
        ));
        return row;
    }
    row.push(
        peer.primary_spread()
            .map_or_else(String::new, |spread| figure(outcome.workload.kind, spread)),
    );
    let is_subject = peer.label == subject.label;
    row.push(
        outcome
            .ratio_to(peer)
            .filter(|_| !is_subject)
            .map_or_else(String::new, ratio),
    );
    if outcome.workload.kind != Kind::Idle {
        row.push(rate(peer));
        row.extend(latencies(peer));
        if let Some(direct) = &outcome.direct {
            let added = |(_, percentile)| {
                peer.added_latency_us(direct, percentile)
                    .map_or_else(String::new, signed_micros)
            };
            row.extend(SHOWN_PERCENTILES.map(added));
        }
        row.push(
            peer.syscalls
                .as_ref()
                .map_or_else(|_| "-".to_owned(), |calls| format!("{calls:.2}")),
        );
    }
    row
}

fn figure(kind: Kind, spread: Spread) -> String {
    let digits = match kind {
        Kind::Idle => 0,
        _ if spread.median >= 100.0 => 0,
        _ => 1,
    };
    format!(
        "{:.digits$} ({:.digits$}–{:.digits$})",
        spread.median, spread.low, spread.high
    )
}

fn rate(peer: &PeerOutcome) -> String {
    peer.rate()
        .map_or_else(String::new, |rate| format!("{:.0}", rate.median))
}

fn latencies(peer: &PeerOutcome) -> [String; 3] {
    SHOWN_PERCENTILES.map(|(_, percentile)| {
        peer.latency_us(percentile)
            .map_or_else(String::new, |spread| micros(spread.median))
    })
}

fn micros(micros: f64) -> String {
    load::duration(Duration::from_nanos((micros * 1000.0) as u64))
}

fn signed_micros(spread: Spread) -> String {
    let sign = if spread.median < 0.0 { "-" } else { "+" };
    format!("{sign}{}", micros(spread.median.abs()))
}

/// A ratio as it is shown everywhere.
pub(super) fn ratio(ratio: Spread) -> String {
    let text = format!("{:.2} ({:.2}–{:.2})", ratio.median, ratio.low, ratio.high);
    match ratio.verdict() {
        Verdict::Undecided => format!("{text} undecided"),
        Verdict::Less | Verdict::More => text,
    }
}

fn write_rows(f: &mut fmt::Formatter<'_>, rows: &[Row]) -> fmt::Result {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        // A row that says why it failed does not widen the columns.
        let cells = rows
            .iter()
            .filter(|row| row.len() != 2)
            .filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        write!(f, "  {:<width$}", row[0], width = widths[0])?;
        if let [_, reason] = &row[..]
            && columns > 3
        {
            writeln!(f, "  {reason}")?;
            continue;
        }
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            write!(f, "  {cell:>width$}")?;
        }
        writeln!(f)?;
    }
    Ok(())
}
