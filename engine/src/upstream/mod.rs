//! Resolving, balancing, pooling, connecting, and the client side of HTTP/1.

pub mod balance;
mod connection;
mod pool;
mod queue;
mod resolve;
mod settings;

pub use connection::{Connection, OriginError};
pub use pool::{AcquireError, Acquired, Choice, Known, Pools, Tags};
pub use queue::{Grant, Limit};
pub use resolve::{Addresses, Resolver};
pub use settings::*;
