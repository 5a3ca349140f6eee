//! Connections to an endpoint that has a maximum: how many there are, and who waits for one.
//!
//! First come, first served on a worker; between workers, each keeps its share of the maximum while others wait.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use super::connection::Connection;
use crate::ring::{Ring, Timer};

/// How often a worker whose requests wait looks whether a connection may be made: other workers' ends are not told.
const LOOK_MS: u64 = 16;

/// Connections to one endpoint over the whole process.
#[derive(Debug)]
pub struct Limit {
    /// 0: no limit.
    max: usize,
    workers: usize,
    open: AtomicUsize,
    /// Workers with requests that wait.
    waiting: AtomicUsize,
}

impl Limit {
    /// At most `max` connections (0: no limit), of `workers` workers together.
    pub fn new(max: usize, workers: usize) -> Self {
        Self {
            max,
            workers,
            open: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
        }
    }

    /// What worker `index` keeps while others wait; 0 where there are fewer connections than workers: they go round.
    fn share(&self, index: usize) -> usize {
        match self.max / self.workers {
            0 => 0,
            all => all + usize::from(index < self.max % self.workers),
        }
    }
}

/// A connection's place among those its endpoint may have; given back when dropped.
pub(super) struct Permit(Rc<Queue>);

impl Drop for Permit {
    fn drop(&mut self) {
        let queue = &self.0;
        queue.limit.open.fetch_sub(1, Ordering::Relaxed);
        queue.open.set(queue.open.get() - 1);
        if !queue.waiters.borrow().is_empty() {
            queue.ring.report(queue.tag);
        }
    }
}

/// What somebody is given who waited.
pub type Grant = Option<Box<Connection>>;

struct Waiter {
    until_ms: u64,
    whom: Whom,
}

enum Whom {
    /// A request without a task, by the tag it is told by. It may have stopped waiting.
    Tag(u64),
    /// A task, which has the other half.
    Task(Rc<Place>),
}

#[derive(Default)]
struct Place {
    granted: RefCell<Option<Grant>>,
    waker: RefCell<Option<Waker>>,
}

/// A task's place in a queue; whoever drops it stops waiting.
pub(super) struct Waiting(Rc<Place>);

impl Waiting {
    /// Ready with a connection, or with nothing where one may be made.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Grant> {
        if let Some(grant) = self.0.granted.borrow_mut().take() {
            return Poll::Ready(grant);
        }
        *self.0.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// One worker's requests that wait for one endpoint, and its connections to it.
pub(super) struct Queue {
    ring: Ring,
    limit: Arc<Limit>,
    share: usize,
    open: Cell<usize>,
    /// When the last one was opened, and when one was last closed for another worker.
    opened_ms: Cell<u64>,
    left_ms: Cell<u64>,
    waiters: RefCell<VecDeque<Waiter>>,
    tag: u64,
    look: Timer,
}

impl Queue {
    /// Nobody waits. While somebody does, `tag` is reported whenever [`look`](Self::look) is to be called.
    pub(super) fn new(ring: &Ring, limit: &Arc<Limit>, worker: usize, tag: u64) -> Rc<Self> {
        let look = Timer::new(ring);
        look.leave(tag);
        Rc::new(Self {
            ring: ring.clone(),
            limit: Arc::clone(limit),
            share: limit.share(worker),
            open: Cell::new(0),
            opened_ms: Cell::new(0),
            left_ms: Cell::new(0),
            waiters: RefCell::default(),
            tag,
            look,
        })
    }

    /// Whether its endpoint has a maximum.
    pub(super) fn is_limited(&self) -> bool {
        self.limit.max > 0
    }

    /// Whether a request that finds no idle connection has to wait.
    pub(super) fn is_full(&self) -> bool {
        self.is_limited() && (!self.waiters.borrow().is_empty() || !self.has_room(0))
    }

    /// Leave to open a connection, if there is room.
    pub(super) fn permit(self: &Rc<Self>) -> Option<Permit> {
        if !self.has_room(0) {
            return None;
        }
        let max = self.limit.max;
        let add = |open| (open < max).then_some(open + 1);
        let open = &self.limit.open;
        open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .ok()?;
        self.open.set(self.open.get() + 1);
        self.opened_ms.set(self.ring.now_ms());
        Some(Permit(Rc::clone(self)))
    }

