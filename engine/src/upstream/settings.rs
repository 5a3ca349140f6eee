//! What an upstream is told.

use std::net::IpAddr;
use std::time::Duration;

/// One `[upstream.NAME]`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name.
    pub name: String,
    /// Where requests go.
    pub endpoints: Vec<Endpoint>,
    /// How its connections are kept.
    pub pool: Pool,
}

/// One endpoint, `http://host:port/base`.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Who it is: an address, or a name that is resolved.
    pub host: Host,
    /// TCP port.
    pub port: u16,
    /// `host[:port]` as it goes into a Host field (the port left out where it is 80).
    pub authority: String,
    /// The URL's path, without a trailing slash; empty for none. It is put before the request's path.
    pub base_path: String,
    /// The URL's query, without `?`; joined before the request's with `&`.
    pub base_query: String,
    /// Its share of the requests among the endpoints, 1 or more.
    pub weight: u32,
}

/// An endpoint's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// An address literal.
    Address(IpAddr),
    /// A name, resolved on the control plane and refreshed.
    Name(String),
}

/// `[upstream.NAME.pool]`.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    /// Connections per endpoint, over the whole process; 0: no limit.
    pub max_connections: usize,
    /// How long a request waits for a connection once the endpoint has its maximum.
    pub queue_timeout: Duration,
    /// Idle connections kept, per endpoint and worker.
    pub idle_max: usize,
    /// How long one is kept idle.
    pub idle_timeout: Duration,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// From the request sent to the response's head; 504 after it.
    pub response_head_timeout: Duration,
    /// How long the body is held back for a 100 (Continue); it is sent after that. RFC 9110 §10.1.1.
    pub expect_continue_timeout: Duration,
}
