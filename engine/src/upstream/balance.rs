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
