//! Request ids: 128 bits as 32 hex digits, without a system call per request.
//!
//! Invariant: one generator does not repeat an id in 2^64 calls. They are hard to collide with, not hard to guess: never
//! use one as a secret.

/// 2^64 divided by the golden ratio, splitmix64's step; odd, so that its multiples visit every value.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// One worker's generator.
#[derive(Debug, Clone)]
pub struct RequestIds {
    /// Mixed for the first half: a bijection of the count, hence no repeats.
    count: u64,
    /// Mixed for the second half: tells workers and processes apart.
    stream: u64,
}

impl RequestIds {
    /// `seed` is fresh random bits of the process, `worker` the worker's number.
    pub fn new(seed: u64, worker: u64) -> Self {
        let own = mix(seed ^ mix(worker.wrapping_add(1)));
        Self {
            count: own,
            stream: mix(own.wrapping_add(STEP)),
        }
    }

    /// The next id, lower-case hex.
    #[inline]
    pub fn next_id(&mut self) -> [u8; 32] {
        let mut text = [0; 32];
        self.write(&mut text);
        text
    }

    /// Writes the next id, lower-case hex.
    #[inline]
    pub fn write(&mut self, text: &mut [u8; 32]) {
        self.count = self.count.wrapping_add(STEP);
        self.stream = self.stream.wrapping_add(0xd134_2543_de82_ef95);
        let halves = [
            mix(self.count),
            mix(self.stream ^ self.count.rotate_left(32)),
        ];
        for (digits, half) in text.chunks_exact_mut(16).zip(halves) {
            digits[..8].copy_from_slice(&hex((half >> 32) as u32));
            digits[8..].copy_from_slice(&hex(half as u32));
        }
    }
}

/// Eight lower-case digits, all of them at once: one in each byte of a word.
#[inline]
fn hex(value: u32) -> [u8; 8] {
    let x = u64::from(value);
    let x = (x | x << 16) & 0x0000_ffff_0000_ffff;
    let x = (x | x << 8) & 0x00ff_00ff_00ff_00ff;
    let x = (x | x << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = ((x + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (x + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

/// splitmix64's finaliser: a bijection whose every output bit depends on every input bit.
#[inline]
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_32_lower_case_hex_digits() {
        let id = RequestIds::new(0, 0).next_id();
        assert!(
            id.iter()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        );
    }

    #[test]
    fn digits_are_those_of_the_number() {
        for value in [0, 1, 0x0123_4567, 0x89ab_cdef, 0x9a9a_a9a9, u32::MAX] {
            assert_eq!(hex(value), *format!("{value:08x}").as_bytes());
        }
    }

    #[test]
    fn workers_of_one_process_never_share_an_id() {
        let mut seen = HashSet::new();
        for worker in 0..64 {
            let mut ids = RequestIds::new(7, worker);
            for _ in 0..1000 {
                assert!(seen.insert(ids.next_id()));
            }
        }
    }

    #[test]
    fn processes_with_different_seeds_give_different_ids() {
        assert_ne!(
            RequestIds::new(1, 0).next_id(),
            RequestIds::new(2, 0).next_id()
        );
    }

    #[test]
    fn every_digit_varies() {
        let mut ids = RequestIds::new(3, 1);
        let all: Vec<_> = (0..1000).map(|_| ids.next_id()).collect();
        for at in 0..32 {
            let digits: HashSet<u8> = all.iter().map(|id| id[at]).collect();
            assert_eq!(digits.len(), 16, "digit {at}");
        }
    }
}
