//! The product as its users meet it: the real process, real sockets, bytes.

mod attacks;
mod headers;
mod proxying;
mod routing;
