//! Resolving, balancing, pooling, connecting, and the client side of HTTP/1.

pub mod balance;
mod settings;

pub use settings::*;
