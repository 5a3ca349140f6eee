//! For how many completions a thread sleeps: for one, or, where it is busy and several are due, for some of those.
//!
//! A busy thread that is woken for each of them goes to sleep in between, over and over, and both costs: its own time, and
//! that of whoever wakes it. Sleeping for several costs hardly any delay as long as they end the sleep and not the clock: so
//! only what was asked for lately counts as due, and how many is tried out. A thread that had time to spare in the last
//! window sleeps for one: its latency is what it was.

use super::limits::{BUSY_FULL, BUSY_MIN, BUSY_WINDOW_NS, REST_WINDOWS, SHORT_PART, TOGETHER_MAX};

pub(super) struct Together {
    /// Whether the kernel can wait for several and be content with fewer after a while (6.12).
    supported: bool,
    /// For so many at most, as busy as the thread is...
    limit: u32,
    /// ...and so many, as completions have ended the sleeps so far.
    tried: u32,
    /// Windows until more than one is tried again.
    rest: u32,
    /// This window's number, which is never 0 and starts over, and how many have had something due since it, and since the
    /// one before it.
    window: u16,
    due: [u32; 2],
    /// Sleeps for several in this window, and those among them that brought fewer.
    sleeps: u32,
    short: u32,
    /// When the window began, and how much CPU time the thread had used by then.
    since_ns: u64,
    cpu_ns: u64,
}

impl Together {
    pub(super) fn new(supported: bool, now_ns: u64, cpu_ns: u64) -> Self {
        Self {
            supported,
            limit: 1,
            tried: 1,
            rest: 0,
            window: 1,
            due: [0; 2],
            sleeps: 0,
            short: 0,
            since_ns: now_ns,
            cpu_ns,
        }
    }

