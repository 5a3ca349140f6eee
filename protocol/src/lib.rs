//! The rules of HTTP: bytes in, events out. No sockets, no clock, no runtime.
//!
//! Every message is parsed, judged, and written anew from its parsed form; one that two readers
//! could take for different ones is refused.
//!
//! A request's way through this crate:
//! 1. [`RequestHead::parse`] on the bytes so far, until it says how long the head is;
//! 2. [`policy::edit_request`] makes it fit for the next hop;
//! 3. [`h1::encode::request_head`] writes it;
//! 4. [`BodyDecoder`] takes the body apart, [`chunk_prefix`] and its neighbours put it together.
//!
//! A response goes the same way back through [`ResponseHead`]. Heads hold spans into the bytes
//! they were parsed from: every accessor is given those bytes again, and they may have moved.
//! Heads and decoders are reused from message to message (`reset`): in steady state nothing here
//! allocates.
#![forbid(unsafe_code)]

mod authority;
mod bytes;
mod connection;
pub mod field;
pub mod fields;
mod forwarded;
mod framing;
pub mod h1;
mod limits;
mod method;
pub mod path;
pub mod policy;
mod span;
mod target;
mod version;

pub use field::{FieldId, valid_field_name, valid_field_value};
pub use fields::{Field, Fields, Source};
pub use framing::BodyFraming;
pub use h1::body::{
    BodyDecoder, BodyError, CHUNK_SUFFIX, Decoded, LAST_CHUNK, chunk_prefix,
    write_last_chunk_with_trailers,
};
pub use h1::chunked::{ChunkDecoder, is_whole_body};
pub use h1::request::{RequestError, RequestHead, Upgrade};
pub use h1::response::{ResponseError, ResponseHead};
pub use limits::Limits;
pub use method::Method;
pub use path::PathError;
pub use policy::{Edits, Forwarding, HostPolicy, PolicyError};
pub use span::Span;
pub use target::TargetError;
pub use version::Version;
