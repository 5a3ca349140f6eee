//! Ringway's load harness: a load generator, a test origin, and a side-by-side comparison of proxies.
//!
//! It shares no code with the engine, so that one bug cannot hide in both: readiness instead of completions, its own
//! message parsing, its own statistics. Only what measures the engine's own parts calls it: `micro`, which counts the
//! instructions of its pure pieces, and `relay`, which is its ring and nothing else.

pub mod cli;
pub mod compare;
pub mod cpus;
pub mod http1;
pub mod json;
pub mod load;
pub mod micro;
pub mod origin;
pub mod pattern;
mod poll;
pub mod relay;
