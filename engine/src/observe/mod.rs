//! Per-core counters and histograms, metric names, exposition, access log.

pub mod access_log;
#[cfg(feature = "count-allocations")]
pub mod allocations;
mod counters;
pub mod date;
mod exposition;
mod histogram;
pub mod process_log;
mod request_id;
mod settings;

pub use counters::{
    BAD_REQUEST_REASONS_MAX, Counter, Gauge, Refusal, Retry, UNMATCHED_LABEL, UpstreamStats,
    WorkerStats,
};
pub use date::DateCache;
pub use exposition::{CONTENT_TYPE, ProcessStats, render};
pub use histogram::{DurationHistogram, SizeHistogram};
pub use request_id::RequestIds;
pub use settings::*;
