//! A comparison as a page: self-contained, light or dark as the reader's system is, without scripts.

use std::fmt::{self, Write};

use hdrhistogram::Histogram;

use super::{
    outcome::{Outcome, PeerOutcome, SHOWN_PERCENTILES, WorkloadOutcome},
    stats::{Spread, Verdict},
    table::ratio,
    workload::Kind,
};

const STYLE: &str = include_str!("page.css");

/// Width of the charts' coordinates; they are scaled to the page.
const WIDTH: f64 = 720.0;

/// Where bars begin: left of it stand the names.
const BARS_AT: f64 = 166.0;

/// Where bars end at most: right of it stand the figures.
const BARS_END: f64 = 560.0;

const BAR_HEIGHT: f64 = 34.0;

/// The latency chart's margins and height.
const CURVE_LEFT: f64 = 64.0;
const CURVE_RIGHT: f64 = 16.0;
const CURVE_TOP: f64 = 12.0;
const CURVE_BOTTOM: f64 = 34.0;
const CURVE_HEIGHT: f64 = 260.0;

/// Points of a latency curve, evenly spaced by how many requests are slower: 1 in 2, in 10, in 100 and so on.
const CURVE_POINTS: usize = 60;

/// Slowest part that the curves show: 1 request in 10,000.
const CURVE_DECADES: f64 = 4.0;

/// The colour of what was measured without a proxy.
const DIRECT_COLOUR: usize = 7;

/// The page.
pub fn to_html(outcome: &Outcome) -> String {
    let mut page = String::new();
    write_page(&mut page, outcome).expect("memory takes every write");
    page
}

fn write_page(page: &mut String, outcome: &Outcome) -> fmt::Result {
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Proxies side by side</title><style>{STYLE}</style></head><body><main>\
         <header><p class=\"over\">ringway-bench compare</p><h1>Proxies side by side</h1>\
         <p class=\"lead\">{} rounds of {} s, in turns on the same CPU. Bars are medians; the thin line is the spread \
         of the rounds. Ratios pair figures of the same round; where their spread reaches across 1 the machine cannot \
         tell, and they are called undecided.</p>\
         <p class=\"machine\">{} · {}</p></header>",
        outcome.rounds,
        outcome.seconds,
        Escaped(&outcome.machine.to_string()),
        Escaped(&outcome.cpus),
    )?;
    let errors = outcome.errors();
    if !errors.is_empty() {
        page.push_str("<section class=\"alarm\"><h2>There were errors</h2><p>The figures of these cannot be trusted.</p><ul>");
        for error in &errors {
            write!(page, "<li>{}</li>", Escaped(error))?;
        }
        page.push_str("</ul></section>");
    }
    write_summary(page, outcome)?;
    for workload in &outcome.workloads {
        write_workload(page, workload)?;
    }
    write_remarks(page, outcome)?;
    page.push_str("</main></body></html>\n");
    Ok(())
}

/// The first thing to look at: what the subject costs of what the better of nginx and HAProxy costs.
fn write_summary(page: &mut String, outcome: &Outcome) -> fmt::Result {
    let ratios: Vec<(&WorkloadOutcome, Spread)> = outcome
        .workloads
        .iter()
        .filter_map(|workload| Some((workload, workload.ratio_to_better()?)))
        .collect();
    let Some(subject) = ratios.first().and_then(|(workload, _)| workload.subject()) else {
        return Ok(());
    };
    write!(
        page,
        "<section><h2>{} against the better of nginx and HAProxy</h2><div class=\"tiles\">",
        Escaped(&subject.label),
    )?;
    for (workload, spread) in ratios {
        let (class, word) = match spread.verdict() {
            Verdict::Less => ("less", "less"),
            Verdict::More => ("more", "more"),
            Verdict::Undecided => ("undecided", "undecided"),
        };
        let what = if workload.workload.kind == Kind::Idle {
            "memory"
        } else {
            "CPU"
        };
        write!(
            page,
            "<a class=\"tile {class}\" href=\"#{}\"><b>{:.2}</b><i>{:.2}–{:.2}</i><span>{}</span><em>{what}: {word}</em></a>",
            Escaped(&workload.workload.name),
            spread.median,
            spread.low,
            spread.high,
            Escaped(&workload.workload.title),
        )?;
    }
    page.push_str("</div></section>");
    Ok(())
}

