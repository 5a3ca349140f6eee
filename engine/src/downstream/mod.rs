//! The client side of HTTP/1: bytes to exchanges and back.

mod settings;

pub use settings::*;
