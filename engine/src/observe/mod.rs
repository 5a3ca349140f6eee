//! Per-core counters and histograms, metric names, exposition, access log.

pub mod date;
pub mod request_id;
mod settings;

pub use settings::*;
