//! For how many completions a thread sleeps: for one, or, where it is busy and several are due, for some of those.
//!
//! A busy thread that is woken for each of them goes to sleep in between, over and over, and both costs: its own turn, and
//! whoever wakes it. Sleeping for several is nearly free of delay when they are due anyway. A thread that has time to spare
//! never waits for a second one, so latency is what it was.

use super::limits::{BUSY_FULL, BUSY_MIN, BUSY_WINDOW_NS, TOGETHER_MAX};

pub(super) struct Patience {
    /// Whether the kernel can wait for several and be content with fewer after a while (6.12).
    supported: bool,
    /// For so many at most, as busy as the thread is.
    limit: u32,
    /// When the window began, and how much CPU time the thread had used by then.
    since_ns: u64,
    cpu_ns: u64,
}

impl Patience {
    pub(super) fn new(supported: bool, now_ns: u64, cpu_ns: u64) -> Self {
        Self {
            supported,
            limit: 1,
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
        (self.since_ns, self.cpu_ns) = (now_ns, cpu_ns);
    }

    /// How many to sleep for where `owed` sockets have something due: half of those, for they do not come in step.
    #[inline]
    pub(super) fn completions(&self, owed: u32) -> u32 {
        self.limit.min(owed / 2).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_window(supported: bool, busy: u64) -> Patience {
        let mut patience = Patience::new(supported, 1000, 500);
        let now_ns = 1000 + BUSY_WINDOW_NS;
        assert!(!patience.is_due(now_ns - 1));
        if patience.is_due(now_ns) {
            patience.look(now_ns, 500 + BUSY_WINDOW_NS * busy / 100);
        }
        patience
    }

    #[test]
    fn a_thread_with_time_to_spare_sleeps_for_one() {
        for busy in [0, 30, BUSY_MIN] {
            assert_eq!(after_window(true, busy).completions(1000), 1, "{busy} %");
        }
    }

    #[test]
    fn the_busier_the_more_but_never_more_than_half_of_what_is_due() {
        let full = after_window(true, 100);
        assert_eq!(full.completions(1000), TOGETHER_MAX);
        assert_eq!(full.completions(9), 4);
        for owed in [0, 1, 2, 3] {
            assert_eq!(full.completions(owed), 1, "{owed} due");
        }
        let half = after_window(true, (BUSY_MIN + BUSY_FULL) / 2).completions(1000);
        assert!(half > 1 && half < TOGETHER_MAX, "{half}");
    }

    #[test]
    fn what_was_busy_is_forgotten_with_the_next_window() {
        let mut patience = after_window(true, 100);
        let cpu_ns = patience.cpu_ns;
        patience.look(patience.since_ns + 10 * BUSY_WINDOW_NS, cpu_ns + 1);
        assert_eq!(patience.completions(1000), 1);
    }

    #[test]
    fn an_older_kernel_is_never_asked() {
        assert_eq!(after_window(false, 100).completions(1000), 1);
    }
}
