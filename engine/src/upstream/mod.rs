//! Resolving, balancing, pooling, connecting, and the client side of HTTP/1.

mod settings;

pub use settings::*;
