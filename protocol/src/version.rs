//! The HTTP/1 versions that are spoken (RFC 9112 §2.3).

/// Version of an HTTP/1 message.
#[derive(Debug, Copy, Clone, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    H10,
    /// HTTP/1.1.
    #[default]
    H11,
}

impl Version {
    /// As written in a start line.
    #[must_use]
    pub fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::H10 => b"HTTP/1.0",
            Self::H11 => b"HTTP/1.1",
        }
    }
}

/// Reads the eight bytes of a version. `Err(true)`: a version, but not one that is spoken.
#[inline]
pub(crate) fn parse(text: &[u8]) -> Result<Version, bool> {
    match text {
        b"HTTP/1.1" => Ok(Version::H11),
        b"HTTP/1.0" => Ok(Version::H10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] => {
            Err(major.is_ascii_digit() && minor.is_ascii_digit())
        }
        _ => Err(false),
    }
}
