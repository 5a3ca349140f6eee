//! HTTP/1.0 and HTTP/1.1 (RFC 9112): heads and bodies, both ways.

pub mod body;
pub mod chunked;
pub mod encode;
mod framing;
mod lines;
pub mod request;
pub mod response;

pub use framing::FramingError;
pub use lines::LineError;
