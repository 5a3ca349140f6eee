//! A range of bytes inside the buffer a head was parsed from.
//!
//! Heads hold spans, not slices, so that one head struct serves every message of a connection
//! and the buffer may move between reads.

/// Where something lies in the bytes it was parsed from.
#[derive(Debug, Copy, Clone, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// The span of `start..end`. Heads are far below 4 GiB (`Limits::head_bytes`), so the
    /// narrowing never loses anything.
    #[must_use]
    #[inline]
    pub fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && u32::try_from(end).is_ok());
        Self {
            start: start as u32,
            len: (end - start) as u32,
        }
    }

    /// The first byte's index.
    #[must_use]
    #[inline]
    pub fn start(self) -> usize {
        self.start as usize
    }

    /// The index after the last byte.
    #[must_use]
    #[inline]
    pub fn end(self) -> usize {
        self.start as usize + self.len as usize
    }

    /// Length in bytes.
    #[must_use]
    #[inline]
    pub fn len(self) -> usize {
        self.len as usize
    }

    /// Whether it covers nothing.
    #[must_use]
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The bytes it covers.
    ///
    /// # Panics
    /// When `bytes` is shorter than what was parsed: a caller's mistake, never the peer's.
    #[must_use]
    #[inline]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start()..self.end()]
    }
}
