//! One process: starts workers, signals, drain.

mod control;
mod settings;
mod start;

pub use settings::*;
pub use start::{Announce, StartError, run};
