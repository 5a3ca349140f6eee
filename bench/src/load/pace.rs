//! When the next request is due: as soon as there is room for it, or on a schedule. Time is passed in.

use std::time::{Duration, Instant};

/// A request sent this much after its time was kept waiting by the load's own connections, not by the clock.
const LATE: Duration = Duration::from_millis(1);

/// How much is asked for, and until when.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    /// From here on nothing new begins.
    end: Option<Instant>,
    /// So many may still begin.
    left: Option<u64>,
    schedule: Option<Schedule>,
    /// Taken before, but not tried: when they should have been sent.
    returned: Vec<Instant>,
}

/// An open loop: the k-th request is due at a time of its own, whatever became of those before it.
#[derive(Debug)]
struct Schedule {
    per_second: f64,
    /// A fraction of the interval, so that threads do not send in step.
    phase: f64,
    /// The next one's number.
    next: u64,
    missed: u64,
}

impl Pace {
    pub(super) fn closed(start: Instant, end: Option<Instant>, left: Option<u64>) -> Self {
        Self {
            start,
            end,
            left,
            schedule: None,
            returned: Vec::new(),
        }
    }

    /// `phase` is the part of an interval, from 0 to 1, by which the first request comes after `start`.
    pub(super) fn open(
        start: Instant,
        end: Option<Instant>,
        left: Option<u64>,
        per_second: f64,
        phase: f64,
    ) -> Self {
        let schedule = Some(Schedule {
            per_second,
            phase,
            next: 0,
            missed: 0,
        });
        Self {
            start,
            end,
            left,
            schedule,
            returned: Vec::new(),
        }
    }

    /// Takes the next request if it is due: when it should be sent.
    pub(super) fn take(&mut self, now: Instant) -> Option<Instant> {
        if self.is_over(now) {
            return None;
        }
        let intended = match (&mut self.schedule, self.returned.pop()) {
            (_, Some(returned)) => returned,
            (None, None) => now,
            (Some(schedule), None) => {
                let intended = schedule.intended(self.start, schedule.next);
                if intended > now {
                    return None;
                }
                schedule.next += 1;
                schedule.missed += u64::from(now - intended > LATE);
                intended
            }
        };
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        Some(intended)
    }

    /// A request that was taken has not been tried: it may be taken again.
    pub(super) fn give_back(&mut self, intended: Instant) {
        self.returned.push(intended);
        if let Some(left) = &mut self.left {
            *left += 1;
        }
    }

    /// When the next request is due; `None` if it is whenever there is room, or never.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let schedule = self.schedule.as_ref().filter(|_| self.left != Some(0))?;
        Some(schedule.intended(self.start, schedule.next))
    }

    /// Nothing new begins from `now` on, at the latest.
    pub(super) fn end_by(&mut self, now: Instant) {
        self.end = Some(self.end.map_or(now, |end| end.min(now)));
    }

    /// Whether nothing more will begin.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.left == Some(0) || self.end.is_some_and(|end| now >= end)
    }

    /// Requests that were sent late: no connection was free, or the load had no CPU.
    pub(super) fn missed(&self) -> u64 {
        self.schedule.as_ref().map_or(0, |schedule| schedule.missed)
    }

    /// Requests whose time came before the end, or before `now` if that is earlier, and that were never sent.
    pub(super) fn unsent(&self, now: Instant) -> u64 {
        let Some(schedule) = &self.schedule else {
            return 0;
        };
        let until = self.end.map_or(now, |end| end.min(now));
        let due = (until.saturating_duration_since(self.start).as_secs_f64() * schedule.per_second
            - schedule.phase)
            .ceil();
        let unsent = (due.max(0.0) as u64).saturating_sub(schedule.next);
        self.left.map_or(unsent, |left| unsent.min(left))
    }
}

impl Schedule {
    fn intended(&self, start: Instant, number: u64) -> Instant {
        start + Duration::from_secs_f64((number as f64 + self.phase) / self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_closed_loop_gives_what_is_left_until_the_end() {
        let start = Instant::now();
        let mut pace = Pace::closed(start, Some(start + 10 * MS), Some(2));
        assert_eq!(pace.take(start + MS), Some(start + MS));
        assert_eq!(pace.take(start + 11 * MS), None);
        assert_eq!(pace.take(start + 2 * MS), Some(start + 2 * MS));
        assert_eq!(pace.take(start + 3 * MS), None);
        assert!(pace.is_over(start + 3 * MS));
        pace.give_back(start + 2 * MS);
        assert_eq!(pace.take(start + 4 * MS), Some(start + 2 * MS));
    }

    /// The heart of it: when everything stood still for a while, what should have been sent meanwhile is sent then, and
    /// its latency counts from when it should have been sent.
    #[test]
    fn a_stall_does_not_hide_the_requests_it_delayed() {
        let start = Instant::now();
        let mut pace = Pace::open(start, Some(start + 100 * MS), None, 1000.0, 0.0);
        assert_eq!(pace.take(start), Some(start));
        assert_eq!(pace.take(start), None);
        assert_eq!(pace.next_due(), Some(start + MS));
        let after_stall = start + 50 * MS;
        let intended: Vec<Instant> = std::iter::from_fn(|| pace.take(after_stall)).collect();
        assert_eq!(intended.len(), 50);
        assert_eq!((intended[0], intended[49]), (start + MS, start + 50 * MS));
        assert_eq!(pace.missed(), 48);
    }

    #[test]
    fn what_was_never_sent_is_counted() {
        let start = Instant::now();
        let mut pace = Pace::open(start, Some(start + 100 * MS), None, 1000.0, 0.5);
        assert!(pace.take(start + 10 * MS).is_some());
        assert_eq!(pace.unsent(start + 10 * MS), 9);
        assert_eq!(pace.unsent(start + 500 * MS), 99);
        assert!(pace.is_over(start + 100 * MS));
    }
}
