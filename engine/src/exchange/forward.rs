//! A request's way: route, upstream, head, answer.
//!
//! Invariant: a request is sent a second time only when the first sending cannot have had an effect, or when its method
//! says that twice is as good as once (RFC 9110 §9.2.2).

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use ringway_protocol::h1::encode::{self, ConnectionField, SimpleResponse, Target};
use ringway_protocol::policy::{edit_request, edit_response};
use ringway_protocol::{
    BodyFraming, Edits, FieldId, Forwarding, HostPolicy, RequestHead, ResponseHead, Upgrade,
    Version,
};

use super::failure::Failure;
use super::record::{Outcome, Remembered};
use super::relay::relay;
use super::tunnel::tunnel;
use super::watch::Watch;
use super::{Client, Patience, Peer, Respond, Services};
use crate::message::{Pump, PumpError};
use crate::observe::Retry;
use crate::ring::{Lease, Ring};
use crate::route::{Action, FieldEdits, Match, Rewrite, Route, rewrite};
use crate::upstream::{AcquireError, Acquired, Connection, OriginError};

/// 1xx responses passed on for one request; beyond it the origin is refused.
const INFORMATIONAL_MAX: u32 = 32;

/// Bytes of an unread request body that are taken in before an answer of our own, so that the connection can be kept.
const DISCARD_BYTES_MAX: u64 = 64 * 1024;

/// Endpoints a request tries to connect to.
const CONNECT_ATTEMPTS_MAX: u32 = 3;

/// After this long without an answer, a first request's client is watched for going away. Before, arming a receive
/// just for that would cost every short connection an operation.
const WATCH_AFTER_MS: u64 = 64;

/// What one exchange works with; reused from one to the next.
#[derive(Default)]
pub struct Exchange {
    /// The request's head.
    pub request: RequestHead,
    /// The response's head.
    pub response: ResponseHead,
    /// What is kept for the log.
    pub remembered: Remembered,
    /// The request's head as sent to the origin, kept until the answer's first byte for a second sending.
    pub(super) out: Vec<u8>,
    prefix: Vec<u8>,
    /// Since when the request has waited for a connection already.
    pub queued_ns: Option<u64>,
}

/// Serves one request whose head takes `length` bytes of `lease`. `begun` in `exchange.remembered`.
pub async fn serve<C: Client>(
    services: &Services,
    exchange: &mut Exchange,
    client: &mut C,
    lease: Lease,
    length: usize,
    peer: &Peer<'_>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut run = Run::new(services, exchange, client, peer, &mut outcome);
    if let Err(failure) = run.route(lease, length).await {
        run.fail(failure);
    }
    outcome
}

pub(super) struct Run<'a, C> {
    pub(super) services: &'a Services,
    pub(super) exchange: &'a mut Exchange,
    pub(super) client: &'a mut C,
    pub(super) peer: &'a Peer<'a>,
    pub(super) outcome: &'a mut Outcome,
    pub(super) route_deadline_ms: u64,
    /// Moves the request's body, before the answer and beside it.
    up: Pump,
}

/// What waiting for the answer brought.
enum Event {
    Head(Result<usize, OriginError>),
    Failed(Failure),
    Sent,
    Timer,
}

/// The request's body, while the answer's head is awaited.
enum Upload {
    /// There is none, or all of it was sent.
    Done,
    /// It waits for a 100 (RFC 9110 §10.1.1).
    Held,
    /// It is on its way.
    Going(Watch),
}

impl Upload {
    fn begin<C: Client>(
        ring: &Ring,
        patience: Patience,
        client: &mut C,
        connection: &mut Connection,
    ) -> Self {
        Self::Going(Watch::new(
            ring,
            patience,
            client.stream(),
            connection.stream(),
        ))
    }
}

impl<'a, C: Client> Run<'a, C> {
    pub(super) fn new(
        services: &'a Services,
        exchange: &'a mut Exchange,
        client: &'a mut C,
        peer: &'a Peer<'a>,
        outcome: &'a mut Outcome,
    ) -> Self {
        Self {
            services,
            exchange,
            client,
            peer,
            outcome,
            route_deadline_ms: u64::MAX,
            up: Pump::default(),
        }
    }

