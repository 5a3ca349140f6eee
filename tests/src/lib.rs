//! What the end-to-end tests are made of: the real `ringway` process, a client and origins that speak bytes.
//!
//! Nothing here shares code with the product, so that one mistake cannot hide on both sides. Every wait has a
//! deadline that only a hung test meets; nothing sleeps in order to synchronise.

#![forbid(unsafe_code)]

pub mod binary;
pub mod client;
pub mod config;
pub mod log;
pub mod metrics;
pub mod origin;
pub mod pattern;
pub mod proxy;
pub mod signal;
pub mod wire;

use std::time::Duration;

pub use client::Client;
pub use config::Config;
pub use origin::Origin;
pub use proxy::Proxy;
pub use signal::Signal;

/// How long anything may take before the test counts as hung. No assertion depends on it.
pub const PATIENCE: Duration = Duration::from_secs(20);
