//! The route table: host, path and method to a route.
//!
//! Candidates are ranked by host (exact, longer wildcard, shorter wildcard, every host), then path (segment by segment:
//! text, `{param}`, `{*rest}`; no path last), then methods (named before every). The first that fits in all three is
//! taken, so a more specific host without a fitting path does not hide a less specific one.
//! Invariant: `find` allocates nothing, and its cost is bounded by the table and the lengths of host and path.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use foldhash::fast::FixedState;

use super::paths::{METHODS_MAX, MethodSet, Paths};
use super::rewrite::normalised;
use super::template::{self, TemplateError};
use super::{Action, FieldEdits, Settings};

/// Bytes of a host name (RFC 1035 §2.3.4); a longer one fits routes for every host only.
const HOST_BYTES_MAX: usize = 255;

/// The `path` label of routes that take every path.
const EVERY_PATH_LABEL: &str = "/*";

/// Hosts are the operator's, and a lookup adds nothing: a seeded hash would protect nobody.
type HostMap = HashMap<Box<[u8]>, Paths, FixedState>;

/// One route, ready to serve.
#[derive(Debug)]
pub struct Route {
    /// Its place in the file, and in the counters.
    pub index: usize,
    /// Its name, for the log.
    pub name: String,
    /// The metrics' `path` label: its template, or `/*` where it takes every path.
    pub label: String,
    /// What happens to a request that matches; a rewrite's prefixes begin with `/` and do not end with it.
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

/// What `find` found.
#[derive(Debug, Clone, Copy)]
pub enum Match<'t> {
    /// A route.
    Found(&'t Route),
    /// No route for this host and path: 404.
    NotFound,
    /// Routes for this host and path, none for this method: 405.
    MethodNotAllowed {
        /// The methods there are, for the Allow field.
        allow: Allow<'t>,
    },
}

/// The methods that host and path would have taken. Its `Display` is the value of an Allow field.
#[derive(Debug, Clone, Copy)]
pub struct Allow<'t> {
    methods: &'t [String],
    set: MethodSet,
}

/// Why routes do not make a table. Routes are named by their place in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableError {
    /// Two routes that cannot be told apart: same host, same path but for parameter names, a method in common.
    Conflict {
        /// The one that came first.
        first: usize,
        /// The one that cannot be told from it.
        second: usize,
        /// The host they share; `None`: every host.
        host: Option<String>,
        /// The method they share; `None`: every method.
        method: Option<String>,
    },
    /// A path that cannot be read.
    Path {
        /// The route.
        route: usize,
        /// Why not.
        error: TemplateError,
    },
    /// A host that is neither a name nor `*.` and a name.
    Host {
        /// The route.
        route: usize,
        /// The host.
        host: String,
    },
    /// More than 128 different methods over all routes.
    TooManyMethods {
        /// The route that has the first one too many.
        route: usize,
    },
}

/// Every route, by host, path and method.
#[derive(Debug)]
pub struct Table {
    routes: Vec<Route>,
    methods: Vec<String>,
    exact: HostMap,
    /// By what follows `*.`.
    wildcard: HostMap,
    /// Length of the longest key of `wildcard`: longer suffixes of a host are not looked up.
    wildcard_bytes_max: usize,
    every: Paths,
}

impl Table {
    /// The table of `routes`; their indices are their places in the slice.
    pub fn new(routes: &[Settings]) -> Result<Self, TableError> {
        let mut table = Self {
            routes: Vec::with_capacity(routes.len()),
            methods: Vec::new(),
            exact: HostMap::default(),
            wildcard: HostMap::default(),
            wildcard_bytes_max: 0,
            every: Paths::default(),
        };
        for (index, settings) in routes.iter().enumerate() {
            table.insert(index, settings)?;
            table.routes.push(Route::new(index, settings));
        }
        Ok(table)
    }

