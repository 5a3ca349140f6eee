//! A byte stream with what was received and not yet taken, and HTTP/1 bodies on it.

mod body;
mod stream;

pub use body::{BodyReader, BodyWriter, ReadError};
pub use stream::{Fill, Stream};
