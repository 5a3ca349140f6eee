//! Per-core counters and histograms, metric names, exposition, access log.

mod settings;

pub use settings::*;
