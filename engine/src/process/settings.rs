//! Everything one process is told; built by `config`, each room's part in that room's own type.

use std::net::SocketAddr;
use std::time::Duration;

use crate::{listen, observe, route, upstream};

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Worker threads; `None`: one per CPU this process may use.
    pub workers: Option<usize>,
    /// After TERM: how long `/readyz` answers 503 while connections are still accepted.
    pub drain_notice: Duration,
    /// After the notice: how long open exchanges may take.
    pub drain_deadline: Duration,
    /// Address of the admin listener; `None`: off.
    pub admin: Option<SocketAddr>,
    /// Access log.
    pub log: observe::Settings,
    /// Listeners.
    pub listeners: Vec<listen::Settings>,
    /// Routes, in the order of the file.
    pub routes: Vec<route::Settings>,
    /// Upstreams, in the order of the file; routes name them by index.
    pub upstreams: Vec<upstream::Settings>,
}
