//! The rules of HTTP: bytes in, events out. No sockets, no clock, no runtime.
#![forbid(unsafe_code)]

mod limits;

pub use limits::Limits;
