//! Serving a connection from bytes that arrived until it is idle again or gone.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringway_protocol::h1::encode::{ConnectionField, SimpleResponse};

use super::connection::Connection;
use super::drivers::Downstream;
use super::h1::H1;
use crate::exchange::{self, Client, Exchange, Failure, Outcome, Services};
use crate::ring::{Lease, Ring};
use crate::transport::Fill;

/// How long a client that still sends may go on, so that it can read our answer before the connection is reset.
const LINGER_MS: u64 = 2000;

/// Bytes taken from it meanwhile.
const LINGER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How often a client that still takes an answer is looked at, in milliseconds: the window of the minimum rate.
pub(super) const FLUSH_LOOK_MS: u64 = 10_000;

/// Bytes that may be unsent when a connection is left to itself: they go with this round's submission.
const QUICK_BYTES: usize = 32 * 1024;

/// Bytes that may be unsent when the next pipelined request is begun.
const PIPELINED_BYTES: usize = 64 * 1024;

/// What serving works with; reused from connection to connection.
#[derive(Default)]
pub(super) struct Session {
    exchange: Exchange,
    h1: H1,
}

/// What waiting for a head brought.
enum Head {
    Request(Lease, usize),
    Refused(Failure),
    Closed,
}

/// Serves requests as long as any are there. Returns the connection when it is idle.
pub(super) async fn serve(
    downstream: &Rc<Downstream>,
    mut connection: Box<Connection>,
    session: &mut Session,
) -> Option<Box<Connection>> {
    let services = &downstream.services;
    let ring = &services.ring;
    if connection.parting {
        finish(downstream, &mut connection, &Outcome::default()).await;
        return None;
    }
    loop {
        let (in_flight, mut outcome);
        let waiting = connection.pending.take_if(|pending| pending.is_waiting());
        if let Some(pending) = connection.pending.take() {
            in_flight = InFlight(services);
            let (stream, peer) = connection.parts();
            let Session { exchange, h1 } = session;
            let mut client = h1.client(ring, stream, pending.version());
            outcome = exchange::resume(services, exchange, &mut client, pending, &peer).await;
        } else {
            session.begin(services);
            if let Some(waiting) = waiting {
                // From the start, and not in flight until its head is parsed again.
                drop(InFlight(services));
                connection.requests -= 1;
                let Connection { stream, .. } = &mut *connection;
                if !waiting.undo(services, &mut session.exchange, stream) {
                    refuse(downstream, &mut connection, session, Failure::Overloaded).await;
                    return None;
                }
            }
            let (lease, length) = match read_head(downstream, &mut connection, session).await {
                Head::Request(lease, length) => (lease, length),
                Head::Closed => return None,
                Head::Refused(failure) => {
                    refuse(downstream, &mut connection, session, failure).await;
                    return None;
                }
            };
            session.keep(services, &lease);
            in_flight = InFlight::begin(services);
            connection.requests = connection.requests.saturating_add(1);
            let (stream, peer) = connection.parts();
            let Session { exchange, h1 } = session;
            let mut client = h1.client(ring, stream, exchange.request.version);
            outcome = exchange::serve(services, exchange, &mut client, lease, length, &peer).await;
        }
        drop(in_flight);
        session
            .exchange
            .remembered
            .record(services, connection.peer, &outcome);
        if !outcome.keep_alive {
            // What follows a spliced body was not seen; closing over it would reset the connection.
            outcome.linger |= session.h1.spliced && connection.stream.socket().has_unread();
            close(downstream, connection, &outcome).await;
            return None;
        }
        if connection.stream.has_more() {
            // Pipelined: the next one's answer waits until this one's is taken.
            if !flush(ring, &mut connection, PIPELINED_BYTES).await {
                return None;
            }
            continue;
        }
        if services.draining.get() {
            close(downstream, connection, &outcome).await;
            return None;
        }
        // An answer the client is still taking is not cut by the time it may be idle.
        if connection.stream.socket().unsent_bytes() > QUICK_BYTES
            && !flush(ring, &mut connection, 0).await
        {
            return None;
        }
        connection.rest(ring, session.h1.spliced);
        return Some(connection);
    }
}

impl Session {
    /// Makes ready for a request.
    fn begin(&mut self, services: &Services) {
        self.exchange.queued_ns = None;
        self.exchange.remembered.begin(services.ring.now_ns());
        self.exchange.request.reset();
    }

    /// Keeps what the log needs of a head that was parsed.
    fn keep(&mut self, services: &Services, lease: &Lease) {
        fault(&self.exchange, lease);
        let logged = services.log.borrow().is_on();
        let Exchange {
            request,
            remembered,
            ..
        } = &mut self.exchange;
        remembered.keep(request, lease.bytes(), logged);
    }

