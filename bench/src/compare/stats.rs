//! Medians, spreads and what can be told from them.

/// Up to this many values the spread is all of them; with more, the middle half.
const ALL_SHOWN_MAX: usize = 7;

/// A median and how far the values lie apart: lowest to highest, or the middle half where there are many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle value.
    pub median: f64,
    /// Where the spread begins.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
    /// Of how many values.
    pub count: usize,
}

/// What a paired ratio says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Below 1 in all of the spread.
    Less,
    /// Above 1 in all of the spread.
    More,
    /// The spread reaches from one side of 1 to the other, or there is one round only.
    Undecided,
}

impl Spread {
    /// `None` of no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values
            .into_iter()
            .filter(|value| value.is_finite())
            .collect();
        values.sort_by(f64::total_cmp);
        let (&lowest, &highest) = (values.first()?, values.last()?);
        let (low, high) = if values.len() <= ALL_SHOWN_MAX {
            (lowest, highest)
        } else {
            (quantile(&values, 0.25), quantile(&values, 0.75))
        };
        Some(Self {
            median: quantile(&values, 0.5),
            low,
            high,
            count: values.len(),
        })
    }

    /// Read as a ratio, what it says.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self { count: 1, .. } => Verdict::Undecided,
            Self { high, .. } if *high < 1.0 => Verdict::Less,
            Self { low, .. } if *low > 1.0 => Verdict::More,
            _ => Verdict::Undecided,
        }
    }
}

/// Between the two values nearest to it, in proportion. `sorted` is not empty.
fn quantile(sorted: &[f64], quantile: f64) -> f64 {
    let position = quantile * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

/// The ratios of values of the same round. Rounds that only one side has are left out.
pub(super) fn paired_ratios<'a>(
    of: &'a [(u32, f64)],
    to: &'a [(u32, f64)],
) -> impl Iterator<Item = f64> + 'a {
    of.iter().filter_map(move |(round, value)| {
        let (_, other) = to.iter().find(|(other, _)| other == round)?;
        (*other > 0.0).then(|| value / other)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_show_all_of_their_spread_and_many_the_middle() {
        let few = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((few.median, few.low, few.high), (2.0, 1.0, 3.0));
        let many = Spread::of((0..=100).map(f64::from)).unwrap();
        assert_eq!((many.median, many.low, many.high), (50.0, 25.0, 75.0));
        assert_eq!(Spread::of([1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Spread::of([f64::NAN]), None);
    }

    #[test]
    fn a_spread_across_one_is_undecided() {
        let verdict = |values: &[f64]| Spread::of(values.iter().copied()).unwrap().verdict();
        assert_eq!(verdict(&[0.5, 0.6]), Verdict::Less);
        assert_eq!(verdict(&[1.1, 1.2]), Verdict::More);
        assert_eq!(verdict(&[0.9, 1.1]), Verdict::Undecided);
        assert_eq!(verdict(&[0.5]), Verdict::Undecided);
    }

    #[test]
    fn ratios_pair_values_of_the_same_round() {
        let ours = [(0, 10.0), (1, 20.0), (2, 30.0)];
        let theirs = [(2, 60.0), (0, 40.0)];
        assert_eq!(
            paired_ratios(&ours, &theirs).collect::<Vec<_>>(),
            [0.25, 0.5]
        );
    }
}
