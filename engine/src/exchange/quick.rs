//! The short way of most exchanges: two calls and no task.
//!
//! A request that is all there and finds a kept connection is sent at once; an answer that comes in one piece is passed on
//! at once. Between the two nothing is kept but a [`Pending`]. Where the endpoint has its maximum of connections, a third
//! call sends the request when one is free. Whatever is not so simple goes on in a task: `serve` from the request,
//! [`resume`] from the wait for the answer. Both ways take the same steps, those of `forward`.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringway_protocol::{BodyFraming, Method, Upgrade, Version};

use super::forward::{Exchange, Run};
use super::record::{Outcome, Remembered};
use super::{Client, Peer, Services};
use crate::ring::{Lease, Timer, prefetch};
use crate::route::{Action, Match};
use crate::transport::Stream;
use crate::upstream::{Choice, Connection};

/// Spare ones kept; more are in use only while a crowd waits.
const SPARE_KEPT: usize = 1024;

/// Bytes of a head for which a spare one keeps memory.
const SPARE_BYTES_KEPT: usize = 4096;

/// A request that was sent whole and whose answer has not come, or that waits for a connection to be sent on.
#[derive(Default)]
pub struct Pending {
    /// Its connection; `None` while it waits for one, and in a spare one.
    connection: Option<Box<Connection>>,
    /// The request as it was received, should it be served in a task instead; empty unless it waits or has waited.
    received: Vec<u8>,
    /// Since when it has waited; after that, how long it did.
    queued_ns: u64,
    /// Index of its route.
    route: usize,
    method: Method,
    version: Version,
    keep_alive: bool,
    sent_ns: u64,
    route_deadline_ms: u64,
    /// As in [`Exchange`].
    out: Vec<u8>,
    remembered: Remembered,
}

/// Sends a request whose head takes `length` bytes of `lease`, if that takes no waiting, or has it wait for a connection
/// where the endpoint has its maximum; what comes of it is reported by `tag`, and the client's timer is set. Else nothing
/// was done, and the lease is given back.
pub fn begin<C: Client>(
    services: &Services,
    exchange: &mut Exchange,
    client: &mut C,
    lease: Lease,
    length: usize,
    peer: &Peer<'_>,
    tag: u64,
) -> Result<Box<Pending>, Lease> {
    let request = &exchange.request;
    let body = (lease.len() - length) as u64;
    let whole = match request.framing {
        BodyFraming::None => body == 0,
        BodyFraming::Length(length) => body == length && (body == 0 || !request.expect_continue),
        BodyFraming::Chunked | BodyFraming::UntilClose => false,
    };
    if !whole || request.upgrade != Upgrade::None {
        return Err(lease);
    }
    let bytes = lease.bytes();
    let (host, path) = (request.host_name(bytes), request.path(bytes));
    let method = request.method_bytes(bytes);
    let Match::Found(route) = services.table.find(host, path, method) else {
        return Err(lease);
    };
    let Action::Forward {
        upstream,
        preserve_host,
        rewrite,
    } = &route.action
    else {
        return Err(lease);
    };
    let mut outcome = Outcome::default();
    let mut run = Run::new(services, exchange, client, peer, &mut outcome);
    let limit = run.body_limit(Some(route));
    if limit > 0 && body > limit {
        return Err(lease);
    }
    let (mut connection, endpoint) = match services.pools.choose_kept(*upstream, body == 0) {
        Choice::Kept(connection) => {
            let endpoint = connection.endpoint;
            (Some(connection), endpoint)
        }
        Choice::Full(endpoint) => (None, endpoint),
        Choice::Open => return Err(lease),
    };
    run.enter(route);
    run.client.begin_body(run.exchange.request.framing, limit);
    run.name(bytes);
    let written = run.write_head(
        route,
        *upstream,
        endpoint,
        *preserve_host,
        rewrite,
        false,
        &lease,
        length,
    );
    let mut pending = services.spare.borrow_mut().pop().unwrap_or_default();
    let sent = match (written, &mut connection) {
        (Ok(()), Some(connection)) => {
            run.take_along(&lease, length);
            run.outgoing(Some(lease)).map(|head| {
                run.send(connection, head);
                let deadline_ms = services.ring.now_ms() + connection.head_timeout_ms;
                run.set_timer(deadline_ms, !peer.first);
                connection.leave(tag);
                pending.sent_ns = services.ring.now_ns();
            })
        }
        (Ok(()), None) => {
            pending.received.extend_from_slice(lease.bytes());
            pending.queued_ns = services.ring.now_ns();
            run.set_timer(services.pools.wait(*upstream, endpoint, tag), true);
            Ok(())
        }
        (Err(_), _) => Err(Some(lease)),
    };
    let route_deadline_ms = run.route_deadline_ms;
    if let Err(lease) = sent {
        give_back(services, pending);
        if let Some(connection) = connection {
            services.pools.give_back(connection);
        }
        return Err(lease.expect("it is the one passed in"));
    }
    pending.connection = connection;
    pending.route = route.index;
    pending.method = exchange.request.method;
    pending.version = exchange.request.version;
    pending.keep_alive = exchange.request.keep_alive;
    pending.route_deadline_ms = route_deadline_ms;
    std::mem::swap(&mut pending.out, &mut exchange.out);
    std::mem::swap(&mut pending.remembered, &mut exchange.remembered);
    Ok(pending)
}

