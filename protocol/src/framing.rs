//! How a message's body is delimited (RFC 9112 §6).

/// Where a body ends.
#[derive(Debug, Copy, Clone, Default, PartialEq, Eq)]
pub enum BodyFraming {
    /// There is no body, and nothing says how long it would be.
    #[default]
    None,
    /// Exactly so many bytes.
    Length(u64),
    /// Chunked coding.
    Chunked,
    /// Until the connection closes (responses only).
    UntilClose,
}

impl BodyFraming {
    /// Whether no body byte will come.
    #[must_use]
    pub fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}
