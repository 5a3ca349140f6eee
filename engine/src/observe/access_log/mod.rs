//! The access log: a `Record` becomes a line in its worker's batch, and batches go to one thread that writes them.
//!
//! A worker never waits for the log. Where the thread falls behind, because its reader is slow or the disk is full,
//! lines are dropped and counted, and requests go on as before.

mod line;
mod sink;
mod writer;

pub use line::{Lines, PATH_BYTES_MAX, Phases, Record, TEXT_BYTES_MAX, USER_AGENT_BYTES_MAX};
pub use sink::{Closed, Sink};
pub use writer::{BATCH_BYTES, FLUSH_AFTER_MILLIS, QUEUE_BATCHES_MAX, Writer};