impl Pending {
    /// Has what it goes on with at hand: its connection, or the head to be sent.
    pub fn prefetch(&self) {
        match &self.connection {
            Some(connection) => prefetch(&**connection),
            None => prefetch(&self.out[..]),
        }
    }

    /// Whether it waits for a connection.
    pub fn is_waiting(&self) -> bool {
        self.connection.is_none()
    }

    /// Sends it on a connection it has waited for; as `begin` does. An error gives that back: no memory is left.
    pub fn send(
        &mut self,
        services: &Services,
        mut connection: Box<Connection>,
        timer: &Timer,
        tag: u64,
    ) -> Result<(), Box<Connection>> {
        let Some(mut head) = services.ring.lease(self.out.len()) else {
            return Err(connection);
        };
        head.append(&self.out);
        let stats = services.stats.upstream(connection.upstream);
        stats.reused.increment();
        connection.send_head(head, BodyFraming::None);
        connection.leave(tag);
        let now_ms = services.ring.now_ms();
        timer.set((now_ms + connection.head_timeout_ms).min(self.route_deadline_ms));
        self.sent_ns = services.ring.now_ns();
        self.queued_ns = self.sent_ns - self.queued_ns;
        self.connection = Some(connection);
        Ok(())
    }

    /// Has what waits for a connection served from the start, by `serve`: the stream gets its bytes back. False: no memory
    /// is left for them.
    pub fn undo(
        self: Box<Self>,
        services: &Services,
        exchange: &mut Exchange,
        stream: &mut Stream,
    ) -> bool {
        exchange.queued_ns = Some(self.queued_ns);
        exchange.remembered.begun_ns = self.remembered.begun_ns;
        let lease = services.ring.lease(self.received.len());
        let had = lease.is_some();
        if let Some(mut lease) = lease {
            lease.append(&self.received);
            stream.put_back(lease);
        }
        give_back(services, self);
        had
    }

    /// The request's version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Hands everything to a `Run` that goes on with it.
    fn take_up<C: Client>(&mut self, run: &mut Run<'_, C>) -> Option<Box<Connection>> {
        let connection = self.connection.take()?;
        let exchange = &mut *run.exchange;
        exchange.request.reset();
        exchange.request.method = self.method;
        exchange.request.version = self.version;
        exchange.request.keep_alive = self.keep_alive;
        std::mem::swap(&mut self.out, &mut exchange.out);
        std::mem::swap(&mut self.remembered, &mut exchange.remembered);
        run.client.begin_body(BodyFraming::None, 0);
        run.route_deadline_ms = self.route_deadline_ms;
        let outcome = &mut *run.outcome;
        outcome.route = Some(self.route);
        outcome.endpoint = Some((connection.upstream, connection.endpoint));
        outcome.sent(connection.reused);
        if !self.received.is_empty() {
            outcome.phases.queue = Some(Duration::from_nanos(self.queued_ns));
        }
        Some(connection)
    }
}

/// Passes an answer on that is all there, if it is no longer than `bytes_max`. Else nothing was done, and [`resume`] goes on.
pub fn complete<C: Client>(
    services: &Services,
    exchange: &mut Exchange,
    client: &mut C,
    mut pending: Box<Pending>,
    peer: &Peer<'_>,
    bytes_max: usize,
) -> Result<Outcome, Box<Pending>> {
    let Some(connection) = &mut pending.connection else {
        return Err(pending);
    };
    connection.attend();
    exchange.response.reset();
    let cx = Context::from_waker(Waker::noop());
    let response = &mut exchange.response;
    let Poll::Ready(Ok(length)) = connection.poll_head(&cx, pending.method, response) else {
        return Err(pending);
    };
    if response.status < 200
        || !connection.has_whole_answer(length, response.framing)
        || connection.received().len() > bytes_max
    {
        return Err(pending);
    }
    let (sent_ns, route) = (pending.sent_ns, &services.table.routes()[pending.route]);
    let mut outcome = Outcome::default();
    let mut run = Run::new(services, exchange, client, peer, &mut outcome);
    let Some(mut connection) = pending.take_up(&mut run) else {
        return Err(pending);
    };
    match run.pass_head(route, &mut connection, length, sent_ns, false) {
        Ok(_) => run.release(connection),
        Err(failure) => run.fail(failure),
    }
    give_back(services, pending);
    Ok(outcome)
}

/// Goes on with what has waited for its answer so far.
pub async fn resume<C: Client>(
    services: &Services,
    exchange: &mut Exchange,
    client: &mut C,
    mut pending: Box<Pending>,
    peer: &Peer<'_>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut run = Run::new(services, exchange, client, peer, &mut outcome);
    let (sent_ns, route) = (pending.sent_ns, &services.table.routes()[pending.route]);
    if let Some(connection) = pending.take_up(&mut run) {
        give_back(services, pending);
        connection.attend();
        if let Err(failure) = run.finish(route, connection, sent_ns, true).await {
            run.fail(failure);
        }
    }
    outcome
}

fn give_back(services: &Services, mut pending: Box<Pending>) {
    for bytes in [&mut pending.out, &mut pending.received] {
        bytes.clear();
        bytes.shrink_to(SPARE_BYTES_KEPT);
    }
    let mut spare = services.spare.borrow_mut();
    if spare.len() < SPARE_KEPT {
        spare.push(pending);
    }
}
