//! One client's connection, as it is kept between requests.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::settings::Settings;
use crate::exchange::{Patience, Peer, Pending};
use crate::observe::{Refusal, WorkerStats};
use crate::ring::{Ring, Socket, Timer};
use crate::transport::Stream;

/// What all workers share of one listener: its settings and its count of open connections.
pub struct Shared {
    /// What its connections are told.
    pub settings: Settings,
    connections_max: usize,
    per_ip_max: usize,
    open: AtomicUsize,
    by_ip: Mutex<HashMap<IpAddr, usize>>,
}

impl Shared {
    /// Counts from zero up to the limits given; `per_ip_max` 0: none.
    pub fn new(settings: Settings, connections_max: usize, per_ip_max: usize) -> Arc<Self> {
        Arc::new(Self {
            settings,
            connections_max,
            per_ip_max,
            open: AtomicUsize::new(0),
            by_ip: Mutex::default(),
        })
    }

    pub(super) fn patience(&self) -> Patience {
        let timeouts = &self.settings.timeouts;
        Patience {
            body_idle_ms: timeouts.body_idle.as_millis() as u64,
            min_rate: timeouts.min_rate_bytes_per_second,
            tunnel_idle_ms: timeouts.keep_alive.as_millis() as u64,
            body_bytes: self.settings.limits.body_bytes,
        }
    }
}

/// A connection's place among those allowed; given back when dropped.
pub struct Guard {
    shared: Arc<Shared>,
    stats: Arc<WorkerStats>,
    ip: Option<IpAddr>,
}

impl Guard {
    /// A place for a connection from `ip`.
    pub fn take(
        shared: &Arc<Shared>,
        stats: &Arc<WorkerStats>,
        ip: IpAddr,
    ) -> Result<Self, Refusal> {
        if shared.open.fetch_add(1, Ordering::Relaxed) >= shared.connections_max {
            shared.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::MaxConnections);
        }
        let mut guard = Self {
            shared: Arc::clone(shared),
            stats: Arc::clone(stats),
            ip: None,
        };
        stats.open_connections.add(1);
        if shared.per_ip_max > 0 {
            let mut by_ip = shared.by_ip.lock().unwrap_or_else(PoisonError::into_inner);
            let count = by_ip.entry(ip).or_default();
            if *count >= shared.per_ip_max {
                return Err(Refusal::MaxConnectionsPerIp);
            }
            *count += 1;
            guard.ip = Some(ip);
        }
        Ok(guard)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
        self.stats.open_connections.add(-1);
        if let Some(ip) = self.ip {
            let mut by_ip = self
                .shared
                .by_ip
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = by_ip.get_mut(&ip) {
                *count -= 1;
                if *count == 0 {
                    by_ip.remove(&ip);
                }
            }
        }
    }
}

/// Longest text of an IP address: eight groups of four digits, and the colons between.
const IP_TEXT_BYTES: usize = 39;

/// One client's connection.
pub struct Connection {
    pub(super) stream: Stream,
    pub(super) timer: Timer,
    pub(super) peer: SocketAddr,
    text: [u8; IP_TEXT_BYTES],
    text_length: u8,
    pub(super) trusted: bool,
    /// All was answered: it closes with its last bytes.
    pub(super) parting: bool,
    /// The request that was sent and waits for its answer without a task.
    pub(super) pending: Option<Box<Pending>>,
    /// Requests served so far.
    pub(super) requests: u32,
    pub(super) shared: Arc<Shared>,
    _guard: Guard,
}

impl Connection {
    /// A new connection from `peer`.
    pub fn new(ring: &Ring, socket: Socket, peer: SocketAddr, guard: Guard) -> Self {
        use std::io::Write;
        let shared = Arc::clone(&guard.shared);
        let mut text = [0; IP_TEXT_BYTES];
        let mut rest = &mut text[..];
        // The longest IPv6 address fits.
        let _ = write!(rest, "{}", peer.ip());
        let left = rest.len();
        let trusted = shared
            .settings
            .trusted_proxies
            .iter()
            .any(|net| net.contains(&peer.ip()));
        Self {
            stream: Stream::new(socket),
            timer: Timer::new(ring),
            peer,
            text,
            text_length: (IP_TEXT_BYTES - left) as u8,
            trusted,
            parting: false,
            pending: None,
            requests: 0,
            shared,
            _guard: guard,
        }
    }

    /// Gets ready to be idle: receives stay armed, but after a body that was `spliced`, and its time begins.
    pub(super) fn rest(&self, ring: &Ring, spliced: bool) {
        let socket = self.stream.socket();
        if spliced {
            socket.receive_singly();
        } else {
            socket.keep_receiving();
        }
        let keep_alive = self.shared.settings.timeouts.keep_alive;
        self.timer
            .set(ring.now_ms() + keep_alive.as_millis() as u64);
    }

    /// Who asks, and by which stream: the request counted last.
    pub(super) fn parts(&mut self) -> (&mut Stream, Peer<'_>) {
        let limit = self.shared.settings.limits.requests_per_connection;
        let peer = Peer {
            address: self.peer,
            text: &self.text[..usize::from(self.text_length)],
            trusted: self.trusted,
            timer: &self.timer,
            first: self.requests == 1,
            last: limit > 0 && u64::from(self.requests) >= limit,
            patience: self.shared.patience(),
        };
        (&mut self.stream, peer)
    }
}