    /// The route for a request. `host` is the name without port, in any case; empty where the request has none.
    /// `path` is normalised and without query; `method` as on the wire.
    #[inline]
    pub fn find(&self, host: &[u8], path: &[u8], method: &[u8]) -> Match<'_> {
        let mut allowed = 0;
        let named = if self.exact.is_empty() && self.wildcard.is_empty() {
            None
        } else {
            self.find_named(host, path, method, &mut allowed)
        };
        match named.or_else(|| self.every.find(path, method, &mut allowed)) {
            Some(route) => Match::Found(&self.routes[route]),
            None if allowed == 0 => Match::NotFound,
            None => Match::MethodNotAllowed {
                allow: Allow {
                    methods: &self.methods,
                    set: allowed,
                },
            },
        }
    }

    /// Every route, by index.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Every route's label, by index, as `WorkerStats::new` takes them.
    pub fn labels(&self) -> Vec<String> {
        self.routes
            .iter()
            .map(|route| route.label.clone())
            .collect()
    }

    /// Among routes with hosts: the exact name's, then the wildcards', longest first.
    fn find_named(
        &self,
        host: &[u8],
        path: &[u8],
        method: &[u8],
        allowed: &mut MethodSet,
    ) -> Option<usize> {
        // "example.com." is the same name, written absolute (RFC 1034 §3.1).
        let host = host.strip_suffix(b".").unwrap_or(host);
        let mut space = [0; HOST_BYTES_MAX];
        let lower = space.get_mut(..host.len())?;
        lower.copy_from_slice(host);
        lower.make_ascii_lowercase();
        let lower = &*lower;
        if let Some(paths) = self.exact.get(lower)
            && let Some(route) = paths.find(path, method, allowed)
        {
            return Some(route);
        }
        if self.wildcard.is_empty() {
            return None;
        }
        // A dot at 0 would leave no label for the star.
        for at in memchr::memchr_iter(b'.', lower).filter(|&at| at > 0) {
            let suffix = &lower[at + 1..];
            if suffix.len() <= self.wildcard_bytes_max
                && let Some(paths) = self.wildcard.get(suffix)
                && let Some(route) = paths.find(path, method, allowed)
            {
                return Some(route);
            }
        }
        None
    }

    fn insert(&mut self, index: usize, settings: &Settings) -> Result<(), TableError> {
        let segments = match &settings.path {
            None => None,
            Some(path) => Some(template::parse(path).map_err(|error| TableError::Path {
                route: index,
                error,
            })?),
        };
        let methods = settings
            .methods
            .iter()
            .map(|name| Ok((name.as_str(), self.method_index(name, index)?)))
            .collect::<Result<Vec<_>, TableError>>()?;
        let insert_into = |paths: &mut Paths, host: Option<&str>| {
            let keys = methods.iter().copied().map(Some);
            let every_method = methods.is_empty().then_some(None);
            for key in keys.chain(every_method) {
                paths
                    .insert(segments.as_deref(), key, index)
                    .map_err(|first| TableError::Conflict {
                        first,
                        second: index,
                        host: host.map(str::to_owned),
                        method: key.map(|(name, _)| name.to_owned()),
                    })?;
            }
            Ok(())
        };
        if settings.hosts.is_empty() {
            return insert_into(&mut self.every, None);
        }
        for host in &settings.hosts {
            let Some(pattern) = HostPattern::parse(host) else {
                return Err(TableError::Host {
                    route: index,
                    host: host.clone(),
                });
            };
            let paths = match pattern {
                HostPattern::Exact(name) => self.exact.entry(name).or_default(),
                HostPattern::Wildcard(suffix) => {
                    self.wildcard_bytes_max = self.wildcard_bytes_max.max(suffix.len());
                    self.wildcard.entry(suffix).or_default()
                }
            };
            insert_into(paths, Some(host))?;
        }
        Ok(())
    }

    fn method_index(&mut self, name: &str, route: usize) -> Result<usize, TableError> {
        if let Some(known) = self.methods.iter().position(|method| method == name) {
            return Ok(known);
        }
        if self.methods.len() == METHODS_MAX {
            return Err(TableError::TooManyMethods { route });
        }
        self.methods.push(name.to_owned());
        Ok(self.methods.len() - 1)
    }
}

/// A route's host, lower case and without a final dot.
enum HostPattern {
    Exact(Box<[u8]>),
    /// What follows `*.`.
    Wildcard(Box<[u8]>),
}

impl HostPattern {
    fn parse(host: &str) -> Option<Self> {
        let lower = host.to_ascii_lowercase();
        let lower = lower.strip_suffix('.').unwrap_or(&lower);
        let (name, wildcard) = match lower.strip_prefix("*.") {
            Some(suffix) => (suffix, true),
            None => (lower, false),
        };
        if name.is_empty()
            || name.len() > HOST_BYTES_MAX
            || name.contains(['*', '/', ' '])
            || name.starts_with('.')
        {
            return None;
        }
        let name = name.as_bytes().into();
        Some(if wildcard {
            Self::Wildcard(name)
        } else {
            Self::Exact(name)
        })
    }
}

impl Route {
    fn new(index: usize, settings: &Settings) -> Self {
        let mut action = settings.action.clone();
        if let Action::Forward { rewrite, .. } = &mut action {
            *rewrite = normalised(rewrite);
        }
        Self {
            index,
            name: settings.name.clone(),
            label: settings
                .path
                .clone()
                .unwrap_or_else(|| EVERY_PATH_LABEL.to_owned()),
            action,
            request_headers: settings.request_headers.clone(),
            response_headers: settings.response_headers.clone(),
            timeout: settings.timeout,
            body_bytes: settings.body_bytes,
            websocket: settings.websocket,
        }
    }
}

impl<'t> Allow<'t> {
    /// The methods, in the order of the file.
    pub fn methods(self) -> impl Iterator<Item = &'t str> {
        self.methods
            .iter()
            .enumerate()
            .filter(move |(index, _)| self.set & (1 << index) != 0)
            .map(|(_, method)| method.as_str())
    }
}

impl fmt::Display for Allow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, method) in self.methods().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(method)?;
        }
        Ok(())
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict { host, method, .. } => write!(
                f,
                "two routes cannot be told apart: both take {} of {} on the same path",
                method.as_deref().unwrap_or("every method"),
                host.as_deref().unwrap_or("every host"),
            ),
            Self::Path { error, .. } => error.fmt(f),
            Self::Host { host, .. } => write!(
                f,
                "'{host}' is neither a host name nor '*.' and a host name"
            ),
            Self::TooManyMethods { .. } => write!(f, "more than {METHODS_MAX} different methods"),
        }
    }
}

impl std::error::Error for TableError {}

#[cfg(test)]
mod tests;
