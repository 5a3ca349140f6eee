//! Sockets, accept, and what a listener is told.

mod settings;

pub use settings::*;
