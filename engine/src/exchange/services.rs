//! What every exchange on one worker uses.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::Pending;
use crate::observe::access_log::Writer;
use crate::observe::{DateCache, RequestIds, WorkerStats};
use crate::ring::{Ring, clock};
use crate::route::Table;
use crate::upstream::Pools;

/// One worker's shared parts.
pub struct Services {
    /// The reactor.
    pub ring: Ring,
    /// The routes.
    pub table: Arc<Table>,
    /// Connections to the upstreams.
    pub pools: Pools,
    /// Names of the upstreams, for the log.
    pub upstream_names: Vec<String>,
    /// Counters.
    pub stats: Arc<WorkerStats>,
    /// The access log.
    pub log: RefCell<Writer>,
    /// Makes request ids.
    pub ids: RefCell<RequestIds>,
    /// The Date field's text.
    pub date: RefCell<DateCache>,
    /// Memory for requests that wait for their answers without a task.
    #[allow(clippy::vec_box, reason = "moving the boxes is the point")]
    pub spare: RefCell<Vec<Box<Pending>>>,
    /// The process is going down: answers carry Connection: close.
    pub draining: Cell<bool>,
}

impl Services {
    /// Runs `f` with the Date field's value.
    pub fn with_date<T>(&self, f: impl FnOnce(&[u8]) -> T) -> T {
        f(self.date.borrow_mut().text(clock::unix_now().as_secs()))
    }
}
