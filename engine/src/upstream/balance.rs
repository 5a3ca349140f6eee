//! Weighted round robin, smoothly interleaved (nginx's algorithm): weights 5, 1, 1 pick a a b a c a a, not a a a a a b c.
//!
//! Pure: it knows indices and weights, never endpoints, sockets or health; who may be picked is asked at each pick.
//! Invariant: while every endpoint is usable, any `sum(weights)` picks in a row hold each index exactly `weight` times.

/// Picks skipped at the start, at most: enough to spread workers, and bounded whatever the weights are.
const OFFSET_MAX: u64 = 4096;

/// The state of one upstream's rotation; each worker has its own.
#[derive(Debug, Clone)]
pub struct RoundRobin {
    shares: Vec<Share>,
}

/// One endpoint's place in the rotation.
#[derive(Debug, Clone, Copy)]
struct Share {
    weight: i64,
    /// How far it is ahead of its due; the one furthest ahead is picked. The sum over all shares is 0.
    credit: i64,
}

impl RoundRobin {
    /// A rotation over `weights` (0 counts as 1), begun `offset` picks in, so that workers given different offsets do
    /// not send their first requests to the same endpoint.
    pub fn new(weights: &[u32], offset: u64) -> Self {
        let divisor = weights
            .iter()
            .fold(0, |gcd, &weight| {
                greatest_common_divisor(gcd, weight.max(1))
            })
            .max(1);
        let shares: Vec<Share> = weights
            .iter()
            .map(|&weight| Share {
                weight: i64::from(weight.max(1) / divisor),
                credit: 0,
            })
            .collect();
        let period: i64 = shares.iter().map(|share| share.weight).sum();
        let mut rotation = Self { shares };
        if period > 0 {
            for _ in 0..offset % period.unsigned_abs().min(OFFSET_MAX) {
                rotation.next(|_| true);
            }
        }
        rotation
    }

    /// The next index among those `usable`; `None` where there is none. The weights of the others keep their ratio.
    pub fn next(&mut self, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (index, share) in self.shares.iter_mut().enumerate() {
            if !usable(index) {
                continue;
            }
            total += share.weight;
            share.credit += share.weight;
            if best.is_none_or(|(_, credit)| share.credit > credit) {
                best = Some((index, share.credit));
            }
        }
        let (index, _) = best?;
        self.shares[index].credit -= total;
        Some(index)
    }

    /// How many endpoints it rotates over.
    pub fn len(&self) -> usize {
        self.shares.len()
    }

    /// Whether it has no endpoints.
    pub fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }
}

fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn picks(
        rotation: &mut RoundRobin,
        count: usize,
        usable: impl Fn(usize) -> bool,
    ) -> Vec<usize> {
        (0..count)
            .map(|_| rotation.next(&usable).expect("one is usable"))
            .collect()
    }

    fn tally(picks: &[usize], endpoints: usize) -> Vec<u32> {
        let mut counts = vec![0; endpoints];
        for &index in picks {
            counts[index] += 1;
        }
        counts
    }

    #[test]
    fn equal_weights_take_turns() {
        let mut rotation = RoundRobin::new(&[1, 1, 1], 0);
        assert_eq!(picks(&mut rotation, 6, |_| true), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn heavy_endpoints_are_interleaved_with_light_ones() {
        let mut rotation = RoundRobin::new(&[5, 1, 1], 0);
        assert_eq!(picks(&mut rotation, 7, |_| true), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn no_endpoint_usable_is_none_and_changes_nothing() {
        let mut rotation = RoundRobin::new(&[1, 1], 0);
        assert_eq!(rotation.next(|_| false), None);
        assert_eq!(rotation.next(|_| true), Some(0));
        assert_eq!(RoundRobin::new(&[], 3).next(|_| true), None);
    }

    #[test]
    fn workers_with_different_offsets_start_at_different_endpoints() {
        let first = |offset| RoundRobin::new(&[1, 1, 1, 1], offset).next(|_| true);
        assert_eq!(
            (0..5).map(first).collect::<Vec<_>>(),
            [0, 1, 2, 3, 0].map(Some)
        );
    }

    #[test]
    fn weights_in_ratio_make_the_same_rotation() {
        let mut small = RoundRobin::new(&[3, 2], 1);
        let mut large = RoundRobin::new(&[3_000_000_000, 2_000_000_000], 1);
        assert_eq!(
            picks(&mut small, 20, |_| true),
            picks(&mut large, 20, |_| true)
        );
    }

    #[test]
    fn the_largest_weights_do_not_overflow() {
        let mut rotation = RoundRobin::new(&[u32::MAX, u32::MAX - 1, 0], u64::MAX);
        assert_eq!(tally(&picks(&mut rotation, 10_000, |_| true), 3)[2], 0);
    }

    #[test]
    fn an_endpoint_that_comes_back_is_not_owed_what_it_missed() {
        let mut rotation = RoundRobin::new(&[1, 1], 0);
        assert!(
            picks(&mut rotation, 1000, |index| index == 0)
                .iter()
                .all(|&index| index == 0)
        );
        let after = tally(&picks(&mut rotation, 10, |_| true), 2);
        assert_eq!(after, [5, 5]);
    }

    proptest! {
        #[test]
        fn any_period_holds_each_endpoint_by_its_weight(
            weights in prop::collection::vec(1u32..20, 1..10),
            offset in 0u64..1000,
            skipped in 0usize..50,
        ) {
            let mut rotation = RoundRobin::new(&weights, offset);
            picks(&mut rotation, skipped, |_| true);
            let period = weights.iter().sum::<u32>() as usize;
            prop_assert_eq!(tally(&picks(&mut rotation, period, |_| true), weights.len()), weights);
        }

        #[test]
        fn unusable_endpoints_are_never_picked_and_the_others_keep_their_ratio(
            endpoints in prop::collection::vec((1u32..20, any::<bool>()), 1..10),
        ) {
            let weights: Vec<u32> = endpoints.iter().map(|(weight, _)| *weight).collect();
            let expected: Vec<u32> = endpoints
                .iter()
                .map(|&(weight, usable)| if usable { weight } else { 0 })
                .collect();
            let period = expected.iter().sum::<u32>() as usize;
            prop_assume!(period > 0);
            let mut rotation = RoundRobin::new(&weights, 0);
            let counts = tally(&picks(&mut rotation, period, |index| endpoints[index].1), weights.len());
            prop_assert_eq!(counts, expected);
        }

        #[test]
        fn whatever_comes_and_goes_only_usable_endpoints_are_picked_and_credit_stays_bounded(
            weights in prop::collection::vec(1u32..1000, 1..8),
            masks in prop::collection::vec(any::<u8>(), 1..200),
        ) {
            let mut rotation = RoundRobin::new(&weights, 0);
            let total = i64::from(weights.iter().sum::<u32>());
            for mask in masks {
                let usable = |index: usize| mask & (1 << index) != 0;
                match rotation.next(usable) {
                    Some(index) => prop_assert!(usable(index)),
                    None => prop_assert!(!(0..weights.len()).any(usable)),
                }
                prop_assert_eq!(rotation.shares.iter().map(|share| share.credit).sum::<i64>(), 0);
                for share in &rotation.shares {
                    let bound = total * weights.len() as i64;
                    prop_assert!(share.credit.abs() <= bound);
                }
            }
        }
    }
}
