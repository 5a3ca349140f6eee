//! Sockets, accept, and what a listener is told.

mod acceptor;
mod settings;
mod socket;

pub use acceptor::accept_all;
pub use settings::*;
pub use socket::{BindError, bind};