    async fn route(&mut self, lease: Lease, length: usize) -> Result<(), Failure> {
        let services = self.services;
        let bytes = lease.bytes();
        self.name(bytes);
        let head = &self.exchange.request;
        let (host, path) = (head.host_name(bytes), head.path(bytes));
        let found = services.table.find(host, path, head.method_bytes(bytes));
        let route = match found {
            Match::Found(route) => route,
            Match::NotFound => {
                self.client.begin_body(self.exchange.request.framing, 0);
                let mut lease = lease;
                lease.advance(length);
                self.client.stream().put_back(lease);
                return Err(Failure::NoRoute);
            }
            Match::MethodNotAllowed { allow } => {
                let allow = allow.to_string();
                return self
                    .respond(
                        lease,
                        length,
                        405,
                        &text_of(405),
                        &[(b"allow", allow.as_bytes())],
                    )
                    .await;
            }
        };
        self.enter(route);
        let head = &self.exchange.request;
        match &route.action {
            Action::Forward {
                upstream,
                preserve_host,
                rewrite,
            } => {
                self.forward(route, *upstream, *preserve_host, rewrite, lease, length)
                    .await
            }
            Action::Respond { status, body } => {
                let (status, body) = (*status, body.as_bytes());
                self.respond(lease, length, status, body, &[]).await
            }
            Action::Redirect { to, status } => {
                let location = redirect_to(to, head.path(bytes), head.query(bytes));
                self.respond(lease, length, *status, &[], &[(b"location", &location)])
                    .await
            }
            Action::Builtin => {
                let body = built_in(head, bytes, self.peer.text);
                self.respond(lease, length, 200, body.as_bytes(), &[]).await
            }
        }
    }

    /// The request is this route's from now on.
    pub(super) fn enter(&mut self, route: &Route) {
        self.outcome.route = Some(route.index);
        if let Some(timeout) = route.timeout {
            let begun_ns = self.exchange.queued_ns;
            let begun_ms = begun_ns.unwrap_or_else(|| self.services.ring.now_ns()) / 1_000_000;
            self.route_deadline_ms = begun_ms + timeout.as_millis() as u64;
        }
    }

    /// Sets the client's timer for the wait for an answer; not `keen`: it is to be looked whether the client is still there.
    pub(super) fn set_timer(&self, deadline_ms: u64, keen: bool) {
        let until_ms = deadline_ms.min(self.route_deadline_ms);
        self.peer.timer.set(if keen {
            until_ms
        } else {
            until_ms.min(self.services.ring.now_ms() + WATCH_AFTER_MS)
        });
    }

    /// Gives the request its id: a trusted client's own, or a new one.
    pub(super) fn name(&mut self, bytes: &[u8]) {
        let Exchange {
            request,
            remembered,
            ..
        } = &mut *self.exchange;
        match request.fields.only(FieldId::RequestId, bytes) {
            Some(id) if self.peer.trusted => remembered.request_id.extend_from_slice(id),
            _ => remembered
                .request_id
                .extend_from_slice(&self.services.ids.borrow_mut().next_id()),
        }
    }

