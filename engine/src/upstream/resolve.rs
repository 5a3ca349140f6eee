//! Names to addresses, away from the workers: one thread for each upstream that has names, so that one slow name
//! server delays no other upstream. Workers are handed immutable snapshots.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::settings::{Host, Settings};

/// How often names are looked up again.
const REFRESH: Duration = Duration::from_secs(30);

/// How soon a name that could not be resolved is looked up again.
const RETRY: Duration = Duration::from_secs(2);

/// Addresses of one upstream's endpoints, by endpoint. A name that never resolved has none.
pub type Addresses = Arc<Vec<Vec<SocketAddr>>>;

/// Keeps the names of one upstream resolved. Dropping it ends its thread after the look-up under way.
pub struct Resolver {
    current: Arc<Mutex<Addresses>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Resolver {
    /// Starts resolving. Literal addresses are there at once; `first` gets a message when the names have been tried
    /// once, `changed` is called with every snapshot that differs from the one before.
    pub fn start(
        upstream: &Settings,
        first: Sender<()>,
        changed: impl Fn(Addresses) + Send + 'static,
    ) -> std::io::Result<Self> {
        let endpoints: Vec<(Host, u16)> = upstream
            .endpoints
            .iter()
            .map(|endpoint| (endpoint.host.clone(), endpoint.port))
            .collect();
        let literal = |(host, port): &(Host, u16)| match host {
            Host::Address(ip) => vec![SocketAddr::new(*ip, *port)],
            Host::Name(_) => Vec::new(),
        };
        let current = Arc::new(Mutex::new(Arc::new(
            endpoints.iter().map(literal).collect::<Vec<_>>(),
        )));
        let mut this = Self {
            current: Arc::clone(&current),
            stop: None,
            thread: None,
        };
        if endpoints
            .iter()
            .all(|(host, _)| matches!(host, Host::Address(_)))
        {
            let _ = first.send(());
            return Ok(this);
        }
        let (stop, stopped) = channel();
        this.stop = Some(stop);
        let thread = std::thread::Builder::new()
            .name("resolver".into())
            .spawn(move || keep_resolved(&endpoints, &current, &stopped, &first, &changed))?;
        this.thread = Some(thread);
        Ok(this)
    }

    /// The addresses as last resolved.
    pub fn addresses(&self) -> Addresses {
        Arc::clone(
            &self
                .current
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.stop.take();
        // A look-up may take long; the thread ends by itself after it and holds nothing up.
        self.thread.take();
    }
}

fn keep_resolved(
    endpoints: &[(Host, u16)],
    current: &Mutex<Addresses>,
    stopped: &Receiver<()>,
    first: &Sender<()>,
    changed: &dyn Fn(Addresses),
) {
    loop {
        let before = Arc::clone(
            &current
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        let mut complete = true;
        let resolved: Vec<Vec<SocketAddr>> = endpoints
            .iter()
            .zip(before.iter())
            .map(|((host, port), known)| match host {
                Host::Address(ip) => vec![SocketAddr::new(*ip, *port)],
                Host::Name(name) => resolve(name, *port).unwrap_or_else(|| {
                    complete = false;
                    // A name server that fails does not take away what it said before.
                    known.clone()
                }),
            })
            .collect();
        if resolved != **before {
            let snapshot = Arc::new(resolved);
            *current
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::clone(&snapshot);
            changed(snapshot);
        }
        let _ = first.send(());
        match stopped.recv_timeout(if complete { REFRESH } else { RETRY }) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Every address of `name`, IPv4 first: an origin that listens on one family only is common, and it is that one.
fn resolve(name: &str, port: u16) -> Option<Vec<SocketAddr>> {
    let mut all: Vec<SocketAddr> = (name, port).to_socket_addrs().ok()?.collect();
    all.sort_by_key(|address| (matches!(address.ip(), IpAddr::V6(_)), *address));
    all.dedup();
    (!all.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_resolve_to_their_addresses_ipv4_first() {
        let all = resolve("localhost", 80).unwrap();
        assert_eq!(all[0], "127.0.0.1:80".parse().unwrap());
        assert_eq!(resolve("name.invalid", 80), None);
    }
}
