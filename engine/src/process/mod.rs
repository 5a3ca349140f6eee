//! One process: starts workers, signals, drain.

mod settings;

pub use settings::*;
