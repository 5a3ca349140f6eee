//! What a listener is told: addresses, whom it believes, its limits and its patience.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use ringway_protocol::Limits as HeadLimits;

/// One `[[listener]]`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name, for the log.
    pub name: String,
    /// Every address it listens on.
    pub bind: Vec<SocketAddr>,
    /// Peers whose `Forwarded` and `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Open connections it accepts at once, over the whole process.
    pub max_connections: usize,
    /// Open connections from one client address, over the whole process; 0: no limit.
    pub max_connections_per_ip: usize,
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
