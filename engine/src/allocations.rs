//! The system's allocator, with what the workers ask of it counted (feature `count-allocations`).
//!
//! Never in a release. Other threads may allocate as they like: they are not counted.
//! Invariant: nothing here allocates, except `observe::allocations` while it prints where an allocation came from.
#![allow(unsafe_code, reason = "an allocator's hooks are unsafe")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ringway_engine::observe::allocations;

#[global_allocator]
static COUNTING: Counting = Counting;

/// What workers' threads are called, up to their number.
const WORKER_NAME: &[u8] = b"worker-";

/// Bytes of a thread's name as the kernel keeps it, its end included (prctl(2), PR_GET_NAME).
const THREAD_NAME_BYTES: usize = 16;

thread_local! {
    /// Neither initialised lazily nor dropped, so that the allocator may touch it at any time.
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

// SAFETY: every call is the system allocator's own, with the caller's arguments; counting changes nothing about them.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps `alloc`'s contract, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps `realloc`'s contract, and all memory of this allocator is the system's.
        unsafe { System.realloc(memory, layout, new_bytes) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as in `realloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn count() {
    if is_worker() {
        allocations::count();
    }
}

/// Whether this thread is a worker. A thread gets its name only after its first allocations, so a no is not kept.
fn is_worker() -> bool {
    IS_WORKER.get() || {
        let mut name = [0u8; THREAD_NAME_BYTES];
        // SAFETY: PR_GET_NAME writes at most 16 bytes to its argument, and `name` has them.
        let result = unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
        let is_worker = result == 0 && name.starts_with(WORKER_NAME);
        IS_WORKER.set(is_worker);
        is_worker
    }
}
