//! One worker's connections to every upstream: kept, made, counted.
//!
//! An idle connection is data, not a task: its socket listens by itself and reports when the origin closes it.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::balance::RoundRobin;
use super::connection::Connection;
use super::queue::{Grant, Limit, Permit, Queue};
use super::resolve::Addresses;
use super::settings::{Endpoint, Settings};
use crate::ring::{Connect, Group, Ring, Socket, Timer, prefetch};
use crate::transport::Stream;

/// How long an endpoint that could not be reached is passed over while others are there.
const PASSED_OVER_MS: u64 = 1000;

/// Addresses of one name tried before its endpoint counts as unreachable.
const ADDRESSES_TRIED_MAX: usize = 3;

/// Idle for this long, a connection is closed where another worker's requests wait for one.
const UNUSED_MS: u64 = 200;

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
    queue: Rc<Queue>,
}

struct Pool {
    settings: Arc<Settings>,
    balance: RoundRobin,
    /// An endpoint whose turn it was and that was given back: the next choice.
    given_back: Option<usize>,
    addresses: Addresses,
    places: Vec<Place>,
}

/// What waiting in a queue brought.
enum Turned {
    Connection(Box<Connection>),
    Permit(Permit),
}

/// Every upstream's pool on one worker.
pub struct Pools {
    ring: Ring,
    pools: RefCell<Vec<Pool>>,
    tags: Tags,
    serial: std::cell::Cell<u32>,
    /// What requests without a task were given, which waited for it: by the tags they wait by.
    told: RefCell<Vec<(u64, Grant)>>,
}

/// Top bytes of what a worker's pools have reported.
#[derive(Debug, Clone, Copy)]
pub struct Tags {
    /// An idle connection: for [`Pools::unattended`].
    pub idle: u64,
    /// Requests that wait: for [`Pools::look`].
    pub queue: u64,
    /// Some of them were given something: [`Pools::take_told`] has it.
    pub told: u64,
}

/// A kept connection, or none.
pub enum Choice {
    /// One to the endpoint whose turn it was.
    Kept(Box<Connection>),
    /// That endpoint has its maximum, and all are in use.
    Full(usize),
    /// One has to be opened; the endpoint's turn it stays.
    Open,
}