    /// Whether `more` connections and one can be opened.
    fn has_room(&self, more: usize) -> bool {
        let limit = &self.limit;
        if limit.open.load(Ordering::Relaxed) + more >= limit.max {
            return false;
        }
        let others_turn = match self.share {
            // What was left for the others is theirs until they have had the time to take it and to use it.
            0 => self.ring.now_ms() < self.left_ms.get() + 4 * LOOK_MS,
            share => self.open.get() + more >= share,
        };
        !(others_turn && self.others_wait())
    }

    fn others_wait(&self) -> bool {
        let ours = usize::from(!self.waiters.borrow().is_empty());
        self.limit.waiting.load(Ordering::Relaxed) > ours
    }

    /// Whether one that is free now is to be closed, for another worker to open one: it is beyond this worker's share,
    /// or nobody here needs it. `spare`: others are idle.
    pub(super) fn leave_to_others(&self, spare: bool) -> bool {
        if !self.is_limited()
            || !self.others_wait()
            || self.limit.open.load(Ordering::Relaxed) < self.limit.max
        {
            return false;
        }
        let now_ms = self.ring.now_ms();
        let unused = spare && self.waiters.borrow().is_empty();
        let beyond_share = match self.share {
            // One that goes round stays long enough to be worth it.
            0 => now_ms >= self.opened_ms.get() + LOOK_MS,
            share => self.open.get() > share,
        };
        if unused || beyond_share {
            self.left_ms.set(now_ms);
        }
        unused || beyond_share
    }

    /// How many of its connections are the others', who wait for them; `None` where nobody does.
    pub(super) fn surplus(&self) -> Option<usize> {
        let wanted = self.is_limited() && self.others_wait();
        wanted.then(|| self.open.get().saturating_sub(self.share))
    }

    /// Has a request wait that has no task: what it is given is told by `tag`.
    pub(super) fn wait(&self, tag: u64, until_ms: u64) {
        self.push(Waiter {
            until_ms,
            whom: Whom::Tag(tag),
        });
    }

    /// Has a task wait.
    pub(super) fn wait_in_task(&self, until_ms: u64) -> Waiting {
        let place = Rc::<Place>::default();
        self.push(Waiter {
            until_ms,
            whom: Whom::Task(Rc::clone(&place)),
        });
        Waiting(place)
    }

    fn push(&self, waiter: Waiter) {
        let mut waiters = self.waiters.borrow_mut();
        if waiters.is_empty() {
            self.limit.waiting.fetch_add(1, Ordering::Relaxed);
            self.look.set(self.ring.now_ms() + LOOK_MS);
        }
        waiters.push_back(waiter);
    }

    /// Forgets those in front that wait no longer.
    fn prune(&self, waiters: &mut VecDeque<Waiter>) {
        let now_ms = self.ring.now_ms();
        let waits = |waiter: &Waiter| match &waiter.whom {
            Whom::Tag(_) => now_ms < waiter.until_ms,
            Whom::Task(place) => Rc::strong_count(place) > 1,
        };
        while waiters.pop_front_if(|waiter| !waits(waiter)).is_some() {}
    }

    /// The next one whose turn it is.
    fn pop(&self) -> Option<Whom> {
        let mut waiters = self.waiters.borrow_mut();
        if waiters.is_empty() {
            return None;
        }
        self.prune(&mut waiters);
        let next = waiters.pop_front();
        self.shortened(&waiters);
        Some(next?.whom)
    }

    fn shortened(&self, waiters: &VecDeque<Waiter>) {
        if waiters.is_empty() {
            self.limit.waiting.fetch_sub(1, Ordering::Relaxed);
            self.look.clear();
        }
    }

    /// Gives a connection to the next who waits; back where nobody does. Those without a task are put into `told`.
    pub(super) fn give(
        &self,
        connection: Box<Connection>,
        told: &mut Vec<(u64, Grant)>,
    ) -> Option<Box<Connection>> {
        let Some(whom) = self.pop() else {
            return Some(connection);
        };
        grant(whom, Some(connection), told);
        None
    }

