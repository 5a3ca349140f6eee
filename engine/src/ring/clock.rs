//! The clock's one home. A reactor reads it once a turn; everything in that turn happens at that time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic nanoseconds since the process first asked.
pub fn now_ns() -> u64 {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    #[allow(clippy::disallowed_methods, reason = "the clock's home")]
    let now = Instant::now();
    now.duration_since(*START.get_or_init(|| now)).as_nanos() as u64
}

/// Nanoseconds of CPU time the calling thread has used. A system call.
pub(super) fn thread_cpu_ns() -> u64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    used.tv_sec as u64 * 1_000_000_000 + used.tv_nsec as u64
}

/// Time since the Unix epoch.
pub fn unix_now() -> Duration {
    #[allow(clippy::disallowed_methods, reason = "the clock's home")]
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
