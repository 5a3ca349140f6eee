//! Histograms of a fixed shape: durations and sizes.
//!
//! Written by one thread, read by any. The count is the buckets' sum, so a reader never sees the two disagree.

use std::time::Duration;

use super::counters::Counter;

/// Upper bounds of the duration buckets, in nanoseconds; 0.5 ms to a minute.
pub(super) const DURATION_BOUNDS_NANOS: [u64; 16] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// The first size bucket's upper bound is `4^SIZE_EXPONENT_MIN`: 64 bytes.
const SIZE_EXPONENT_MIN: u32 = 3;

/// Upper bounds of the size buckets, in bytes: powers of 4 from 64 B to 1 GiB.
pub(super) const SIZE_BOUNDS_BYTES: [u64; 13] = {
    let mut bounds = [0; 13];
    let mut index = 0;
    while index < bounds.len() {
        bounds[index] = 1 << (2 * (index as u32 + SIZE_EXPONENT_MIN));
        index += 1;
    }
    bounds
};

/// Buckets, the last one for everything over the highest bound, and the sum of what was recorded.
#[derive(Debug)]
pub(super) struct Histogram<const BUCKETS: usize> {
    pub(super) buckets: [Counter; BUCKETS],
    pub(super) sum: Counter,
}

impl<const BUCKETS: usize> Default for Histogram<BUCKETS> {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| Counter::default()),
            sum: Counter::default(),
        }
    }
}

/// Durations, summed in nanoseconds.
#[derive(Debug, Default)]
pub struct DurationHistogram(pub(super) Histogram<17>);

/// Sizes, summed in bytes.
#[derive(Debug, Default)]
pub struct SizeHistogram(pub(super) Histogram<14>);

impl DurationHistogram {
    /// Records one duration.
    #[inline]
    pub fn record(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.0.buckets[duration_bucket(nanos)].increment();
        self.0.sum.add(nanos);
    }
}

impl SizeHistogram {
    /// Records one size.
    #[inline]
    pub fn record(&self, bytes: u64) {
        self.0.buckets[size_bucket(bytes)].increment();
        self.0.sum.add(bytes);
    }
}

/// The first bucket whose bound is not below `nanos`: four steps, without branches.
#[inline]
fn duration_bucket(nanos: u64) -> usize {
    DURATION_BOUNDS_NANOS.partition_point(|&bound| bound < nanos)
}

/// The same for sizes, from the position of the highest bit.
#[inline]
fn size_bucket(bytes: u64) -> usize {
    let log2_rounded_up = u64::BITS - bytes.saturating_sub(1).leading_zeros();
    let log4_rounded_up = log2_rounded_up.div_ceil(2);
    (log4_rounded_up.saturating_sub(SIZE_EXPONENT_MIN) as usize).min(SIZE_BOUNDS_BYTES.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first bound that is not below `value`, by looking at each.
    fn reference_bucket(bounds: &[u64], value: u64) -> usize {
        bounds.iter().filter(|&&bound| bound < value).count()
    }

    #[test]
    fn bounds_belong_to_their_own_bucket() {
        for (index, &bound) in DURATION_BOUNDS_NANOS.iter().enumerate() {
            assert_eq!(duration_bucket(bound), index);
            assert_eq!(duration_bucket(bound + 1), index + 1);
        }
        for (index, &bound) in SIZE_BOUNDS_BYTES.iter().enumerate() {
            assert_eq!(size_bucket(bound), index);
            assert_eq!(size_bucket(bound + 1), index + 1);
        }
    }

    #[test]
    fn size_bounds_are_64_bytes_to_a_gibibyte() {
        assert_eq!(SIZE_BOUNDS_BYTES.first(), Some(&64));
        assert_eq!(SIZE_BOUNDS_BYTES.last(), Some(&(1 << 30)));
    }

    #[test]
    fn nothing_is_too_small_or_too_large() {
        assert_eq!(duration_bucket(0), 0);
        assert_eq!(size_bucket(0), 0);
        assert_eq!(duration_bucket(u64::MAX), DURATION_BOUNDS_NANOS.len());
        assert_eq!(size_bucket(u64::MAX), SIZE_BOUNDS_BYTES.len());
        DurationHistogram::default().record(Duration::MAX);
    }

    proptest! {
        #[test]
        fn buckets_agree_with_a_look_at_every_bound(bits in any::<u64>(), shift in 0u32..64) {
            let value = bits >> shift;
            prop_assert_eq!(duration_bucket(value), reference_bucket(&DURATION_BOUNDS_NANOS, value));
            prop_assert_eq!(size_bucket(value), reference_bucket(&SIZE_BOUNDS_BYTES, value));
        }
    }
}
