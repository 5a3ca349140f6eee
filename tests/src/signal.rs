//! A counting signal between a test and the script of its origin, and the wait for a condition.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crate::PATIENCE;

/// Counts up on `raise`, down on `wait`; clones share the count.
#[derive(Debug, Clone, Default)]
pub struct Signal {
    shared: Arc<(Mutex<usize>, Condvar)>,
}

impl Signal {
    /// A signal nobody has raised yet.
    pub fn new() -> Signal {
        Signal::default()
    }

    /// Lets one wait pass.
    pub fn raise(&self) {
        let (count, changed) = &*self.shared;
        *count.lock().expect("no holder of the count panics") += 1;
        changed.notify_all();
    }

    /// Waits for one raise; panics when it never comes.
    pub fn wait(&self) {
        let (count, changed) = &*self.shared;
        let guard = count.lock().expect("no holder of the count panics");
        let (mut guard, timeout) = changed
            .wait_timeout_while(guard, PATIENCE, |count| *count == 0)
            .expect("no holder of the count panics");
        let raised = !timeout.timed_out();
        if raised {
            *guard -= 1;
        }
        drop(guard);
        assert!(raised, "a signal was awaited and never raised");
    }
}

/// Asks again until `look` finds something; panics with `what` when it never does.
///
/// For states that nothing announces. `look` must block on something itself (a request, a connect), so that asking again
/// gives the other side the time to move.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::yield_now();
    }
}
