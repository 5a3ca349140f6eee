//! Ringway's engine: a thread-per-core HTTP reverse proxy on io_uring.
//!
//! Rooms, top to bottom; each imports only rooms below it:
//! `cli → process → {config, admin} → worker → listen → downstream → exchange → {route, upstream} → message →
//! transport → ring → observe → protocol`.

#![deny(unsafe_code)]

pub mod admin;
pub mod cli;
pub mod config;
pub mod downstream;
pub mod exchange;
pub mod listen;
pub mod message;
pub mod observe;
pub mod process;
pub mod ring;
pub mod route;
pub mod transport;
pub mod upstream;
pub mod worker;
