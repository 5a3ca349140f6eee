//! The ring without monoio: a run queue and nothing else, to measure by (feature `bare-ring`). Never in a release.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, RawWaker, RawWakerVTable, Waker};

use crate::ring::reactor::Ring;

thread_local! {
    static QUEUE: RefCell<VecDeque<Rc<Task>>> = const { RefCell::new(VecDeque::new()) };
}

struct Task {
    /// `None` once it has ended.
    future: RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>>,
    queued: Cell<bool>,
}

/// Runs what `start` spawns, with `turn` between, until the ring's main task has finished.
pub(super) fn run(ring: &Ring, start: impl FnOnce(), mut turn: impl FnMut(bool)) -> io::Result<()> {
    start();
    loop {
        // Those that are woken meanwhile have their turn in the next round.
        for _ in 0..QUEUE.with_borrow(VecDeque::len) {
            if let Some(task) = QUEUE.with_borrow_mut(VecDeque::pop_front) {
                poll(&task);
            }
        }
        if ring.shared.finished.get() {
            return Ok(());
        }
        turn(QUEUE.with_borrow(VecDeque::is_empty));
    }
}

/// Has `future` polled beside the others.
pub(super) fn spawn(future: impl Future<Output = ()> + 'static) {
    wake(Rc::new(Task {
        future: RefCell::new(Some(Box::pin(future))),
        queued: Cell::new(false),
    }));
}

fn poll(task: &Rc<Task>) {
    task.queued.set(false);
    // SAFETY: the pointer is that of an `Rc<Task>`, as the table's functions take it.
    let waker = unsafe { Waker::from_raw(raw(Rc::clone(task))) };
    let mut place = task.future.borrow_mut();
    let ended = place.as_mut().is_some_and(|future| {
        future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
    });
    if ended {
        *place = None;
    }
}

fn wake(task: Rc<Task>) {
    if !task.queued.replace(true) {
        QUEUE.with_borrow_mut(|queue| queue.push_back(task));
    }
}

fn raw(task: Rc<Task>) -> RawWaker {
    // Wakers of a reactor's tasks stay on its thread: another one wakes it through `Remote`.
    const TABLE: RawWakerVTable = RawWakerVTable::new(
        |task| raw((*std::mem::ManuallyDrop::new(own(task))).clone()),
        |task| wake(own(task)),
        |task| wake((*std::mem::ManuallyDrop::new(own(task))).clone()),
        |task| drop(own(task)),
    );
    RawWaker::new(Rc::into_raw(task).cast(), &TABLE)
}

fn own(task: *const ()) -> Rc<Task> {
    // SAFETY: `raw` made the pointer from an `Rc<Task>`, whose count each function of the table takes or leaves.
    unsafe { Rc::from_raw(task.cast::<Task>()) }
}
