//! One function for each way bytes from outside get in. It panics when an invariant breaks.
//!
//! `fuzz/run SECONDS` drives them with libFuzzer; the tests drive them with the seeds and with
//! generated messages. The first byte of the input says where the message is cut in two.
#![forbid(unsafe_code)]

mod chunked;
mod request_head;
mod response_head;

pub use chunked::chunked;
pub use request_head::request_head;
pub use response_head::response_head;

/// Cuts an input into the message and a place inside it.
fn split_point(data: &[u8]) -> Option<(usize, &[u8])> {
    let (first, message) = data.split_first()?;
    Some((message.len() * usize::from(*first) / 255, message))
}
