//! As much of HTTP/1.1 as a load generator and a test origin need: heads, body framing, chunked coding.
//!
//! Fed slices, says how much it took; sees no socket and no clock. It is lenient where leniency is harmless and never
//! used by the proxy: the harness must not share a bug with what it measures.

mod chunked;
mod head;
mod reader;

pub use chunked::ChunkedDecoder;
pub use head::{Framing, RequestHead, ResponseHead, parse_request, parse_response};
pub use reader::{BodyReader, Event, HEAD_BYTES_MAX, ResponseReader, carry_over};

/// Bytes that are not HTTP/1.1. The connection cannot be used any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;
