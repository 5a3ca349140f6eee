//! Bounds of a message's head.

/// How much of a head is taken before it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole head, start line and empty line included (431).
    pub head_bytes: usize,
    /// Field lines (431).
    pub fields: usize,
    /// Bytes of the request target (414).
    pub target_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 65536,
            fields: 100,
            target_bytes: 8192,
        }
    }
}