    /// Sends the request that has arrived, if that takes no waiting, or has it wait for a connection: what comes of it is
    /// reported by `tag`. Else nothing was done, and `serve` is to be called.
    pub(super) fn quick_begin(
        &mut self,
        services: &Services,
        connection: &mut Connection,
        tag: u64,
    ) -> bool {
        self.begin(services);
        let Connection { stream, shared, .. } = &mut *connection;
        let limits = &shared.settings.limits.head;
        let cx = Context::from_waker(Waker::noop());
        let ring = &services.ring;
        let fill = stream.poll_fill(&cx, ring, limits.head_bytes + 1);
        if !matches!(fill, Poll::Ready(Ok(Fill::More))) {
            return false;
        }
        let Some(lease) = stream.take() else {
            return false;
        };
        let length = match self.exchange.request.parse(lease.bytes(), limits) {
            Ok(Some(length)) if !stream.has_more() => length,
            _ => {
                stream.put_back(lease);
                return false;
            }
        };
        self.keep(services, &lease);
        let in_flight = InFlight::begin(services);
        connection.requests = connection.requests.saturating_add(1);
        let (stream, peer) = connection.parts();
        let Session { exchange, h1 } = self;
        let mut client = h1.client(ring, stream, exchange.request.version);
        match exchange::begin(services, exchange, &mut client, lease, length, &peer, tag) {
            Ok(pending) => {
                connection.pending = Some(pending);
                // It goes on being in flight.
                std::mem::forget(in_flight);
                true
            }
            Err(lease) => {
                connection.requests -= 1;
                connection.stream.put_back(lease);
                false
            }
        }
    }

    /// Passes the answer on that has arrived, if that takes no waiting. Else nothing was done, and `serve` is to be called.
    pub(super) fn quick_complete(
        &mut self,
        services: &Services,
        connection: &mut Connection,
    ) -> Option<Outcome> {
        let pending = connection.pending.take()?;
        let in_flight = InFlight(services);
        let (stream, peer) = connection.parts();
        let busy = services.draining.get() || stream.has_more() || stream.socket().has_ended();
        let room = QUICK_BYTES.saturating_sub(stream.socket().unsent_bytes());
        let Session { exchange, h1 } = self;
        let mut client = h1.client(&services.ring, stream, pending.version());
        let completed = if busy {
            Err(pending)
        } else {
            exchange::complete(services, exchange, &mut client, pending, &peer, room)
        };
        match completed {
            Ok(outcome) => {
                drop(in_flight);
                let remembered = &self.exchange.remembered;
                remembered.record(services, connection.peer, &outcome);
                Some(outcome)
            }
            Err(pending) => {
                std::mem::forget(in_flight);
                connection.pending = Some(pending);
                None
            }
        }
    }
}

/// Counts a request as running, however it ends.
struct InFlight<'a>(&'a Services);

impl<'a> InFlight<'a> {
    fn begin(services: &'a Services) -> Self {
        services.stats.in_flight.add(1);
        Self(services)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.stats.in_flight.add(-1);
    }
}

async fn read_head(
    downstream: &Rc<Downstream>,
    connection: &mut Connection,
    session: &mut Session,
) -> Head {
    let ring = &downstream.services.ring;
    let settings = &connection.shared.settings;
    let limits = &settings.limits.head;
    let request = &mut session.exchange.request;
    let mut waiting = false;
    loop {
        if let Some(lease) = connection.stream.take() {
            match request.parse(lease.bytes(), limits) {
                Ok(Some(length)) => return Head::Request(lease, length),
                Ok(None) => connection.stream.put_back(lease),
                Err(error) => return Head::Refused(Failure::BadRequest(error)),
            }
        }
        // One deadline for the whole head, from its first byte on.
        if !waiting && !connection.stream.received().is_empty() {
            waiting = true;
            connection
                .timer
                .set(ring.now_ms() + settings.timeouts.request_head.as_millis() as u64);
        }
        let (stream, timer) = (&mut connection.stream, &connection.timer);
        let fill = poll_fn(|cx| {
            if let Poll::Ready(fill) = stream.poll_fill(cx, ring, limits.head_bytes + 1) {
                return Poll::Ready(Some(fill));
            }
            timer.poll(cx).map(|()| None)
        })
        .await;
        match fill {
            Some(Ok(Fill::More)) => {}
            Some(Ok(Fill::End) | Err(_)) => {
                if stream.received().is_empty() {
                    return Head::Closed;
                }
                return Head::Refused(Failure::ClientGone);
            }
            Some(Ok(Fill::Full)) => return Head::Refused(Failure::Overloaded),
            None if stream.received().is_empty() => return Head::Closed,
            None => return Head::Refused(Failure::RequestHeadTimeout),
        }
    }
}