    /// Answers by ourselves, after taking in a request body that is short.
    async fn respond(
        &mut self,
        mut lease: Lease,
        length: usize,
        status: u16,
        body: &[u8],
        fields: &[(&[u8], &[u8])],
    ) -> Result<(), Failure> {
        let framing = self.exchange.request.framing;
        let limit = self.body_limit(None);
        lease.advance(length);
        self.client.stream().put_back(lease);
        self.client.begin_body(framing, limit);
        let short = matches!(framing, BodyFraming::Length(length) if length <= DISCARD_BYTES_MAX);
        if short && !self.exchange.request.expect_continue {
            self.peer
                .timer
                .set(self.services.ring.now_ms() + self.peer.patience.body_idle_ms);
            let (client, timer) = (&mut *self.client, self.peer.timer);
            poll_fn(|cx| {
                while !client.is_ended() {
                    match client.poll_part(cx) {
                        Poll::Ready(Ok(_)) => {}
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::from(error))),
                        Poll::Pending => {
                            return timer.poll(cx).map(|()| Err(Failure::RequestBodyTimeout));
                        }
                    }
                }
                Poll::Ready(Ok(()))
            })
            .await?;
        }
        self.answer(status, body, fields);
        Ok(())
    }

    pub(super) fn body_limit(&self, route: Option<&Route>) -> u64 {
        route
            .and_then(|route| route.body_bytes)
            .unwrap_or(self.peer.patience.body_bytes)
    }

    /// Whether the connection may carry another request, the body of this one being over.
    fn may_keep_alive(&self) -> bool {
        self.exchange.request.keep_alive
            && !self.peer.last
            && !self.services.draining.get()
            && self.client.is_ended()
            && !self.up.holds_bytes()
    }

    fn connection_field(&self, keep: bool) -> ConnectionField<'static> {
        match (keep, self.exchange.request.version) {
            (false, _) => ConnectionField::Close,
            (true, Version::H10) => ConnectionField::KeepAlive10,
            (true, Version::H11) => ConnectionField::KeepAliveImplied,
        }
    }

    fn answer(&mut self, status: u16, body: &[u8], fields: &[(&[u8], &[u8])]) {
        let keep = self.may_keep_alive();
        self.outcome.keep_alive = keep;
        self.outcome.linger = !self.client.is_ended();
        self.outcome.status = status;
        let head_only = self.exchange.request.method == ringway_protocol::Method::Head;
        self.outcome.bytes = if head_only { 0 } else { body.len() as u64 };
        let connection = self.connection_field(keep);
        let client = &mut *self.client;
        self.services.with_date(|date| {
            client.answer(&SimpleResponse {
                status,
                content_type: if body.is_empty() {
                    b""
                } else {
                    b"text/plain; charset=utf-8"
                },
                body,
                fields,
                connection,
                date,
                head_only,
            });
        });
    }

    /// Ends an exchange that failed: with an error page while the client has seen nothing, else by an abort.
    pub(super) fn fail(&mut self, failure: Failure) {
        self.outcome.failure = Some(failure);
        if self.outcome.status != 0 || matches!(failure, Failure::ClientGone | Failure::SlowReader)
        {
            self.outcome.keep_alive = false;
            return;
        }
        if matches!(
            failure,
            Failure::BadBody(_) | Failure::RequestBodyTimeout | Failure::EarlyTunnelBytes
        ) {
            self.exchange.request.keep_alive = false;
        }
        let status = failure.status();
        self.answer(status, &text_of(status), &[]);
    }

    async fn forward(
        &mut self,
        route: &Route,
        upstream: usize,
        preserve_host: bool,
        rewrites: &Rewrite,
        mut lease: Lease,
        length: usize,
    ) -> Result<(), Failure> {
        let services = self.services;
        let limit = self.body_limit(Some(route));
        let framing = self.exchange.request.framing;
        self.client.begin_body(framing, limit);
        if matches!(framing, BodyFraming::Length(length) if limit > 0 && length > limit) {
            return Err(Failure::BodyTooLarge);
        }
        let upgrade = self.may_upgrade(route);
        // What follows an Upgrade request before its 101 would be read as HTTP by one side and not by the other.
        if upgrade && (lease.len() > length || self.client.stream().has_more()) {
            return Err(Failure::EarlyTunnelBytes);
        }

        let acquired = self.acquire(upstream).await;
        let (mut connection, endpoint) = match acquired {
            Ok(acquired) => acquired,
            Err(failure) => return self.refuse(failure, lease, length),
        };
        let written = self.write_head(
            route,
            upstream,
            endpoint,
            preserve_host,
            rewrites,
            upgrade,
            &lease,
            length,
        );
        if let Err(failure) = written {
            return self.refuse(failure, lease, length);
        }
        let own = if self.take_along(&lease, length) {
            Some(lease)
        } else {
            lease.advance(length);
            self.client.stream().put_back(lease);
            None
        };
        let head = self.outgoing(own).map_err(|_| Failure::Overloaded)?;
        self.send(&mut connection, head);
        let sent_ns = services.ring.now_ns();
        self.finish(route, connection, sent_ns, false).await
    }

    /// A body that is all in `lease` goes along with the head: into `out`. True: nothing of the lease is left to be sent.
    pub(super) fn take_along(&mut self, lease: &Lease, length: usize) -> bool {
        let body = &lease.bytes()[length..];
        let whole = match self.exchange.request.framing {
            BodyFraming::Length(length) => length > 0 && body.len() as u64 == length,
            _ => false,
        };
        if whole {
            self.exchange.out.extend_from_slice(body);
            self.client.begin_body(BodyFraming::None, 0);
        }
        whole || body.is_empty()
    }

    /// Sends a head made by `outgoing`.
    pub(super) fn send(&mut self, connection: &mut Connection, head: Lease) {
        self.outcome.sent(connection.reused);
        if connection.reused {
            let stats = self.services.stats.upstream(connection.upstream);
            stats.reused.increment();
        }
        let body = if self.client.is_ended() {
            BodyFraming::None
        } else {
            self.exchange.request.framing
        };
        connection.send_head(head, body);
    }

    /// Waits for the answer to what was sent at `sent_ns`, sends it again where that is safe, and passes the answer on.
    pub(super) async fn finish(
        &mut self,
        route: &Route,
        mut connection: Box<Connection>,
        mut sent_ns: u64,
        keen: bool,
    ) -> Result<(), Failure> {
        let services = self.services;
        let upgrade = self.may_upgrade(route);
        // Only what is kept in `out` can be sent again: a body that was streamed is gone.
        let replayable = self.client.is_ended();
        let length = loop {
            match self.await_head(&mut connection, sent_ns, keen).await {
                Ok(length) => break length,
                Err(Failure::OriginClosed)
                    if connection.reused
                        && !connection.has_answer()
                        && self.exchange.request.method.is_idempotent()
                        && replayable
                        && self.outcome.attempts == 1 =>
                {
                    let (upstream, endpoint) = (connection.upstream, connection.endpoint);
                    let stats = services.stats.upstream(upstream);
                    stats.retried(Retry::StaleReuse);
                    // Its place among the endpoint's connections is needed for the fresh one.
                    drop(connection);
                    let now_ns = services.ring.now_ns();
                    let acquired = self.connect(upstream, endpoint, Some(now_ns)).await??;
                    stats.connects.increment();
                    connection = acquired.connection;
                    self.exchange.response.reset();
                    let head = self.outgoing(None).map_err(|_| Failure::Overloaded)?;
                    self.send(&mut connection, head);
                    sent_ns = services.ring.now_ns();
                }
                Err(failure) => return Err(failure),
            }
        };
        self.pass_answer(route, connection, length, sent_ns, upgrade)
            .await
    }

    fn may_upgrade(&self, route: &Route) -> bool {
        route.websocket && self.exchange.request.upgrade == Upgrade::Websocket
    }

    /// Fails before anything was sent: what follows the head stays the client's next bytes.
    fn refuse(&mut self, failure: Failure, mut lease: Lease, length: usize) -> Result<(), Failure> {
        lease.advance(length);
        self.client.stream().put_back(lease);
        Err(failure)
    }

    /// A connection to one of the upstream's endpoints; connecting fails over to others, since nothing was sent.
    async fn acquire(&mut self, upstream: usize) -> Result<(Box<Connection>, usize), Failure> {
        let pools = &self.services.pools;
        let stats = self.services.stats.upstream(upstream);
        let mut since_ns = self.exchange.queued_ns.take();
        let (mut tried, mut attempts) = (0u64, 0);
        loop {
            let endpoint = pools.choose(upstream, tried)?;
            self.outcome.endpoint = Some((upstream, endpoint));
            if let Some(connection) = pools.take_idle(upstream, endpoint) {
                return Ok((connection, endpoint));
            }
            match self.connect(upstream, endpoint, since_ns.take()).await? {
                Ok(acquired) => {
                    self.outcome.phases.queue = acquired.queue;
                    if let Some(took) = acquired.connect {
                        self.outcome.phases.connect = Some(took);
                        stats.connects.increment();
                        stats.connect_duration.record(took);
                    }
                    return Ok((acquired.connection, endpoint));
                }
                Err(error) => {
                    stats.connect_errors.increment();
                    attempts += 1;
                    tried |= 1u64.checked_shl(endpoint as u32).unwrap_or(0);
                    let others = pools.endpoints(upstream) > attempts as usize;
                    if !others || attempts >= CONNECT_ATTEMPTS_MAX {
                        return Err(error.into());
                    }
                    stats.retried(Retry::Connect);
                }
            }
        }
    }

    /// Connects as [`Pools::connect`](crate::upstream::Pools::connect) does, as long as the client stays and the route's time
    /// lasts.
    async fn connect(
        &mut self,
        upstream: usize,
        endpoint: usize,
        since_ns: Option<u64>,
    ) -> Result<Result<Acquired, AcquireError>, Failure> {
        let pools = &self.services.pools;
        let limited = pools.is_limited(upstream, endpoint);
        let mut connecting = pin!(pools.connect(upstream, endpoint, since_ns));
        let (client, timer) = (&mut *self.client, self.peer.timer);
        if self.route_deadline_ms < u64::MAX {
            timer.set(self.route_deadline_ms);
        } else {
            timer.clear();
        }
        poll_fn(|cx| {
            // What nobody waits for takes no place of a connection.
            if client.is_ended() && client.poll_gone(cx, limited).is_ready() {
                return Poll::Ready(Err(Failure::ClientGone));
            }
            if let Poll::Ready(acquired) = connecting.as_mut().poll(cx) {
                return Poll::Ready(Ok(acquired));
            }
            timer.poll(cx).map(|()| Err(Failure::RouteTimeout))
        })
        .await
    }

    /// Edits the head for the origin and writes it to `exchange.out`.
    #[allow(clippy::too_many_arguments, reason = "the parts of one head")]
    pub(super) fn write_head(
        &mut self,
        route: &Route,
        upstream: usize,
        endpoint: usize,
        preserve_host: bool,
        rewrites: &Rewrite,
        upgrade: bool,
        lease: &Lease,
        length: usize,
    ) -> Result<(), Failure> {
        let services = self.services;
        let bytes = &lease.bytes()[..length];
        let Exchange {
            request,
            remembered,
            out,
            prefix,
            ..
        } = &mut *self.exchange;
        let forwarding = Forwarding {
            client: self.peer.address.ip(),
            client_text: self.peer.text,
            trusted: self.peer.trusted,
            tls: false,
            request_id: &remembered.request_id,
        };
        services
            .pools
            .with_endpoint(upstream, endpoint, |endpoint| {
                let host = if preserve_host && !request.host(bytes).is_empty() {
                    HostPolicy::Preserve
                } else {
                    HostPolicy::Set(endpoint.authority.as_bytes())
                };
                edit_request(
                    request,
                    bytes,
                    &forwarding,
                    edits(&route.request_headers),
                    host,
                )
                .map_err(|_| Failure::Loop)?;
                let (added, path) = match request.path(bytes) {
                    b"*" => (&b""[..], &b"*"[..]),
                    path => rewrite(rewrites, path),
                };
                let base = endpoint.base_path.as_bytes();
                let joined = match (base, added) {
                    (b"", only) | (only, b"") => only,
                    _ => {
                        prefix.clear();
                        prefix.extend_from_slice(base);
                        prefix.extend_from_slice(added);
                        prefix
                    }
                };
                let target = Target {
                    prefix: joined,
                    path,
                    base_query: endpoint.base_query.as_bytes(),
                    query: request.query(bytes),
                };
                let connection = if upgrade {
                    ConnectionField::Upgrade(request.upgrade_protocol(bytes))
                } else {
                    ConnectionField::KeepAliveImplied
                };
                out.clear();
                encode::request_head(request, bytes, target, request.framing, connection, out);
                Ok(())
            })
    }

    /// The head in `out` in a buffer to be sent: the request's own where it is at hand and holds it. An error gives that
    /// back as it was: no memory is left for another.
    pub(super) fn outgoing(&self, own: Option<Lease>) -> Result<Lease, Option<Lease>> {
        let out = &self.exchange.out;
        let mut lease = match own {
            Some(mut own) if own.holds(out.len()) => {
                own.clear();
                own
            }
            own => self.services.ring.lease(out.len()).ok_or(own)?,
        };
        lease.append(out);
        Ok(lease)
    }

    /// Waits for the final head, passing 1xx on and the request's body out meanwhile.
    async fn await_head(
        &mut self,
        connection: &mut Connection,
        sent_ns: u64,
        keen: bool,
    ) -> Result<usize, Failure> {
        let (ring, peer) = (&self.services.ring, self.peer);
        let patience = peer.patience;
        let (head_timeout_ms, expect_timeout_ms) =
            (connection.head_timeout_ms, connection.expect_timeout_ms);
        let mut upload = if self.client.is_ended() {
            Upload::Done
        } else if self.exchange.request.expect_continue {
            Upload::Held
        } else {
            Upload::begin(ring, patience, self.client, connection)
        };
        let mut deadline_ms = match &upload {
            Upload::Done => sent_ns / 1_000_000 + head_timeout_ms,
            Upload::Held => ring.now_ms() + expect_timeout_ms,
            Upload::Going(watch) => watch.next_ms(u64::MAX),
        };
        // Bytes behind an Upgrade request must be seen before its 101 is passed on.
        let mut keen = keen || !peer.first || self.exchange.request.upgrade != Upgrade::None;
        let mut informed = 0;
        self.exchange.response.reset();
        loop {
            self.set_timer(deadline_ms, keen);
            let method = self.exchange.request.method;
            let (client, response) = (&mut *self.client, &mut self.exchange.response);
            let up = &mut self.up;
            let event = poll_fn(|cx| {
                if let Poll::Ready(result) = connection.poll_head(cx, method, response) {
                    return Poll::Ready(Event::Head(result));
                }
                if let Upload::Going(_) = upload {
                    match up.poll(client, connection, ring, cx) {
                        // An origin that takes no more of the body may still have answered.
                        Poll::Ready(Ok(()) | Err(PumpError::Sink(_))) => {
                            return Poll::Ready(Event::Sent);
                        }
                        Poll::Ready(Err(PumpError::Source(error))) => {
                            return Poll::Ready(Event::Failed(error.into()));
                        }
                        Poll::Pending => {}
                    }
                } else if client.poll_gone(cx, keen).is_ready() {
                    return Poll::Ready(Event::Failed(Failure::ClientGone));
                }
                peer.timer.poll(cx).map(|()| Event::Timer)
            })
            .await;
            match event {
                Event::Head(Ok(length)) => {
                    let status = self.exchange.response.status;
                    if status >= 200 || status == 101 {
                        return Ok(length);
                    }
                    informed += 1;
                    if informed > INFORMATIONAL_MAX {
                        return Err(Failure::TooManyInformational);
                    }
                    self.inform(connection, length);
                    if status == 100 && matches!(upload, Upload::Held) {
                        upload = Upload::begin(ring, patience, self.client, connection);
                        deadline_ms = ring.now_ms() + patience.body_idle_ms;
                    }
                }
                Event::Head(Err(error)) => return Err(error.into()),
                Event::Failed(failure) => return Err(failure),
                Event::Sent => {
                    upload = Upload::Done;
                    deadline_ms = ring.now_ms() + head_timeout_ms;
                }
                Event::Timer => {
                    let now_ms = ring.now_ms();
                    keen = true;
                    if now_ms >= self.route_deadline_ms {
                        return Err(Failure::RouteTimeout);
                    }
                    if now_ms < deadline_ms {
                        continue;
                    }
                    match &mut upload {
                        Upload::Done => return Err(Failure::ResponseHeadTimeout),
                        Upload::Held => {
                            upload = Upload::begin(ring, patience, self.client, connection);
                            deadline_ms = now_ms + patience.body_idle_ms;
                        }
                        Upload::Going(watch) => {
                            watch.check(self.client.stream(), connection.stream(), true)?;
                            deadline_ms = watch.next_ms(u64::MAX);
                        }
                    }
                }
            }
        }
    }

    fn inform(&mut self, connection: &mut Connection, length: usize) {
        let response = &mut self.exchange.response;
        if self.exchange.request.version == Version::H11 {
            let bytes = &connection.received()[..length];
            edit_response(response, bytes, Edits::default());
            self.client.inform(response, bytes);
        }
        response.reset();
        connection.skip_head(length);
    }

    /// Passes the final answer on: its head, then its body beside what is left of the request's.
    async fn pass_answer(
        &mut self,
        route: &Route,
        mut connection: Box<Connection>,
        length: usize,
        sent_ns: u64,
        upgrade: bool,
    ) -> Result<(), Failure> {
        let last = self.pass_head(route, &mut connection, length, sent_ns, upgrade)?;
        if self.outcome.status == 101 {
            let patience = self.peer.patience;
            let result = tunnel(
                &self.services.ring,
                self.client.stream(),
                connection.stream(),
                self.peer.timer,
                patience,
            )
            .await;
            self.outcome.bytes = result.to_client;
            return Ok(());
        }
        let uploaded = if last && self.client.is_ended() && !self.up.holds_bytes() {
            true
        } else {
            let moved = relay(
                self.services,
                self.client,
                &mut connection,
                self.peer,
                self.route_deadline_ms,
                &mut self.up,
                last,
            )
            .await;
            self.outcome.bytes = connection.body_bytes();
            moved?
        };
        if uploaded {
            self.release(connection);
        } else {
            self.outcome.keep_alive = false;
            self.outcome.linger = true;
        }
        Ok(())
    }

    /// Passes the final answer's head on, with what of its body came along. True: that was all.
    pub(super) fn pass_head(
        &mut self,
        route: &Route,
        connection: &mut Connection,
        length: usize,
        sent_ns: u64,
        upgrade: bool,
    ) -> Result<bool, Failure> {
        let waited_ns = self.services.ring.now_ns() - sent_ns;
        self.outcome.phases.first_byte = Some(std::time::Duration::from_nanos(waited_ns));
        let switched = self.exchange.response.status == 101;
        if switched && !(upgrade && self.exchange.response.upgrade) {
            return Err(Failure::UnaskedUpgrade);
        }
        if switched && self.client.stream().has_more() {
            return Err(Failure::EarlyTunnelBytes);
        }
        let came = self.exchange.response.framing;
        let lease = connection.take_head(length, came)?;
        let last = connection.is_whole();
        let response = &mut self.exchange.response;
        let bytes = lease.bytes();
        edit_response(response, &bytes[..length], edits(&route.response_headers));
        if !response.has_date() {
            self.services
                .with_date(|date| response.fields.push_extra(b"date", date));
        }
        let old = self.exchange.request.version == Version::H10;
        let framing = match came {
            BodyFraming::UntilClose if !old => BodyFraming::Chunked,
            BodyFraming::Chunked if old => BodyFraming::UntilClose,
            other => other,
        };
        self.outcome.until_close = framing == BodyFraming::UntilClose;
        let keep = !switched && framing != BodyFraming::UntilClose && self.may_keep_alive();
        let protocol = if switched {
            let protocol = self.exchange.response.upgrade_protocol(&bytes[..length]);
            self.exchange.prefix.clear();
            self.exchange.prefix.extend_from_slice(protocol);
            ConnectionField::Upgrade(&self.exchange.prefix)
        } else {
            self.connection_field(keep)
        };
        self.outcome.status = self.exchange.response.status;
        self.outcome.keep_alive = keep;
        let respond = Respond {
            framing,
            connection: protocol,
            last,
        };
        self.client
            .respond(&self.exchange.response, lease, length, respond);
        self.outcome.bytes = connection.body_bytes();
        if switched {
            self.outcome.keep_alive = false;
        }
        Ok(last)
    }

    /// Puts a connection back whose exchange is over, where the origin keeps it.
    pub(super) fn release(&mut self, connection: Box<Connection>) {
        let response = &self.exchange.response;
        if response.keep_alive {
            let pools = &self.services.pools;
            pools.put_back(connection, response.keep_alive_timeout);
        }
    }
}

