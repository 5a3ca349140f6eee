//! The bytes every body is made of, so that a reader can check what it was sent.
//!
//! Byte `i` of any body is byte `i % PERIOD` of one fixed sequence. The sequence is printable, does not repeat inside
//! its period, and small enough to stay in a core's cache.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::LazyLock,
};

use rustix::fs::{MemfdFlags, memfd_create, sendfile};

/// After this many bytes the sequence starts over.
pub const PERIOD_BYTES: usize = 64 * 1024;

/// The table holds the sequence this often, so that long slices can be had from any offset.
const REPEATS: usize = 5;

/// The file holds as much of it: 1 MiB from any offset within the period, so that most bodies are sent in one go.
const FILE_BYTES: usize = 1024 * 1024 + PERIOD_BYTES;

static TABLE: LazyLock<Box<[u8]>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let period: Vec<u8> = (0..PERIOD_BYTES)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            b'0' + (state >> 33) as u8 % 64
        })
        .collect();
    period.repeat(REPEATS).into_boxed_slice()
});

/// What a body holds from `offset` on: a slice of at least `PERIOD_BYTES * 4` bytes, more of the body may follow it.
pub fn from(offset: u64) -> &'static [u8] {
    &TABLE[(offset % PERIOD_BYTES as u64) as usize..]
}

/// A file of the sequence, in memory only. Sent from there (sendfile(2)) a body is not copied.
#[derive(Debug)]
pub struct PatternFile(File);

impl PatternFile {
    /// Fails where the process may have no more descriptors or memory.
    pub fn new() -> io::Result<Self> {
        let mut file = File::from(memfd_create("pattern", MemfdFlags::CLOEXEC)?);
        for _ in 0..FILE_BYTES / PERIOD_BYTES {
            file.write_all(&TABLE[..PERIOD_BYTES])?;
        }
        Ok(Self(file))
    }

    /// Sends what a body holds from `offset` on, up to `bytes`; how many were sent.
    pub fn send(&self, socket: impl AsFd, offset: u64, bytes: u64) -> io::Result<usize> {
        let mut at = offset % PERIOD_BYTES as u64;
        let bytes = bytes.min(FILE_BYTES as u64 - at) as usize;
        Ok(sendfile(socket, &self.0, Some(&mut at), bytes)?)
    }
}

/// The first `len` bytes of a body.
pub fn body(len: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(len);
    while body.len() < len {
        let slice = from(body.len() as u64);
        body.extend_from_slice(&slice[..slice.len().min(len - body.len())]);
    }
    body
}

/// Whether `bytes` are what a body holds from `offset` on.
pub fn matches(mut offset: u64, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let expected = from(offset);
        let (now, later) = bytes.split_at(bytes.len().min(expected.len()));
        if now != &expected[..now.len()] {
            return false;
        }
        offset += now.len() as u64;
        bytes = later;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_piece_of_a_body_matches_at_its_own_offset_only() {
        let body = body(PERIOD_BYTES * 6 + 17);
        for (offset, len) in [
            (0, body.len()),
            (1, 100),
            (PERIOD_BYTES - 3, 10),
            (PERIOD_BYTES * 5, 1000),
        ] {
            assert!(matches(offset as u64, &body[offset..offset + len]));
            assert!(!matches(offset as u64 + 1, &body[offset..offset + len]));
        }
    }
}
