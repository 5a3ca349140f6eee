//! What a client's connection is told: whom it believes, its limits and its patience.

use std::time::Duration;

use ipnet::IpNet;
use ringway_protocol::Limits as HeadLimits;

/// The part of a `[[listener]]` that its connections live by.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Peers whose `Forwarded` and `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How long it waits, and for what.
    pub timeouts: Timeouts,
    /// How much it takes.
    pub limits: Limits,
}

/// `[listener.timeouts]`.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From the first byte awaited of a request to the end of its head.
    pub request_head: Duration,
    /// Between two reads of a body, or two writes the client takes.
    pub body_idle: Duration,
    /// Bytes per second under which a body or reader is closed, measured over 10 s; 0: no limit.
    pub min_rate_bytes_per_second: u64,
    /// Between two requests of a connection.
    pub keep_alive: Duration,
}

/// `[listener.limits]`.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Limits of a request's head.
    pub head: HeadLimits,
    /// Bytes of a request's body; 0: no limit.
    pub body_bytes: u64,
    /// Requests after which a connection is closed; 0: no limit.
    pub requests_per_connection: u64,
}
