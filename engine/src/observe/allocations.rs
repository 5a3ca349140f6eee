//! How often workers allocated (feature `count-allocations`); the binary's allocator does the counting.
//!
//! For tests: a steady state allocates nothing, and where one does, this says where.
//! Invariant: `count` allocates nothing itself unless it prints.

use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// With this in the environment, what workers allocate after the first look at the count is printed, each with its
/// backtrace.
pub const TRACE_VARIABLE: &str = "RINGWAY_TRACE_ALLOCATIONS";

/// How many of them are printed.
const TRACES_MAX: u64 = 32;

/// Allocations of all workers.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// How many are still printed.
static TRACES_LEFT: AtomicU64 = AtomicU64::new(0);

/// Whether anybody has looked at the count.
static LOOKED_AT: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Printing allocates, which is nobody's business.
    static PRINTING: Cell<bool> = const { Cell::new(false) };
}

/// Counts one allocation of a worker's thread.
pub fn count() {
    if PRINTING.get() {
        return;
    }
    COUNT.fetch_add(1, Ordering::Relaxed);
    let print = TRACES_LEFT
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        })
        .is_ok();
    if print {
        PRINTING.set(true);
        eprintln!("a worker allocated:\n{}", Backtrace::force_capture());
        PRINTING.set(false);
    }
}

/// How often workers have allocated.
pub fn total() -> u64 {
    let total = COUNT.load(Ordering::Relaxed);
    if !LOOKED_AT.swap(true, Ordering::Relaxed) && std::env::var_os(TRACE_VARIABLE).is_some() {
        TRACES_LEFT.store(TRACES_MAX, Ordering::Relaxed);
    }
    total
}