/// Answers what is no request, writes its log line, closes.
async fn refuse(
    downstream: &Rc<Downstream>,
    connection: &mut Connection,
    session: &mut Session,
    failure: Failure,
) {
    let services = &downstream.services;
    let status = failure.status();
    let text = exchange::text_of(status);
    let mut outcome = Outcome {
        failure: Some(failure),
        linger: true,
        ..Outcome::default()
    };
    if failure != Failure::ClientGone {
        let version = ringway_protocol::Version::H11;
        let (ring, stream) = (&services.ring, &mut connection.stream);
        let mut client = session.h1.client(ring, stream, version);
        services.with_date(|date| {
            client.answer(&SimpleResponse {
                status,
                content_type: b"text/plain; charset=utf-8",
                body: &text,
                connection: ConnectionField::Close,
                date,
                ..SimpleResponse::default()
            });
        });
        outcome.status = status;
        outcome.bytes = text.len() as u64;
    }
    session
        .exchange
        .remembered
        .record(services, connection.peer, &outcome);
    finish(downstream, connection, &outcome).await;
}

/// Closes a connection once its last answer is sent; where that goes with this round's submission, nobody waits for it.
async fn close(downstream: &Rc<Downstream>, connection: Box<Connection>, outcome: &Outcome) {
    let ring = &downstream.services.ring;
    let simple = outcome.failure.is_none()
        && !outcome.linger
        && !connection.stream.has_more()
        && !downstream.services.draining.get();
    let left = if simple {
        connection.timer.set(ring.now_ms() + FLUSH_LOOK_MS);
        downstream.part(connection)
    } else {
        Some(connection)
    };
    if let Some(mut connection) = left {
        finish(downstream, &mut connection, outcome).await;
    }
}

/// Waits until no more than `left` bytes are unsent, for as long as the client takes some at the minimum rate. False:
/// it does not.
async fn flush(ring: &Ring, connection: &mut Connection, left: usize) -> bool {
    let timeouts = connection.shared.settings.timeouts;
    let Connection { stream, timer, .. } = connection;
    let look_ms = (timeouts.body_idle.as_millis() as u64).min(FLUSH_LOOK_MS);
    let (mut seen, mut rounds) = (u64::MAX, 0);
    loop {
        timer.set(ring.now_ms() + look_ms);
        let sent = poll_fn(|cx| match stream.socket().poll_unsent(cx, left) {
            Poll::Ready(result) => Poll::Ready(Some(result.is_ok())),
            Poll::Pending => timer.poll(cx).map(|()| None),
        })
        .await;
        if let Some(sent) = sent {
            return sent;
        }
        let waiting =
            (stream.socket().unsent_bytes() + stream.socket().unacknowledged_bytes()) as u64;
        let needed = (timeouts.min_rate_bytes_per_second * look_ms / 1000).max(1);
        rounds += 1;
        if rounds > 1 && seen.saturating_sub(waiting) < needed {
            stream.socket().reset_on_close();
            return false;
        }
        seen = waiting;
    }
}

/// Lets what was queued go out; where the client may still be sending, says FIN and reads on for a while: a close with
/// unread bytes would reset the connection and could take the answer with it (RFC 9112 §9.6).
async fn finish(downstream: &Rc<Downstream>, connection: &mut Connection, outcome: &Outcome) {
    let ring = &downstream.services.ring;
    if matches!(
        outcome.failure,
        Some(Failure::SlowReader | Failure::ClientGone)
    ) {
        connection.stream.socket().reset_on_close();
        return;
    }
    if !flush(ring, connection, 0).await {
        return;
    }
    let Connection { stream, timer, .. } = connection;
    if outcome.until_close && outcome.failure.is_some() {
        stream.socket().reset_on_close();
        return;
    }
    if !outcome.linger && !stream.has_more() {
        return;
    }
    stream.socket().shutdown_write();
    timer.set(ring.now_ms() + LINGER_MS);
    let mut bytes = 0;
    poll_fn(|cx| {
        loop {
            match stream.poll_next(cx) {
                Poll::Ready(Ok(Some(lease))) if bytes < LINGER_BYTES_MAX => bytes += lease.len(),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return timer.poll(cx),
            }
        }
    })
    .await;
}

#[cfg(feature = "fault-injection")]
fn fault(exchange: &Exchange, lease: &Lease) {
    if exchange
        .request
        .fields
        .first_named(b"x-ringway-fault", lease.bytes())
        == Some(b"panic")
    {
        panic!("asked for by x-ringway-fault");
    }
}

#[cfg(not(feature = "fault-injection"))]
fn fault(_: &Exchange, _: &Lease) {}