    /// Whether a window is over, and [`look`](Self::look) is to be called.
    #[inline]
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        self.supported && now_ns >= self.since_ns + BUSY_WINDOW_NS
    }

    /// Ends a window, in which the thread used CPU time up to `cpu_ns`.
    pub(super) fn look(&mut self, now_ns: u64, cpu_ns: u64) {
        let passed_ns = (now_ns - self.since_ns).max(1);
        let used_ns = cpu_ns.saturating_sub(self.cpu_ns);
        let busy = (used_ns * 100 / passed_ns).clamp(BUSY_MIN, BUSY_FULL);
        let more = u64::from(TOGETHER_MAX - 1) * (busy - BUSY_MIN) / (BUSY_FULL - BUSY_MIN);
        self.limit = 1 + more as u32;
        if self.short * SHORT_PART > self.sleeps {
            self.tried = (self.tried / 2).max(1);
            self.rest = REST_WINDOWS;
        } else if self.tried == 1 {
            // Nothing is learned from sleeps for one.
            self.rest = self.rest.saturating_sub(1);
            self.tried += u32::from(self.rest == 0);
        } else if self.sleeps > 0 {
            self.tried = (self.tried + 1).min(TOGETHER_MAX);
        }
        (self.sleeps, self.short) = (0, 0);
        self.window = self.window.checked_add(1).unwrap_or(1);
        self.due = [0, self.due[0]];
        (self.since_ns, self.cpu_ns) = (now_ns, cpu_ns);
    }

    /// Something is due of whom `since` belongs to: it says since which window, 0 for nothing.
    #[inline]
    pub(super) fn expect(&mut self, since: &mut u16) {
        self.came(since);
        *since = self.window;
        self.due[0] += 1;
    }

    /// It came, or never will.
    #[inline]
    pub(super) fn came(&mut self, since: &mut u16) {
        let since = std::mem::take(since);
        let windows_ago = self.window.wrapping_sub(since);
        if since > 0
            && let Some(due) = self.due.get_mut(usize::from(windows_ago))
        {
            // What has been due for nine minutes may pass for new: the numbers have started over.
            *due = due.saturating_sub(1);
        }
    }

    /// How many to sleep for: half of those that have something due, for they do not come in step.
    #[inline]
    pub(super) fn completions(&self) -> u32 {
        let due: u32 = self.due.iter().sum();
        self.limit.min(self.tried).min(due / 2).max(1)
    }

    /// A sleep for `wanted` brought so many.
    #[inline]
    pub(super) fn slept(&mut self, wanted: u32, brought: u64) {
        if wanted > 1 {
            self.sleeps += 1;
            self.short += u32::from(brought < u64::from(wanted));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(together: &mut Together, busy: u64, sleeps: impl FnOnce(&mut Together)) {
        sleeps(together);
        let now_ns = together.since_ns + BUSY_WINDOW_NS;
        assert!(!together.is_due(now_ns - 1) && together.is_due(now_ns));
        let cpu_ns = together.cpu_ns + BUSY_WINDOW_NS * busy / 100;
        together.look(now_ns, cpu_ns);
    }

    /// What it sleeps for when `due` more have something due.
    fn asked(together: &mut Together, due: u32) -> u32 {
        let mut marks = vec![0; due as usize];
        marks.iter_mut().for_each(|mark| together.expect(mark));
        let completions = together.completions();
        marks.iter_mut().for_each(|mark| together.came(mark));
        completions
    }

    /// A thread that is always busy, and whose sleeps have all brought what they were for.
    fn proven() -> Together {
        let mut together = Together::new(true, 1000, 500);
        for _ in 0..TOGETHER_MAX {
            pass(&mut together, 100, |together| together.slept(2, 100));
        }
        together
    }

    #[test]
    fn a_thread_with_time_to_spare_sleeps_for_one() {
        for busy in [0, 30, BUSY_MIN] {
            let mut together = proven();
            pass(&mut together, busy, |_| {});
            assert_eq!(asked(&mut together, 1000), 1, "{busy} %");
        }
    }

    #[test]
    fn the_busier_the_more_but_never_more_than_half_of_what_is_due() {
        let mut together = proven();
        assert_eq!(asked(&mut together, 1000), TOGETHER_MAX);
        assert_eq!(asked(&mut together, 9), 4);
        for due in [0, 1, 2, 3] {
            assert_eq!(asked(&mut together, due), 1, "{due} due");
        }
        pass(&mut together, (BUSY_MIN + BUSY_FULL) / 2, |_| {});
        let half = asked(&mut together, 1000);
        assert!(half > 1 && half < TOGETHER_MAX, "{half}");
    }

    #[test]
    fn what_does_not_come_is_due_no_longer_after_a_window_or_two() {
        let mut together = proven();
        let mut marks = [0; 20];
        marks.iter_mut().for_each(|mark| together.expect(mark));
        // Asked twice is due once.
        marks.iter_mut().for_each(|mark| together.expect(mark));
        for expected in [10, 10, 1, 1] {
            assert_eq!(together.completions(), expected);
            pass(&mut together, 100, |_| {});
        }
        // Whether it is asked again, comes late or never does, it is not counted twice.
        together.expect(&mut marks[0]);
        marks.iter_mut().for_each(|mark| together.came(mark));
        marks.iter_mut().for_each(|mark| together.came(mark));
        assert_eq!(together.due, [0, 0]);
    }

    #[test]
    fn sleeps_that_bring_fewer_make_it_fewer_and_it_grows_one_by_one() {
        let mut together = proven();
        for expected in [8, 4, 2, 1] {
            pass(&mut together, 100, |together| {
                for brought in [16, 1, 1] {
                    together.slept(16, brought);
                }
            });
            assert_eq!(asked(&mut together, 1000), expected);
        }
        for _ in 1..REST_WINDOWS {
            pass(&mut together, 100, |together| together.slept(1, 0));
            assert_eq!(asked(&mut together, 1000), 1);
        }
        for expected in 2..=TOGETHER_MAX {
            pass(&mut together, 100, |together| together.slept(2, 16));
            assert_eq!(asked(&mut together, 1000), expected);
        }
        // Sleeps for one teach nothing.
        pass(&mut together, 100, |together| together.slept(1, 0));
        assert_eq!(asked(&mut together, 1000), TOGETHER_MAX);
    }

    #[test]
    fn a_few_short_sleeps_change_nothing() {
        let mut together = proven();
        pass(&mut together, 100, |together| {
            for brought in [16, 1] {
                together.slept(16, brought);
            }
        });
        assert_eq!(asked(&mut together, 1000), TOGETHER_MAX);
    }

    #[test]
    fn an_older_kernel_is_never_asked() {
        let mut together = Together::new(false, 0, 0);
        assert!(!together.is_due(u64::MAX / 2));
        assert_eq!(asked(&mut together, 1000), 1);
    }
}
