//! What is kept of a request for its log line and counters.

use std::net::SocketAddr;
use std::time::Duration;

use ringway_protocol::{FieldId, Method, RequestHead, Version};

use super::Services;
use super::failure::Failure;
use crate::observe::access_log::{PATH_BYTES_MAX, USER_AGENT_BYTES_MAX};
use crate::observe::access_log::{Phases, Record};
use crate::ring::clock;

/// How an exchange went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    /// The status sent; 0: none was.
    pub status: u16,
    /// Bytes of the body sent to the client.
    pub bytes: u64,
    /// What went wrong.
    pub failure: Option<Failure>,
    /// Index of the route.
    pub route: Option<usize>,
    /// Upstream and endpoint of the last attempt.
    pub endpoint: Option<(usize, usize)>,
    /// Times the request was sent.
    pub attempts: u32,
    /// Whether the last attempt used a kept connection.
    pub reused: Option<bool>,
    /// Where the time went.
    pub phases: Phases,
    /// The connection may carry another request.
    pub keep_alive: bool,
    /// The answer's body ends where the connection does: one that was cut short must end in a reset.
    pub until_close: bool,
    /// The client may still be sending: close in a way that lets it read the answer.
    pub linger: bool,
}

impl Outcome {
    /// The request is sent, on a kept connection where `reused`: with the round in which it was ready.
    pub(super) fn sent(&mut self, reused: bool) {
        self.attempts += 1;
        self.reused = Some(reused);
        self.phases.head_sent = Some(Duration::ZERO);
    }
}

/// Parts of a request that its log line needs after its head's buffer is gone.
#[derive(Default)]
pub struct Remembered {
    text: Vec<u8>,
    method_end: usize,
    path_end: usize,
    user_agent: bool,
    method: Method,
    version: Version,
    /// The request's id; empty where none was made.
    pub request_id: Vec<u8>,
    /// When it began, on the reactor's clock.
    pub begun_ns: u64,
}

impl Remembered {
    /// Forgets the request before.
    pub fn begin(&mut self, begun_ns: u64) {
        self.text.clear();
        self.request_id.clear();
        self.method_end = 0;
        self.path_end = 0;
        self.user_agent = false;
        self.method = Method::Other;
        self.begun_ns = begun_ns;
    }

    /// Keeps what the log needs of a parsed head; the text only where `logged`.
    pub fn keep(&mut self, head: &RequestHead, bytes: &[u8], logged: bool) {
        self.method = head.method;
        self.version = head.version;
        if !logged {
            return;
        }
        self.text.extend_from_slice(head.method_bytes(bytes));
        self.method_end = self.text.len();
        let path = head.path(bytes);
        self.text
            .extend_from_slice(&path[..path.len().min(PATH_BYTES_MAX)]);
        self.path_end = self.text.len();
        if let Some(agent) = head.fields.first(FieldId::UserAgent, bytes) {
            self.user_agent = true;
            self.text
                .extend_from_slice(&agent[..agent.len().min(USER_AGENT_BYTES_MAX)]);
        }
    }

    /// Counts the request and writes its log line.
    pub fn record(&self, services: &Services, remote: SocketAddr, outcome: &Outcome) {
        let duration = Duration::from_nanos(services.ring.now_ns().saturating_sub(self.begun_ns));
        let status = if outcome.status == 0 {
            outcome.failure.map_or(499, Failure::status)
        } else {
            outcome.status
        };
        services
            .stats
            .request_done(outcome.route, self.method, status, duration, outcome.bytes);
        if let Some(failure) = outcome.failure
            && failure.is_clients()
        {
            services.stats.bad_request(failure.reason());
        }
        let mut log = services.log.borrow_mut();
        if !log.is_on() {
            return;
        }
        let upstream = outcome
            .endpoint
            .map(|(upstream, _)| services.upstream_names[upstream].as_str());
        let mut write = |endpoint: Option<&str>| {
            log.append(&Record {
                unix_millis: clock::unix_now().as_millis() as u64,
                method: &self.text[..self.method_end],
                path: &self.text[self.method_end..self.path_end],
                status,
                bytes: outcome.bytes,
                duration,
                remote,
                user_agent: self.user_agent.then(|| &self.text[self.path_end..]),
                request_id: &self.request_id,
                route: outcome
                    .route
                    .map(|index| services.table.routes()[index].name.as_str()),
                upstream,
                endpoint,
                attempts: outcome.attempts,
                protocol: match self.version {
                    Version::H10 => "HTTP/1.0",
                    Version::H11 => "HTTP/1.1",
                },
                tls: None,
                reused: outcome.reused,
                phases: outcome.phases,
                error: outcome.failure.map(Failure::reason),
            });
        };
        match outcome.endpoint {
            Some((upstream, endpoint)) => {
                services
                    .pools
                    .with_endpoint(upstream, endpoint, |endpoint| {
                        write(Some(&endpoint.authority));
                    });
            }
            None => write(None),
        }
    }
}
