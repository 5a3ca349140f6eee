//! What the access log is told.

use std::path::PathBuf;

/// `[log]`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where lines go.
    pub access: Destination,
    /// How a line looks.
    pub format: Format,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}

/// How a line of the access log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// One line of text, in the common log's order.
    Text,
}
