//! The main job: requests and responses of every shape pass unchanged, as they come.

mod bodies;
mod continuation;
mod kept;
mod splicing;
mod upgrade;
mod versions;
