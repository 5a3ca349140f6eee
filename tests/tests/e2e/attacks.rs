//! What must be refused: every entry of ATTACKS.md's "HTTP/1 framing" and "From the origin", as bytes.

mod from_clients;
mod from_origins;