fn edits(edits: &FieldEdits) -> Edits<'_> {
    Edits {
        remove: &edits.remove,
        set: &edits.set,
        add: &edits.add,
    }
}

/// The body of an error page: the status and its phrase.
pub fn text_of(status: u16) -> Vec<u8> {
    format!("{status} {}\n", encode::reason_phrase(status)).into_bytes()
}

/// `Location` of a redirect: `{path}` and `{query}` stand for the request's.
fn redirect_to(template: &str, path: &[u8], query: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(template.len() + path.len());
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("{path}") {
            out.extend_from_slice(path);
            rest = after;
        } else if let Some(after) = rest.strip_prefix("{query}") {
            match query {
                Some(query) => out.extend_from_slice(query),
                // `?{query}` leaves nothing behind where there is none.
                None if out.last() == Some(&b'?') => drop(out.pop()),
                None => {}
            }
            rest = after;
        } else {
            out.push(b'{');
            rest = &rest[1..];
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// What `ringway proxy` answers without an origin: the request as it was understood.
fn built_in(head: &RequestHead, bytes: &[u8], client: &[u8]) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "ringway is running; put your own origin behind it with: ringway proxy --to http://127.0.0.1:3000\n\n\
         method {}\nhost   {}\npath   {}\nquery  {}\nclient {}\n",
        text(head.method_bytes(bytes)),
        text(head.host(bytes)),
        text(head.path(bytes)),
        head.query(bytes).map_or_else(|| "-".to_owned(), text),
        text(client),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_carries_path_and_query() {
        let to =
            |template, query| String::from_utf8(redirect_to(template, b"/a/b", query)).unwrap();
        assert_eq!(
            to("https://x{path}?{query}", Some(&b"q=1"[..])),
            "https://x/a/b?q=1"
        );
        assert_eq!(to("https://x{path}?{query}", None), "https://x/a/b");
        assert_eq!(to("/fixed", Some(b"q")), "/fixed");
        assert_eq!(to("/{odd}{", None), "/{odd}{");
    }
}
