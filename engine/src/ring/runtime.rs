//! How the ring lives inside monoio: monoio polls the tasks, the ring waits for all of them.
//!
//! A pair of tasks turns the reactor, each sending the other to the back of the run queue; when one comes to the front
//! and no other task was polled since, nothing else can run, and the turn may block in the kernel. So a round costs one system
//! call, busy or not, and monoio's own driver is never asked to wait: nothing on such a thread may use monoio's I/O or
//! timers.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::reactor::Ring;

/// Rounds the tasks may go on waking each other before the reactor gets a turn all the same.
const ROUNDS_WITHOUT_TURN_MAX: u32 = 8;

/// Runs `main` on this thread's reactor, together with whatever it spawns, until it returns. `after_turn` is called after
/// every turn, to hand out what nobody attends to.
pub fn run<M, F>(main: M, mut after_turn: impl FnMut() + 'static) -> io::Result<F::Output>
where
    M: FnOnce(Ring) -> F + 'static,
    F: Future + 'static,
    F::Output: 'static,
{
    let mut builder = io_uring_06::IoUring::builder();
    builder.setup_coop_taskrun().setup_single_issuer();
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(256)
        .uring_builder(builder)
        .build()?;
    let ring = Ring::new()?;
    let result = runtime.block_on(async move {
        let output = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&output);
        let finisher = ring.clone();
        let future = main(ring.clone());
        ring.spawn(async move {
            let value = future.await;
            *slot.borrow_mut() = Some(value);
            finisher.shared.finished.set(true);
        });
        let mut seen = 0;
        let mut rounds = 0;
        let step = Rc::new(RefCell::new(move || {
            let shared = &ring.shared;
            let polls = shared.polls.get();
            let quiet = polls == seen;
            seen = polls;
            if quiet || rounds >= ROUNDS_WITHOUT_TURN_MAX {
                rounds = 0;
                ring.turn(quiet);
                after_turn();
            } else {
                rounds += 1;
            }
            shared.finished.get()
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
        output.borrow_mut().take()
    });
    result.ok_or_else(|| io::Error::other("the main task panicked"))
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
        super::store_waker(&mut baton.wakers[self.place].borrow_mut(), cx);
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

impl Ring {
    /// Runs `future` beside the others. A panic in it ends it alone, and is counted and reported.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let ring = self.clone();
        let contained = Contained {
            ring: self.clone(),
            future,
        };
        drop(monoio::spawn(async move {
            if contained.await.is_err() {
                drop(ring);
            }
        }));
    }

    /// Polls `future` inside this task with its panics caught: `Err` carries the panic's message.
    pub fn contain<F: Future>(&self, future: F) -> impl Future<Output = Result<F::Output, Panic>> {
        Contained {
            ring: self.clone(),
            future,
        }
    }
}

/// A panic that was kept to its task; the text is its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic(pub String);

struct Contained<F> {
    ring: Ring,
    future: F,
}

impl<F: Future> Future for Contained<F> {
    type Output = Result<F::Output, Panic>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `future` is never moved out of the pinned `self`; `ring` is not pinned.
        let (ring, future) = unsafe {
            let this = self.get_unchecked_mut();
            (&this.ring, Pin::new_unchecked(&mut this.future))
        };
        ring.shared.polls.set(ring.shared.polls.get() + 1);
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(payload) => {
                if let Ok(mut state) = ring.shared.state.try_borrow_mut() {
                    state.counters.panics += 1;
                }
                Poll::Ready(Err(Panic(message(&*payload))))
            }
        }
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
