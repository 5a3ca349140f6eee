//! The io_uring reactor: operations, completions, buffer rings. All of the engine's unsafe code.
//!
//! It moves bytes and knows nothing of what they mean.

#![allow(
    unsafe_code,
    reason = "the one room that speaks to the kernel by pointers"
)]

mod buffers;
pub mod clock;
mod handles;
mod limits;
mod operating;
mod operation;
mod prefetch;
pub mod probe;
mod reactor;
mod receiving;
mod runtime;
mod sending;
mod slots;
mod socket;
mod splicing;
mod timer;
mod together;

use std::task::{Context, Waker};

pub use buffers::{Group, Lease};
pub use handles::{Connect, Listener, Socket, Timer, sleep_until};
pub use limits::{HEADROOM_BYTES, LARGE_BYTES, SMALL_BYTES};
pub use prefetch::prefetch;
pub use reactor::{Counters, Remote, Ring};
pub use runtime::{Panic, run};
pub use splicing::Pipe;
pub use timer::GRANULARITY_MS;

/// Remembers who is to be woken; the same task asking again costs a comparison.
#[inline]
fn store_waker(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) if waker.will_wake(cx.waker()) => {}
        _ => *slot = Some(cx.waker().clone()),
    }
}

#[cfg(test)]
mod tests;
