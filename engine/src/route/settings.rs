//! What the route table is built from.

use std::time::Duration;

/// One `[[route]]`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name, for the log.
    pub name: String,
    /// Hosts it answers for: exact (`api.example.com`) or wildcard (`*.example.com`), lower case; empty: every host.
    pub hosts: Vec<String>,
    /// Path template (`/users/{id}`, `/static/{*rest}`); `None`: every path.
    pub path: Option<String>,
    /// Methods, as on the wire; empty: every method.
    pub methods: Vec<String>,
    /// What happens to a request that matches.
    pub action: Action,
    /// Fields of the request that are set and removed.
    pub request_headers: FieldEdits,
    /// Fields of the response that are set, added and removed.
    pub response_headers: FieldEdits,
    /// Time for the whole exchange, retries included; `None`: no limit.
    pub timeout: Option<Duration>,
    /// Bytes of a request's body, instead of the listener's; 0: no limit.
    pub body_bytes: Option<u64>,
    /// Whether `Upgrade: websocket` is passed on.
    pub websocket: bool,
}

/// What a route does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Passes the request to an upstream.
    Forward {
        /// Its index in the list of upstreams.
        upstream: usize,
        /// Whether the client's Host is kept; else the endpoint's authority is sent.
        preserve_host: bool,
        /// How the path changes.
        rewrite: Rewrite,
    },
    /// Answers by itself.
    Respond {
        /// The status.
        status: u16,
        /// The body, `text/plain`.
        body: String,
    },
    /// Answers with a redirect.
    Redirect {
        /// Value of `Location`; `{path}` and `{query}` stand for the request's.
        to: String,
        /// 301, 302, 303, 307 or 308.
        status: u16,
    },
    /// Answers with the built-in origin (`ringway proxy` without `--to`).
    Builtin,
}

/// `rewrite`: a prefix taken off, then one put before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Removed where the path starts with it, at a segment's boundary.
    pub strip_prefix: String,
    /// Put before what is left.
    pub add_prefix: String,
}

/// `request_headers`, `response_headers`: names lower case, applied in the order remove, set, add.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldEdits {
    /// Fields removed.
    pub remove: Vec<String>,
    /// Fields replaced, or added where absent.
    pub set: Vec<(String, String)>,
    /// Fields added beside those there.
    pub add: Vec<(String, String)>,
}
