//! What a listener is told: addresses, and how many connections it takes.

use std::net::SocketAddr;

use crate::downstream;

/// One `[[listener]]`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name, for the log.
    pub name: String,
    /// Every address it listens on.
    pub bind: Vec<SocketAddr>,
    /// Open connections it accepts at once, over the whole process.
    pub max_connections: usize,
    /// Open connections from one client address, over the whole process; 0: no limit.
    pub max_connections_per_ip: usize,
    /// What its connections are told.
    pub connection: downstream::Settings,
}
