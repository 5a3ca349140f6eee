//! Large bodies that need not be kept: each byte follows from its position.

/// A period that shares no factor with any buffer's size, so that a shifted, lost or repeated block shows.
const PERIOD: usize = 65_521;

/// Bytes of a body that never repeats at a buffer's boundary.
#[derive(Debug)]
pub struct Pattern {
    block: Vec<u8>,
}

impl Default for Pattern {
    fn default() -> Self {
        Pattern::new()
    }
}

impl Pattern {
    /// The pattern; always the same one.
    pub fn new() -> Pattern {
        let mut state = 0x2545_f491_u32;
        let block = (0..PERIOD)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state.to_le_bytes()[2]
            })
            .collect();
        Pattern { block }
    }

    /// Bytes from position `at` on: at least one, at most a period's worth and `most`.
    pub fn from(&self, at: u64, most: u64) -> &[u8] {
        let start = usize::try_from(at % PERIOD as u64).expect("below the period");
        let rest = &self.block[start..];
        &rest[..rest.len().min(usize::try_from(most).unwrap_or(usize::MAX))]
    }
}

/// Compares a body against the pattern as it arrives.
#[derive(Debug, Default)]
pub struct Check {
    pattern: Pattern,
    seen: u64,
}

impl Check {
    /// Nothing seen yet.
    pub fn new() -> Check {
        Check::default()
    }

    /// Takes the next bytes; panics at the first that is not the pattern's.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let expected = self.pattern.from(self.seen, bytes.len() as u64);
            let (now, later) = bytes.split_at(expected.len());
            assert!(
                now == expected,
                "the body differs within {} bytes after {}",
                now.len(),
                self.seen
            );
            self.seen += now.len() as u64;
            bytes = later;
        }
    }

    /// Bytes compared so far.
    pub fn seen(&self) -> u64 {
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_cut_anywhere_passes_its_own_check() {
        let pattern = Pattern::new();
        let mut whole = Vec::new();
        while whole.len() < 200_000 {
            whole.extend_from_slice(pattern.from(whole.len() as u64, u64::MAX));
        }
        let mut check = Check::new();
        for piece in whole.chunks(4_097) {
            check.take(piece);
        }
        assert_eq!(check.seen(), whole.len() as u64);
    }

    #[test]
    #[should_panic(expected = "differs")]
    fn a_lost_buffer_does_not_pass() {
        let pattern = Pattern::new();
        let mut check = Check::new();
        check.take(pattern.from(0, 4_096));
        check.take(pattern.from(8_192, 4_096));
    }
}
