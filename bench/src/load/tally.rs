//! What one thread counts, and how threads' counts are put together.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::protocol::{ErrorKind, Finished};

/// Latencies are kept in nanoseconds, to three digits, up to this. Longer ones count as this long.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// Latencies below this are not told apart.
const LATENCY_NS_MIN: u64 = 100;

pub(super) struct Tally {
    /// What came before this does not count.
    pub(super) since: Instant,
    /// When the last exchange that counts ended.
    pub(super) until: Instant,
    pub(super) answered: u64,
    pub(super) content_bytes: u64,
    pub(super) errors: [u64; ErrorKind::ALL.len()],
    pub(super) latencies: Histogram<u64>,
    pub(super) missed: u64,
    pub(super) unsent: u64,
}

pub(crate) fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, 3)
        .expect("the bounds are constants that fit")
}

/// Adds `other` to `sum`; both have the bounds of [`empty_histogram`].
pub(super) fn add(sum: &mut Histogram<u64>, other: &Histogram<u64>) {
    sum.add(other)
        .expect("histograms of the same bounds can be added");
}

impl Tally {
    pub(super) fn new(since: Instant) -> Self {
        Self {
            since,
            until: since,
            answered: 0,
            content_bytes: 0,
            errors: [0; ErrorKind::ALL.len()],
            latencies: empty_histogram(),
            missed: 0,
            unsent: 0,
        }
    }

    /// Counts an exchange that ended `now`, unless it began in the warm-up. Errors always count.
    pub(super) fn note(&mut self, finished: &Finished, now: Instant) {
        match finished.outcome {
            Ok(_) if finished.exchange.intended < self.since => return,
            Ok(bytes) => {
                self.answered += 1;
                self.content_bytes += bytes;
                let latency = now.saturating_duration_since(finished.exchange.intended);
                self.latencies
                    .saturating_record(latency.as_nanos().min(u128::from(LATENCY_NS_MAX)) as u64);
            }
            Err(kind) => self.errors[kind as usize] += 1,
        }
        self.until = self.until.max(now);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.since = self.since.max(other.since);
        self.until = self.until.max(other.until);
        self.answered += other.answered;
        self.content_bytes += other.content_bytes;
        for (sum, count) in self.errors.iter_mut().zip(other.errors) {
            *sum += count;
        }
        add(&mut self.latencies, &other.latencies);
        self.missed += other.missed;
        self.unsent += other.unsent;
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.until.saturating_duration_since(self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::protocol::Exchange;

    #[test]
    fn latency_counts_from_the_intended_time_and_not_in_the_warm_up() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut tally = Tally::new(start + ms(10));
        let mut note = |intended, outcome, at| {
            let exchange = Exchange {
                intended: start + ms(intended),
                begun: start + ms(at - 1),
                request: 0,
            };
            tally.note(&Finished { exchange, outcome }, start + ms(at));
        };
        note(5, Ok(1), 20);
        note(10, Ok(7), 60);
        note(15, Err(ErrorKind::Reset), 70);
        assert_eq!(
            (tally.answered, tally.content_bytes, tally.errors[1]),
            (1, 7, 1)
        );
        let latency = tally.latencies.max();
        assert!((50_000_000..=50_100_000).contains(&latency), "{latency}");
        assert_eq!(tally.elapsed(), ms(60));
    }
}