fn write_workload(page: &mut String, outcome: &WorkloadOutcome) -> fmt::Result {
    let workload = &outcome.workload;
    let rate = outcome
        .rate
        .map(|rate| format!(", {} requests/s", thousands(rate)))
        .unwrap_or_default();
    write!(
        page,
        "<section id=\"{0}\"><h2><code>{0}</code> {1}{rate}</h2>",
        Escaped(&workload.name),
        Escaped(&workload.title),
    )?;
    let figures: Vec<Bar<'_>> = outcome
        .peers
        .iter()
        .enumerate()
        .filter_map(|(index, peer)| {
            Some(Bar {
                colour: colour(outcome, index),
                label: &peer.label,
                spread: peer.primary_spread()?,
            })
        })
        .collect();
    let digits = usize::from(figures.iter().all(|bar| bar.spread.median < 100.0));
    write_bars(
        page,
        &format!("{} (less is better)", outcome.primary_name()),
        &figures,
        digits,
    )?;
    if workload.kind == Kind::Saturate {
        let rates = outcome.peers.iter().enumerate();
        let rates: Vec<Bar<'_>> = rates
            .filter_map(|(index, peer)| {
                Some(Bar {
                    colour: colour(outcome, index),
                    label: &peer.label,
                    spread: peer.rate()?,
                })
            })
            .collect();
        write_bars(
            page,
            "requests per second at saturation (more is better)",
            &rates,
            0,
        )?;
    }
    write_curves(page, outcome)?;
    write_figures(page, outcome)?;
    if !outcome.disturbed.is_empty() {
        write!(
            page,
            "<details><summary>{} disturbed measurements</summary><ul>",
            outcome.disturbed.len()
        )?;
        for line in &outcome.disturbed {
            write!(page, "<li>{}</li>", Escaped(line))?;
        }
        page.push_str("</ul></details>");
    }
    page.push_str("</section>");
    Ok(())
}

/// A peer's colour, by number in the style sheet. The first is Ringway's alone.
fn colour(outcome: &WorkloadOutcome, index: usize) -> usize {
    let others_from = usize::from(
        outcome
            .peers
            .first()
            .is_none_or(|first| first.kind != "ringway"),
    );
    (index + others_from) % DIRECT_COLOUR
}

struct Bar<'a> {
    colour: usize,
    label: &'a str,
    spread: Spread,
}