    /// Lets those who wait open as many connections as there is room for, and forgets those who no longer wait.
    pub(super) fn look(&self, told: &mut Vec<(u64, Grant)>) {
        let mut more = 0;
        while self.has_room(more)
            && let Some(whom) = self.pop()
        {
            grant(whom, None, told);
            more += 1;
        }
        let mut waiters = self.waiters.borrow_mut();
        if waiters.is_empty() {
            return;
        }
        self.prune(&mut waiters);
        self.look.set(self.ring.now_ms() + LOOK_MS);
        self.shortened(&waiters);
    }
}

fn grant(whom: Whom, grant: Grant, told: &mut Vec<(u64, Grant)>) {
    match whom {
        Whom::Tag(tag) => told.push((tag, grant)),
        Whom::Task(place) => {
            *place.granted.borrow_mut() = Some(grant);
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The queues of two workers, on one reactor, at an endpoint that may have `max` connections.
    fn two(max: usize) -> [Rc<Queue>; 2] {
        let ring = Ring::new().unwrap();
        let limit = Arc::new(Limit::new(max, 2));
        [0, 1].map(|worker| Queue::new(&ring, &limit, worker, worker as u64))
    }

    fn permits(queue: &Rc<Queue>) -> Vec<Permit> {
        std::iter::from_fn(|| queue.permit()).collect()
    }

    /// Whom a look gives leave to open a connection.
    fn looked(queue: &Queue) -> Vec<u64> {
        let mut told = Vec::new();
        queue.look(&mut told);
        told.into_iter().map(|(tag, _)| tag).collect()
    }

    #[test]
    fn one_worker_may_have_all_while_nobody_else_waits() {
        let [one, _] = two(4);
        let all = permits(&one);
        assert_eq!(all.len(), 4);
        assert!(one.is_full());
        assert_eq!(one.surplus(), None);
        drop(all);
        assert!(!one.is_full());
    }

    #[test]
    fn what_is_beyond_a_share_is_the_others_while_they_wait() {
        let [one, other] = two(4);
        let mut all = permits(&one);
        for tag in 0..3 {
            other.wait(tag, u64::MAX);
        }
        assert_eq!(one.surplus(), Some(2));
        assert!(one.leave_to_others(false));
        all.pop();
        assert!(one.permit().is_none(), "it is left to the other");
        assert_eq!(looked(&other), [0]);
        let had = permits(&other);
        assert_eq!(had.len(), 1);
        all.pop();
        assert!(one.permit().is_none());
        assert_eq!(looked(&other), [1]);
        // A share is kept, and a share is all it gets.
        assert_eq!(one.surplus(), Some(0));
        assert!(!one.leave_to_others(true));
        one.wait(9, u64::MAX);
        drop(had);
        assert_eq!(looked(&one), [0; 0]);
    }

    #[test]
    fn nobody_who_waits_no_longer_is_given_anything() {
        let [one, _] = two(2);
        let all = permits(&one);
        let [first, second] = [0; 2].map(|_| one.wait_in_task(u64::MAX));
        one.wait(3, 0);
        one.wait(4, u64::MAX);
        drop(first);
        drop(all);
        assert_eq!(looked(&one), [4]);
        let poll = second.poll(&Context::from_waker(Waker::noop()));
        assert!(matches!(poll, Poll::Ready(None)));
        assert!(!one.is_full());
    }

    #[test]
    fn shares_are_the_maximum_together_unless_some_would_get_none() {
        for (max, workers) in [(1, 1), (4, 2), (7, 3), (1000, 16), (16, 16)] {
            let limit = Limit::new(max, workers);
            let shares: Vec<_> = (0..workers).map(|index| limit.share(index)).collect();
            assert_eq!(shares.iter().sum::<usize>(), max, "{shares:?}");
            assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
        }
        for index in 0..4 {
            assert_eq!(Limit::new(3, 4).share(index), 0);
        }
    }
}
