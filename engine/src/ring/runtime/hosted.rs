//! The ring inside monoio: monoio polls the tasks, the ring waits for all of them.
//!
//! A pair of tasks turns the reactor, each sending the other to the back of the run queue. While no other task is woken
//! nothing else can run, and turns follow each other and may block in the kernel. So a round costs one system call, busy or
//! not, and monoio's own driver is never asked to wait: nothing on such a thread may use monoio's I/O or timers. monoio adds
//! a call of its own, on its empty ring, each time round its loop: only when tasks were woken.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::ring::reactor::Ring;
use crate::ring::store_waker;

/// Rounds the tasks may go on waking each other before the reactor gets a turn all the same.
const ROUNDS_WITHOUT_TURN_MAX: u32 = 8;

thread_local! {
    /// A task that does not turn the reactor was woken since it was looked last.
    static WOKEN: Cell<bool> = const { Cell::new(false) };
}

/// Runs what `start` spawns, with `turn` between, until the ring's main task has finished.
pub(super) fn run(
    ring: &Ring,
    start: impl FnOnce() + 'static,
    mut turn: impl FnMut(bool) + 'static,
) -> io::Result<()> {
    let mut builder = io_uring_06::IoUring::builder();
    builder.setup_coop_taskrun().setup_single_issuer();
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(256)
        .uring_builder(builder)
        .build()?;
    let ring = ring.clone();
    runtime.block_on(async move {
        start();
        let mut rounds = 0;
        let step = Rc::new(RefCell::new(move || {
            let finished = &ring.shared.finished;
            while !WOKEN.replace(false) && !finished.get() {
                rounds = 0;
                turn(true);
            }
            rounds += 1;
            if rounds > ROUNDS_WITHOUT_TURN_MAX {
                rounds = 0;
                turn(false);
            }
            finished.get()
        }));
        let baton = Rc::new(Baton::default());
        let other = Turner {
            place: 1,
            baton: Rc::clone(&baton),
            step: Rc::clone(&step),
        };
        drop(monoio::spawn(other));
        // Spawned, not awaited in place: monoio polls the outermost future out of the run queue's order.
        monoio::spawn(Turner {
            place: 0,
            baton,
            step,
        })
        .await;
    });
    Ok(())
}

/// Has `future` polled beside the others.
pub(super) fn spawn(future: impl Future<Output = ()> + 'static) {
    WOKEN.set(true);
    drop(monoio::spawn(async move {
        let mut future = pin!(future);
        let mut waker = None;
        poll_fn(move |cx| {
            let waker = waker.get_or_insert_with(|| Arc::new(Noted(cx.waker().clone())).into());
            future.as_mut().poll(&mut Context::from_waker(waker))
        })
        .await;
    }));
}

/// A task's waker, whose use is noted. It stays on the reactor's thread: others wake that through `Remote`.
struct Noted(Waker);

impl Wake for Noted {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        WOKEN.set(true);
        self.0.wake_by_ref();
    }
}

/// Whose turn it is, and how to wake both.
#[derive(Default)]
struct Baton {
    holder: Cell<usize>,
    finished: Cell<bool>,
    wakers: [RefCell<Option<Waker>>; 2],
}

/// One of two tasks that turn the reactor by turns: monoio puts a task that wakes itself at the front of its run queue,
/// where it starves all others; one that another task wakes goes to the back.
struct Turner<S> {
    place: usize,
    baton: Rc<Baton>,
    step: Rc<RefCell<S>>,
}

impl<S: FnMut() -> bool> Future for Turner<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let baton = &self.baton;
        store_waker(&mut baton.wakers[self.place].borrow_mut(), cx);
        if baton.holder.get() == self.place && !baton.finished.get() {
            baton.finished.set((self.step.borrow_mut())());
            baton.holder.set(1 - self.place);
            if let Some(waker) = &*baton.wakers[1 - self.place].borrow() {
                waker.wake_by_ref();
            }
        }
        if baton.finished.get() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