fn write_bars(page: &mut String, title: &str, bars: &[Bar<'_>], digits: usize) -> fmt::Result {
    let most = bars
        .iter()
        .fold(0.0_f64, |most, bar| most.max(bar.spread.high));
    if most <= 0.0 {
        return Ok(());
    }
    let height = bars.len() as f64 * BAR_HEIGHT + 4.0;
    write!(
        page,
        "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">",
        Escaped(title),
    )?;
    let x = |value: f64| BARS_AT + value / most * (BARS_END - BARS_AT);
    for (row, bar) in bars.iter().enumerate() {
        let middle = row as f64 * BAR_HEIGHT + BAR_HEIGHT / 2.0 + 2.0;
        let Spread {
            median, low, high, ..
        } = bar.spread;
        let top = middle - 4.0;
        write!(
            page,
            "<text x=\"{}\" y=\"{}\" class=\"name\">{}</text>\
             <rect x=\"{BARS_AT}\" y=\"{}\" width=\"{:.1}\" height=\"20\" rx=\"3\" class=\"c{}\"/>\
             <path d=\"M{:.1} {middle}H{:.1}M{:.1} {top}v8M{:.1} {top}v8\" class=\"spread\"/>",
            BARS_AT - 10.0,
            middle + 4.0,
            Escaped(bar.label),
            middle - 10.0,
            (x(median) - BARS_AT).max(1.0),
            bar.colour,
            x(low),
            x(high),
            x(low),
            x(high),
        )?;
        let text = if digits == 0 {
            thousands(median)
        } else {
            format!("{median:.digits$}")
        };
        write!(
            page,
            "<text x=\"{:.1}\" y=\"{}\" class=\"value\">{text}</text>",
            x(high.max(median)) + 10.0,
            middle + 4.0
        )?;
    }
    page.push_str("</svg></figure>");
    Ok(())
}

/// Latency against how many requests are slower, both on logarithmic scales: the tail gets the room it deserves.
fn write_curves(page: &mut String, outcome: &WorkloadOutcome) -> fmt::Result {
    let curve = |(index, peer): (usize, &PeerOutcome)| {
        Some((
            colour(outcome, index),
            peer.label.clone(),
            peer.all_latencies()?,
        ))
    };
    let mut curves: Vec<(usize, String, Histogram<u64>)> =
        outcome.peers.iter().enumerate().filter_map(curve).collect();
    curves.extend(
        outcome
            .direct
            .iter()
            .filter_map(|direct| curve((7, direct))),
    );
    let values = curves.iter().flat_map(|(.., latencies)| {
        [
            latencies.value_at_percentile(50.0),
            latencies.value_at_percentile(99.99),
        ]
    });
    let (lowest, highest) = values.fold((u64::MAX, 1), |(lowest, highest), value| {
        (lowest.min(value.max(1)), highest.max(value))
    });
    if curves.is_empty() {
        return Ok(());
    }
    let (low, high) = (
        (lowest as f64 * 0.8).log10(),
        (highest as f64 * 1.2).log10(),
    );
    let bottom = CURVE_HEIGHT - CURVE_BOTTOM;
    let x = |slower: f64| CURVE_LEFT + slower / CURVE_DECADES * (WIDTH - CURVE_LEFT - CURVE_RIGHT);
    let y =
        |nanos: f64| bottom - (nanos.max(1.0).log10() - low) / (high - low) * (bottom - CURVE_TOP);
    write!(
        page,
        "<figure><figcaption>latency by percentile, all rounds together (lower is better)</figcaption>\
         <svg viewBox=\"0 0 {WIDTH} {CURVE_HEIGHT}\" role=\"img\">"
    )?;
    for (decade, name) in ["fastest", "p90", "p99", "p99.9", "p99.99"]
        .into_iter()
        .enumerate()
    {
        let (at, anchor) = (x(decade as f64), if decade == 4 { "end" } else { "middle" });
        write!(
            page,
            "<path d=\"M{at:.1} {CURVE_TOP}V{bottom}\" class=\"grid\"/>\
             <text x=\"{at:.1}\" y=\"{}\" class=\"tick\" text-anchor=\"{anchor}\">{name}</text>",
            bottom + 20.0,
        )?;
    }
    for exponent in low.ceil() as i32 - 1..=high.floor() as i32 {
        for step in [1.0, 2.0, 5.0] {
            let nanos = step * 10_f64.powi(exponent);
            if (low..=high).contains(&nanos.log10()) {
                let at = y(nanos);
                let text = crate::load::duration(std::time::Duration::from_nanos(nanos as u64));
                write!(
                    page,
                    "<path d=\"M{CURVE_LEFT} {at:.1}H{}\" class=\"grid\"/>\
                     <text x=\"{}\" y=\"{:.1}\" class=\"tick\" text-anchor=\"end\">{}</text>",
                    WIDTH - CURVE_RIGHT,
                    CURVE_LEFT - 8.0,
                    at + 4.0,
                    text.replace(".00", "").replace(".0 ", " "),
                )?;
            }
        }
    }
    for (colour, _, latencies) in &curves {
        write!(page, "<path class=\"curve s{colour}\" d=\"")?;
        for point in 0..=CURVE_POINTS {
            let slower = CURVE_DECADES * point as f64 / CURVE_POINTS as f64;
            let percentile = 100.0 * (1.0 - 10_f64.powf(-slower));
            let nanos = latencies.value_at_percentile(percentile) as f64;
            let at = y(nanos).min(bottom);
            write!(
                page,
                "{}{:.1} {at:.1}",
                if point == 0 { 'M' } else { 'L' },
                x(slower)
            )?;
        }
        page.push_str("\"/>");
    }
    page.push_str("</svg><p class=\"legend\">");
    for (colour, label, _) in &curves {
        write!(
            page,
            "<span><i class=\"b{}\"></i>{}</span>",
            colour,
            Escaped(label)
        )?;
    }
    page.push_str("</p></figure>");
    Ok(())
}

fn write_figures(page: &mut String, outcome: &WorkloadOutcome) -> fmt::Result {
    let Some(subject) = outcome.subject() else {
        page.push_str("<p>Nothing could be measured.</p>");
        return Ok(());
    };
    let loaded = outcome.workload.kind != Kind::Idle;
    write!(
        page,
        "<div class=\"scroll\"><table><tr><th></th><th>{}</th><th>{} / this</th>",
        outcome.primary_name(),
        subject.kind
    )?;
    if loaded {
        page.push_str("<th>requests/s</th>");
        for (name, _) in SHOWN_PERCENTILES {
            write!(page, "<th>{name}</th>")?;
        }
        if outcome.direct.is_some() {
            for (name, _) in SHOWN_PERCENTILES {
                write!(page, "<th>added {name}</th>")?;
            }
        }
        page.push_str("<th>system calls per request</th>");
    }
    page.push_str("</tr>");
    for peer in outcome.peers.iter().chain(&outcome.direct) {
        write!(page, "<tr><td>{}</td>", Escaped(&peer.label))?;
        if peer.samples.is_empty() {
            write!(
                page,
                "<td colspan=\"9\">{}</td></tr>",
                Escaped(peer.failed.as_deref().unwrap_or("not measured"))
            )?;
            continue;
        }
        let is_direct = peer.kind == "direct";
        let spread = peer.primary_spread().filter(|_| !is_direct);
        let figure = spread.map(|spread| {
            format!(
                "{:.1} <small>{:.1}–{:.1}</small>",
                spread.median, spread.low, spread.high
            )
        });
        let paired = outcome
            .ratio_to(peer)
            .filter(|_| !is_direct && peer.label != subject.label)
            .map(ratio);
        write!(
            page,
            "<td>{}</td><td>{}</td>",
            figure.unwrap_or_default(),
            paired.unwrap_or_default()
        )?;
        if loaded {
            write!(
                page,
                "<td>{}</td>",
                peer.rate()
                    .map(|rate| thousands(rate.median))
                    .unwrap_or_default()
            )?;
            for (_, percentile) in SHOWN_PERCENTILES {
                write!(
                    page,
                    "<td>{}</td>",
                    peer.latency_us(percentile)
                        .map(|spread| micros(spread.median))
                        .unwrap_or_default()
                )?;
            }
            if let Some(direct) = &outcome.direct {
                for (_, percentile) in SHOWN_PERCENTILES {
                    let added = peer
                        .added_latency_us(direct, percentile)
                        .filter(|_| !is_direct);
                    write!(
                        page,
                        "<td>{}</td>",
                        added
                            .map(|spread| micros(spread.median))
                            .unwrap_or_default()
                    )?;
                }
            }
            write!(
                page,
                "<td>{}</td>",
                peer.syscalls
                    .as_ref()
                    .map_or_else(|_| "–".to_owned(), |calls| format!("{calls:.2}"))
            )?;
        }
        page.push_str("</tr>");
    }
    page.push_str("</table></div>");
    if let Some(better) = outcome.ratio_to_better() {
        write!(
            page,
            "<p>To the better of nginx and HAProxy: <b>{}</b></p>",
            ratio(better)
        )?;
    }
    Ok(())
}

fn write_remarks(page: &mut String, outcome: &Outcome) -> fmt::Result {
    page.push_str("<footer><h2>Remarks</h2><ul>");
    for (name, why) in &outcome.missing {
        write!(
            page,
            "<li>missing: {} ({})</li>",
            Escaped(name),
            Escaped(why)
        )?;
    }
    for (name, why) in &outcome.skipped {
        write!(
            page,
            "<li>skipped: {} ({})</li>",
            Escaped(name),
            Escaped(why)
        )?;
    }
    for note in &outcome.notes {
        write!(page, "<li>{}</li>", Escaped(note))?;
    }
    page.push_str(
        "<li>CPU is the scheduler's account of all threads and processes of the proxy, to the nanosecond.</li>\
         <li>The proxies' configurations are in <code>bench/peers/</code>, each choice with its reason.</li></ul></footer>",
    );
    Ok(())
}

fn micros(micros: f64) -> String {
    let sign = if micros < 0.0 { "−" } else { "" };
    format!(
        "{sign}{}",
        crate::load::duration(std::time::Duration::from_nanos(
            (micros.abs() * 1000.0) as u64
        ))
    )
}

/// A whole number with its thousands set apart.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// Text as it may stand in a page.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{
        host::Machine,
        outcome::{Figures, Sample},
        table::Table,
        to_json, workload,
    };

    /// Two rounds of a subject that takes half of what nginx takes, and a proxy that did not start.
    fn outcome(name: &str) -> Outcome {
        let figures = |scale: f64| {
            let mut latencies = crate::load::empty_histogram();
            for value in 1..1000 {
                latencies
                    .record((value as f64 * 1000.0 * scale) as u64)
                    .unwrap();
            }
            match name {
                "idle" => Figures::Idle {
                    bytes_per_connection: 300.0 * scale,
                },
                _ => Figures::Loaded {
                    cpu_us: 10.0 * scale,
                    rate: 1e5 / scale,
                    latencies,
                },
            }
        };
        let peer = |label: &str, kind, scale| {
            let samples = (0..2).map(|round| Sample {
                round,
                figures: figures(scale),
            });
            PeerOutcome {
                samples: samples.collect(),
                ..PeerOutcome::new(label.to_owned(), kind)
            }
        };
        let mut failed = PeerOutcome::new("haproxy <2>".to_owned(), "haproxy");
        failed.failed = Some("could not be started".to_owned());
        let workload = workload::named(name, 20_000, 1).unwrap().remove(0);
        let direct = (name == "rate").then(|| peer("no proxy", "direct", 0.5));
        Outcome {
            machine: Machine {
                cpus: 2,
                processor: "A & B".to_owned(),
                kernel: "6".to_owned(),
                congestion_control: "cubic".to_owned(),
            },
            cpus: "proxies on CPU 0".to_owned(),
            rounds: 2,
            seconds: 1.0,
            missing: vec![("h2o".to_owned(), "not there".to_owned())],
            skipped: Vec::new(),
            notes: Vec::new(),
            workloads: vec![WorkloadOutcome {
                workload,
                rate: direct.as_ref().map(|_| 1000.0),
                peers: vec![
                    peer("ringway 1", "ringway", 1.0),
                    peer("nginx 1", "nginx", 2.0),
                    failed,
                ],
                direct,
                disturbed: Vec::new(),
            }],
        }
    }

    #[test]
    fn pages_tables_and_json_show_ratios_and_what_failed() {
        for name in ["c64", "rate", "idle"] {
            let outcome = outcome(name);
            let page = to_html(&outcome);
            assert!(
                page.contains("2 CPUs (A &amp; B), Linux 6, TCP with cubic")
                    && page.contains("haproxy &lt;2&gt;"),
                "{page}"
            );
            assert!(
                page.contains("0.50 (0.50–0.50)") && !page.contains("NaN"),
                "{page}"
            );
            assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
            let table = Table(&outcome).to_string();
            assert!(
                table.contains("0.50 (0.50–0.50)") && table.contains("could not be started"),
                "{table}"
            );
            let json = to_json(&outcome).to_string();
            assert!(json.contains("\"verdict\": \"less\""), "{json}");
        }
    }
}
