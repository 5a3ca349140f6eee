//! The product as its users meet it: the real process, real sockets, bytes.

mod allocations;
mod attacks;
mod command_line;
mod draining;
mod endurance;
mod headers;
mod layers;
mod limits;
mod observing;
mod proxying;
mod queueing;
mod routing;
mod upstreams;
