//! Head to route, pure.

mod settings;

pub use settings::*;
