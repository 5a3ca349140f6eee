//! The client side of HTTP/1: bytes to exchanges and back.
//!
//! An idle connection is an entry in a table, not a task. What arrives on it hands it to one of a few driver tasks,
//! which serve it until it is idle again; in steady state a request allocates nothing.

mod connection;
mod drivers;
mod h1;
mod session;
mod settings;

pub use connection::{Connection, Guard, Shared};
pub use drivers::Downstream;
pub use settings::*;
