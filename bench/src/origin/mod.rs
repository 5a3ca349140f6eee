//! The test origin: answers whatever the path asks for, cheaply enough never to be the bottleneck.
//!
//! | path | answer |
//! |---|---|
//! | `/` | 128 bytes |
//! | `/bytes/N` | N bytes with Content-Length |
//! | `/chunked/N` | N bytes in chunks |
//! | `/delay/MS/N` | N bytes, after MS milliseconds |
//! | `/status/CODE` | that status, no content |
//! | `/reset` | the connection is reset |
//! | `/hang` | none, ever |
//! | `/cut/N` | N bytes declared, half of them sent, then the connection is closed |
//! | `/echo` | the request's content |
//!
//! A query is ignored. Content is [`crate::pattern`]. Request content is read to its end before the answer begins.

mod answer;
mod connection;
mod server;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

pub(crate) use server::BACKLOG;

use crate::cpus::CpuList;

/// What an origin is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How many threads serve.
    pub threads: usize,
    /// Where they run; anywhere if not given.
    pub cpus: Option<CpuList>,
}

/// A running origin. It ends when this is dropped.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Origin {
    /// Binds and starts serving.
    pub fn start(settings: &Settings) -> io::Result<Self> {
        let first = server::listen(settings.listen)?;
        let address = server::local_address(&first)?;
        let mut listeners = vec![first];
        for _ in 1..settings.threads {
            listeners.push(server::listen(address)?);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut origin = Self {
            address,
            stop,
            threads: Vec::new(),
        };
        for (index, listener) in listeners.into_iter().enumerate() {
            let (stop, cpus) = (Arc::clone(&origin.stop), settings.cpus.clone());
            let thread = std::thread::Builder::new()
                .name(format!("origin-{index}"))
                .spawn(move || {
                    if let Some(cpus) = cpus {
                        cpus.pin(index)?;
                    }
                    server::Server::new(listener)?.run(&stop)
                })?;
            origin.threads.push(thread);
        }
        Ok(origin)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether all threads still serve.
    pub fn is_serving(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished())
    }

    /// Stops serving and says what went wrong, if anything did.
    pub fn stop(mut self) -> io::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads
            .drain(..)
            .try_for_each(|thread| match thread.join() {
                Ok(result) => result,
                Err(_) => Err(io::Error::other("an origin thread panicked")),
            })
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic there has been printed already, and a destructor has nobody to tell.
            let _ = thread.join();
        }
    }
}
