//! How tasks live on the ring: who polls them, what a panic in one does.
//!
//! monoio polls them (`hosted`); a run queue of the ring's own (`bare`, the feature `bare-ring`) is there to measure what
//! that costs.

#[cfg(feature = "bare-ring")]
mod bare;
#[cfg(not(feature = "bare-ring"))]
mod hosted;

use std::any::Any;
use std::cell::RefCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

#[cfg(feature = "bare-ring")]
use bare as host;
#[cfg(not(feature = "bare-ring"))]
use hosted as host;

use super::reactor::Ring;

/// Runs `main` on this thread's reactor, together with whatever it spawns, until it returns. `after_turn` is called after
/// every turn, to hand out what nobody attends to.
pub fn run<M, F>(main: M, mut after_turn: impl FnMut() + 'static) -> io::Result<F::Output>
where
    M: FnOnce(Ring) -> F + 'static,
    F: Future + 'static,
    F::Output: 'static,
{
    let ring = Ring::new()?;
    let output = Rc::new(RefCell::new(None));
    let start = {
        let (ring, output) = (ring.clone(), Rc::clone(&output));
        move || {
            let future = main(ring.clone());
            let finisher = Finisher(ring.clone());
            ring.spawn(async move {
                let value = future.await;
                *output.borrow_mut() = Some(value);
                drop(finisher);
            });
        }
    };
    let turn = {
        let ring = ring.clone();
        move |block| {
            ring.turn(block);
            after_turn();
        }
    };
    host::run(&ring, start, turn)?;
    let value = output.borrow_mut().take();
    value.ok_or_else(|| io::Error::other("the main task panicked"))
}

/// Ends the turning when the main task has ended, by a panic too.
struct Finisher(Ring);

impl Drop for Finisher {
    fn drop(&mut self) {
        self.0.shared.finished.set(true);
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
        host::spawn(async move {
            if contained.await.is_err() {
                drop(ring);
            }
        });
    }

    /// Calls `f` with its panics caught, counted and told as those of tasks are.
    pub fn contain_call<T>(&self, f: impl FnOnce() -> T) -> Result<T, Panic> {
        catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
            if let Ok(mut state) = self.shared.state.try_borrow_mut() {
                state.counters.panics += 1;
            }
            Panic(message(&*payload))
        })
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
        match ring.contain_call(|| future.poll(cx)) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
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
