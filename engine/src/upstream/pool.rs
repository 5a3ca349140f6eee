//! One worker's connections to every upstream: kept, made, counted.
//!
//! An idle connection is data, not a task: its socket listens by itself and reports when the origin closes it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::balance::RoundRobin;
use super::connection::Connection;
use super::resolve::Addresses;
use super::settings::{Endpoint, Settings};
use crate::ring::{Connect, Group, Ring, Socket, Timer, prefetch};
use crate::transport::Stream;

/// How long an endpoint that could not be reached is passed over while others are there.
const PASSED_OVER_MS: u64 = 1000;

/// Addresses of one name tried before its endpoint counts as unreachable.
const ADDRESSES_TRIED_MAX: usize = 3;

/// How often a request that waits for a connection looks whether one may be made: other workers' ends are not told.
const QUEUE_LOOK_MS: u64 = 16;

/// Connections to one endpoint over the whole process.
#[derive(Debug, Default)]
pub struct Limit {
    open: AtomicUsize,
    /// Requests waiting for one, on whichever worker: idle connections are given up for them.
    wanted: AtomicUsize,
}

/// One connection's share of its endpoint's [`Limit`].
pub(super) struct Permit(Arc<Limit>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request that waits; gone when it stops waiting.
struct Wanted(Arc<Limit>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.wanted.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub enum AcquireError {
    /// No endpoint has an address.
    Unresolved,
    /// Every connection is in use, and none came free in time.
    QueueTimeout,
    /// Connecting took too long.
    ConnectTimeout,
    /// Connecting failed.
    Connect(io::Error),
}

/// A connection, and what it took to get it.
pub struct Acquired {
    /// The connection.
    pub connection: Box<Connection>,
    /// Time to connect; `None` for one that was kept.
    pub connect: Option<Duration>,
    /// Time in the queue.
    pub queue: Option<Duration>,
}

/// An upstream as a worker is told of it.
#[derive(Clone)]
pub struct Known {
    /// Its settings.
    pub settings: Arc<Settings>,
    /// What is resolved of it so far.
    pub addresses: Addresses,
    /// Its endpoints' limits.
    pub limits: Vec<Arc<Limit>>,
}

struct Place {
    addresses_next: usize,
    /// Boxed: they move in and out with every request.
    #[allow(clippy::vec_box, reason = "moving the boxes is the point")]
    idle: Vec<Box<Connection>>,
    passed_over_until_ms: u64,
    limit: Arc<Limit>,
    /// Requests of this worker that wait, first come first served.
    waiters: VecDeque<(u32, Waker)>,
    /// Idle connections that waiters have been woken for.
    promised: usize,
}

struct Pool {
    settings: Arc<Settings>,
    balance: RoundRobin,
    /// An endpoint whose turn it was and that was given back: the next choice.
    given_back: Option<usize>,
    addresses: Addresses,
    places: Vec<Place>,
}

/// Every upstream's pool on one worker.
pub struct Pools {
    ring: Ring,
    pools: RefCell<Vec<Pool>>,
    /// Put before an idle connection's place in its tag.
    tag: u64,
    serial: std::cell::Cell<u32>,
}

impl Pools {
    /// Empty pools. `tag` goes into the top byte of what idle sockets report.
    pub fn new(ring: &Ring, upstreams: &[Known], worker: usize, tag: u64) -> Self {
        let pools = upstreams
            .iter()
            .map(
                |Known {
                     settings,
                     addresses,
                     limits,
                 }| {
                    let weights: Vec<u32> = settings
                        .endpoints
                        .iter()
                        .map(|endpoint| endpoint.weight)
                        .collect();
                    Pool {
                        settings: Arc::clone(settings),
                        balance: RoundRobin::new(&weights, worker as u64),
                        given_back: None,
                        addresses: Arc::clone(addresses),
                        places: limits
                            .iter()
                            .map(|limit| Place {
                                addresses_next: worker,
                                idle: Vec::new(),
                                passed_over_until_ms: 0,
                                limit: Arc::clone(limit),
                                waiters: VecDeque::new(),
                                promised: 0,
                            })
                            .collect(),
                    }
                },
            )
            .collect();
        Self {
            ring: ring.clone(),
            pools: RefCell::new(pools),
            tag,
            serial: std::cell::Cell::new(0),
        }
    }

    /// Takes newly resolved addresses over.
    pub fn resolved(&self, upstream: usize, addresses: Addresses) {
        if let Some(pool) = self.pools.borrow_mut().get_mut(upstream) {
            pool.addresses = addresses;
        }
    }

    /// Runs `f` with an endpoint's settings.
    pub fn with_endpoint<T>(
        &self,
        upstream: usize,
        endpoint: usize,
        f: impl FnOnce(&Endpoint) -> T,
    ) -> T {
        f(&self.pools.borrow()[upstream].settings.endpoints[endpoint])
    }

    /// How many endpoints an upstream has.
    pub fn endpoints(&self, upstream: usize) -> usize {
        self.pools.borrow()[upstream].places.len()
    }

    /// The endpoint whose turn it is. Those in `tried` are left out while others are there.
    pub fn choose(&self, upstream: usize, tried: u64) -> Result<usize, AcquireError> {
        let now_ms = self.ring.now_ms();
        let mut pools = self.pools.borrow_mut();
        let pool = &mut pools[upstream];
        let (places, addresses) = (&pool.places, &pool.addresses);
        if places.len() == 1 {
            return if addresses[0].is_empty() {
                Err(AcquireError::Unresolved)
            } else {
                Ok(0)
            };
        }
        let resolved = |index: usize| !addresses[index].is_empty();
        let untried = |index: usize| index >= 64 || tried & (1 << index) == 0;
        let reachable = |index: usize| places[index].passed_over_until_ms <= now_ms;
        pool.given_back
            .take()
            .filter(|&index| resolved(index) && untried(index) && reachable(index))
            .or_else(|| {
                pool.balance
                    .next(|index| resolved(index) && untried(index) && reachable(index))
            })
            .or_else(|| pool.balance.next(|index| resolved(index) && untried(index)))
            .or_else(|| pool.balance.next(resolved))
            .ok_or(AcquireError::Unresolved)
    }

    /// A kept connection to the endpoint whose turn it is; where there is none, its turn it stays.
    pub fn choose_idle(&self, upstream: usize) -> Option<Box<Connection>> {
        let endpoint = self.choose(upstream, 0).ok()?;
        let idle = self.take_idle(upstream, endpoint);
        if idle.is_none() {
            self.pools.borrow_mut()[upstream].given_back = Some(endpoint);
        }
        idle
    }

    /// A kept connection to an endpoint, the one used last.
    pub fn take_idle(&self, upstream: usize, endpoint: usize) -> Option<Box<Connection>> {
        self.take(upstream, endpoint, false)
    }

    fn take(&self, upstream: usize, endpoint: usize, waited: bool) -> Option<Box<Connection>> {
        let now_ms = self.ring.now_ms();
        let mut pools = self.pools.borrow_mut();
        let place = &mut pools[upstream].places[endpoint];
        // What waiters were woken for is theirs.
        if !waited && place.promised >= place.idle.len() {
            return None;
        }
        while let Some(mut connection) = place.idle.pop() {
            // A round's requests come one after the other.
            if let [.., second, next] = &*place.idle {
                prefetch(&**second);
                next.prefetch();
            }
            connection.stream().socket().attend();
            if connection.stream().socket().is_stale()
                || now_ms >= connection.idle_since_ms + connection.idle_for_ms
            {
                continue;
            }
            connection.reused = true;
            return Some(connection);
        }
        None
    }

    /// Makes a connection to an endpoint, waiting for its turn where the endpoint has its maximum.
    pub async fn connect(
        &self,
        upstream: usize,
        endpoint: usize,
    ) -> Result<Acquired, AcquireError> {
        let begun_ns = self.ring.now_ns();
        let (pool, limit, (addresses, first)) = {
            let mut pools = self.pools.borrow_mut();
            let pool = &mut pools[upstream];
            let all = &pool.addresses[endpoint];
            let place = &mut pool.places[endpoint];
            if all.is_empty() {
                return Err(AcquireError::Unresolved);
            }
            let first = place.addresses_next;
            place.addresses_next = first.wrapping_add(1);
            (
                pool.settings.pool,
                Arc::clone(&place.limit),
                (Arc::clone(&pool.addresses), first),
            )
        };
        let permit = if pool.max_connections == 0 {
            None
        } else {
            let until_ms = self.ring.now_ms() + pool.queue_timeout.as_millis() as u64;
            let mut wanted = None;
            loop {
                if wanted.is_some()
                    && let Some(connection) = self.take(upstream, endpoint, true)
                {
                    let queue = Some(Duration::from_nanos(self.ring.now_ns() - begun_ns));
                    return Ok(Acquired {
                        connection,
                        connect: None,
                        queue,
                    });
                }
                let took = limit
                    .open
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                        (open < pool.max_connections).then_some(open + 1)
                    });
                if took.is_ok() {
                    break;
                }
                if wanted.is_none() {
                    limit.wanted.fetch_add(1, Ordering::Relaxed);
                    wanted = Some(Wanted(Arc::clone(&limit)));
                }
                if self.ring.now_ms() >= until_ms {
                    return Err(AcquireError::QueueTimeout);
                }
                self.wait(
                    upstream,
                    endpoint,
                    until_ms.min(self.ring.now_ms() + QUEUE_LOOK_MS),
                )
                .await;
            }
            Some(Permit(limit))
        };
        let queued_ns = self.ring.now_ns();
        // A name's addresses are one endpoint: one that refuses is no reason to fail while another may not.
        let all = &addresses[endpoint];
        let mut opened = Err(AcquireError::Unresolved);
        let until_ms = self.ring.now_ms() + pool.connect_timeout.as_millis() as u64;
        for turn in 0..all.len().min(ADDRESSES_TRIED_MAX) {
            let address = all[first.wrapping_add(turn) % all.len()];
            opened = self.open(address, until_ms).await;
            if opened.is_ok() || self.ring.now_ms() >= until_ms {
                break;
            }
        }
        let socket = opened.inspect_err(|_| {
            let mut pools = self.pools.borrow_mut();
            pools[upstream].places[endpoint].passed_over_until_ms =
                self.ring.now_ms() + PASSED_OVER_MS;
        })?;
        let connection = Box::new(Connection::new(
            &self.ring,
            Stream::new(socket),
            upstream,
            endpoint,
            &pool,
            permit,
        ));
        Ok(Acquired {
            connection,
            connect: Some(Duration::from_nanos(self.ring.now_ns() - queued_ns)),
            queue: (pool.max_connections > 0).then(|| Duration::from_nanos(queued_ns - begun_ns)),
        })
    }

    /// Waits for a connection to be put back, or until the time given: other workers' ends are not told.
    async fn wait(&self, upstream: usize, endpoint: usize, until_ms: u64) {
        let timer = Timer::new(&self.ring);
        timer.set(until_ms);
        let ticket = self.serial.get();
        self.serial.set(ticket.wrapping_add(1));
        let mut queued = false;
        std::future::poll_fn(|cx| {
            let mut pools = self.pools.borrow_mut();
            let place = &mut pools[upstream].places[endpoint];
            let at = place.waiters.iter().position(|(other, _)| *other == ticket);
            match at {
                None if queued => {
                    place.promised = place.promised.saturating_sub(1);
                    return Poll::Ready(());
                }
                None => {
                    queued = true;
                    place.waiters.push_back((ticket, cx.waker().clone()));
                }
                Some(at) => {
                    if timer.poll(cx).is_ready() {
                        place.waiters.remove(at);
                        return Poll::Ready(());
                    }
                    place.waiters[at].1.clone_from(cx.waker());
                }
            }
            timer.poll(cx)
        })
        .await;
    }

    async fn open(&self, address: SocketAddr, until_ms: u64) -> Result<Socket, AcquireError> {
        let mut connect =
            Box::pin(Connect::new(&self.ring, address).map_err(AcquireError::Connect)?);
        let timer = Timer::new(&self.ring);
        timer.set(until_ms);
        let fd = std::future::poll_fn(|cx| match connect.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(result.map_err(AcquireError::Connect)),
            Poll::Pending => timer.poll(cx).map(|()| Err(AcquireError::ConnectTimeout)),
        })
        .await?;
        Ok(Socket::new(&self.ring, fd, Group::Large))
    }

    /// Puts a connection back once its exchange is complete; one that cannot be used again is closed.
    pub fn put_back(&self, mut connection: Box<Connection>, keep_alive_s: Option<u32>) {
        let mut pools = self.pools.borrow_mut();
        let pool = &mut pools[connection.upstream];
        let settings = pool.settings.pool;
        let place = &mut pool.places[connection.endpoint];
        let wanted = settings.max_connections > 0
            && place.limit.wanted.load(Ordering::Relaxed) > place.idle.len();
        if !connection.is_reusable() || settings.idle_max == 0 {
            return;
        }
        // Another worker waits for a connection this one would keep: give the share up. Unless it is ours that waits.
        if wanted
            && place.limit.open.load(Ordering::Relaxed) >= settings.max_connections
            && !place.idle.is_empty()
        {
            return;
        }
        if place.idle.len() >= settings.idle_max {
            place.idle.remove(0);
        }
        let mut idle_for = settings.idle_timeout.as_millis() as u64;
        if let Some(seconds) = keep_alive_s {
            // A second earlier than the origin: its clock starts before ours.
            idle_for = idle_for.min(u64::from(seconds).saturating_sub(1) * 1000);
        }
        connection.idle_since_ms = self.ring.now_ms();
        connection.idle_for_ms = idle_for;
        let serial = self.serial.get();
        self.serial.set(serial.wrapping_add(1));
        connection.serial = serial;
        let tag = (self.tag << 56)
            | ((connection.upstream as u64 & 0xfff) << 44)
            | ((connection.endpoint as u64 & 0xfff) << 32)
            | u64::from(serial);
        connection.leave(tag);
        place.idle.push(connection);
        if let Some((_, waiter)) = place.waiters.pop_front() {
            place.promised += 1;
            waiter.wake();
        }
    }

    /// An idle connection reported something: the origin closed it, or sent what nobody asked for. Either way it goes.
    pub fn unattended(&self, tag: u64) {
        let (upstream, endpoint) = ((tag >> 44) as usize & 0xfff, (tag >> 32) as usize & 0xfff);
        let mut pools = self.pools.borrow_mut();
        let Some(place) = pools
            .get_mut(upstream)
            .and_then(|pool| pool.places.get_mut(endpoint))
        else {
            return;
        };
        if let Some(index) = place
            .idle
            .iter()
            .position(|connection| connection.serial == tag as u32)
        {
            place.idle.remove(index);
        }
    }

    /// Closes connections that were idle too long, and those that other workers wait for.
    pub fn sweep(&self) {
        let now_ms = self.ring.now_ms();
        for pool in self.pools.borrow_mut().iter_mut() {
            let limited = pool.settings.pool.max_connections > 0;
            for place in &mut pool.places {
                place.idle.retain(|connection| {
                    now_ms < connection.idle_since_ms + connection.idle_for_ms
                });
                if limited
                    && place.limit.wanted.load(Ordering::Relaxed) > 0
                    && !place.idle.is_empty()
                {
                    place.idle.remove(0);
                }
            }
        }
    }

    /// Closes every idle connection.
    pub fn clear(&self) {
        for pool in self.pools.borrow_mut().iter_mut() {
            for place in &mut pool.places {
                place.idle.clear();
            }
        }
    }
}