impl Pools {
    /// Empty pools of worker `worker`.
    pub fn new(ring: &Ring, upstreams: &[Known], worker: usize, tags: Tags) -> Self {
        let pools = upstreams
            .iter()
            .enumerate()
            .map(
                |(
                    upstream,
                    Known {
                        settings,
                        addresses,
                        limits,
                    },
                )| {
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
                            .enumerate()
                            .map(|(endpoint, limit)| Place {
                                addresses_next: worker,
                                idle: Vec::new(),
                                passed_over_until_ms: 0,
                                queue: Queue::new(
                                    ring,
                                    limit,
                                    worker,
                                    place_tag(tags.queue, upstream, endpoint),
                                ),
                            })
                            .collect(),
                    }
                },
            )
            .collect();
        Self {
            ring: ring.clone(),
            pools: RefCell::new(pools),
            tags,
            serial: std::cell::Cell::new(0),
            told: RefCell::default(),
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

    /// Whether an endpoint has a maximum of connections.
    pub fn is_limited(&self, upstream: usize, endpoint: usize) -> bool {
        self.pools.borrow()[upstream].places[endpoint]
            .queue
            .is_limited()
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

    /// A kept connection to the endpoint whose turn it is. Where there is none and it does not have its maximum, or the
    /// request may not wait without a task, its turn it stays.
    pub fn choose_kept(&self, upstream: usize, may_wait: bool) -> Choice {
        let Ok(endpoint) = self.choose(upstream, 0) else {
            return Choice::Open;
        };
        if let Some(connection) = self.take_idle(upstream, endpoint) {
            return Choice::Kept(connection);
        }
        let pool = &mut self.pools.borrow_mut()[upstream];
        if may_wait && pool.places[endpoint].queue.is_full() {
            return Choice::Full(endpoint);
        }
        pool.given_back = Some(endpoint);
        Choice::Open
    }

    /// A kept connection to an endpoint, the one used last.
    pub fn take_idle(&self, upstream: usize, endpoint: usize) -> Option<Box<Connection>> {
        let now_ms = self.ring.now_ms();
        let mut pools = self.pools.borrow_mut();
        let place = &mut pools[upstream].places[endpoint];
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
            return Some(connection);
        }
        None
    }

    /// Has a request wait for a connection that has no task: it is told of it by `tag`, as [`Pools::take_told`] says.
    /// Returns until when, in milliseconds of the reactor's clock.
    pub fn wait(&self, upstream: usize, endpoint: usize, tag: u64) -> u64 {
        let pool = &self.pools.borrow()[upstream];
        let timeout_ms = pool.settings.pool.queue_timeout.as_millis() as u64;
        let until_ms = self.ring.now_ms() + timeout_ms;
        pool.places[endpoint].queue.wait(tag, until_ms);
        until_ms
    }

    /// Makes a connection to an endpoint, waiting for its turn where the endpoint has its maximum. A request that has had
    /// its turn, or was given it, waits since `since_ns` of the reactor's clock, and behind nobody.
    pub async fn connect(
        &self,
        upstream: usize,
        endpoint: usize,
        since_ns: Option<u64>,
    ) -> Result<Acquired, AcquireError> {
        let (pool, queue, (addresses, first)) = {
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
                Rc::clone(&place.queue),
                (Arc::clone(&pool.addresses), first),
            )
        };
        let (permit, waited) = if queue.is_limited() {
            let may_open = since_ns.is_some() || !queue.is_full();
            let since_ns = since_ns.unwrap_or_else(|| self.ring.now_ns());
            let until_ms = since_ns / 1_000_000 + pool.queue_timeout.as_millis() as u64;
            let turned = self.queue(&queue, may_open, until_ms).await?;
            let waited = Duration::from_nanos(self.ring.now_ns() - since_ns);
            match turned {
                Turned::Connection(connection) => {
                    return Ok(Acquired {
                        connection,
                        connect: None,
                        queue: Some(waited),
                    });
                }
                Turned::Permit(permit) => (Some(permit), Some(waited)),
            }
        } else {
            (None, None)
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
            queue: waited,
        })
    }

    /// Waits in an endpoint's queue; `may_open`: not before it was looked whether there is room.
    async fn queue(
        &self,
        queue: &Rc<Queue>,
        mut may_open: bool,
        until_ms: u64,
    ) -> Result<Turned, AcquireError> {
        loop {
            if may_open && let Some(permit) = queue.permit() {
                return Ok(Turned::Permit(permit));
            }
            if self.ring.now_ms() >= until_ms {
                return Err(AcquireError::QueueTimeout);
            }
            let timer = Timer::new(&self.ring);
            timer.set(until_ms);
            let waiting = queue.wait_in_task(until_ms);
            let grant = std::future::poll_fn(|cx| match waiting.poll(cx) {
                Poll::Ready(grant) => Poll::Ready(grant),
                Poll::Pending => timer.poll(cx).map(|()| None),
            })
            .await;
            if let Some(connection) = grant {
                return Ok(Turned::Connection(connection));
            }
            may_open = true;
        }
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
        let spare = !place.idle.is_empty();
        if !connection.is_reusable() || settings.idle_max == 0 || place.queue.leave_to_others(spare)
        {
            return;
        }
        let mut idle_for = settings.idle_timeout.as_millis() as u64;
        if let Some(seconds) = keep_alive_s {
            // A second earlier than the origin: its clock starts before ours.
            idle_for = idle_for.min(u64::from(seconds).saturating_sub(1) * 1000);
        }
        connection.idle_for_ms = idle_for;
        connection.reused = true;
        connection.rest();
        self.keep(place, settings.idle_max, connection);
    }

    /// Gives a connection back that was not needed after all.
    pub fn give_back(&self, connection: Box<Connection>) {
        let mut pools = self.pools.borrow_mut();
        let pool = &mut pools[connection.upstream];
        let idle_max = pool.settings.pool.idle_max;
        self.keep(&mut pool.places[connection.endpoint], idle_max, connection);
    }

    fn keep(&self, place: &mut Place, idle_max: usize, connection: Box<Connection>) {
        let mut told = self.told.borrow_mut();
        let nobody = told.is_empty();
        let Some(mut connection) = place.queue.give(connection, &mut told) else {
            if nobody && !told.is_empty() {
                self.ring.report(self.tags.told << 56);
            }
            return;
        };
        if place.idle.len() >= idle_max {
            place.idle.remove(0);
        }
        connection.idle_since_ms = self.ring.now_ms();
        let serial = self.serial.get();
        self.serial.set(serial.wrapping_add(1));
        connection.serial = serial;
        let tag = place_tag(self.tags.idle, connection.upstream, connection.endpoint);
        connection.leave(tag | u64::from(serial));
        place.idle.push(connection);
    }

    /// Somebody waits for a connection, and one may have become possible.
    pub fn look(&self, tag: u64) {
        let (upstream, endpoint) = place_of(tag);
        let mut told = self.told.borrow_mut();
        if let Some(place) = self
            .pools
            .borrow()
            .get(upstream)
            .and_then(|pool| pool.places.get(endpoint))
        {
            place.queue.look(&mut told);
        }
        if !told.is_empty() {
            self.ring.report(self.tags.told << 56);
        }
    }

    /// Swaps out what requests without a task were given.
    pub fn take_told(&self, told: &mut Vec<(u64, Grant)>) {
        std::mem::swap(&mut *self.told.borrow_mut(), told);
    }

    /// An idle connection reported something: the origin closed it, or sent what nobody asked for. Either way it goes.
    pub fn unattended(&self, tag: u64) {
        let (upstream, endpoint) = place_of(tag);
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
            for place in &mut pool.places {
                let surplus = place.queue.surplus();
                place.idle.retain(|connection| {
                    let idle_ms = now_ms - connection.idle_since_ms;
                    let unused = surplus.is_some() && idle_ms >= UNUSED_MS;
                    idle_ms < connection.idle_for_ms && !unused
                });
                let surplus = place.queue.surplus().unwrap_or(0);
                place.idle.drain(..surplus.min(place.idle.len()));
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

/// The first 32 bits of a tag: whose it is, and of which place.
fn place_tag(top: u64, upstream: usize, endpoint: usize) -> u64 {
    (top << 56) | ((upstream as u64 & 0xfff) << 44) | ((endpoint as u64 & 0xfff) << 32)
}

fn place_of(tag: u64) -> (usize, usize) {
    ((tag >> 44) as usize & 0xfff, (tag >> 32) as usize & 0xfff)
}
