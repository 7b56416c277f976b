//! Ratios of paired measurements, and what may be said of them.
//!
//! One block gives one ratio: geometric mean of the two A's over that of the two B's in A B B A, so a
//! drift that is linear over the block cancels. The estimate is the geometric mean over blocks; its
//! interval is the 2.5th and 97.5th percentile of 10 000 resamples of the blocks. The seed is fixed:
//! the same file gives the same interval.

/// Resamples of a bootstrap.
pub(crate) const RESAMPLES: usize = 10_000;

const SEED: u64 = 0x0070_6f72_7463_756c;

/// `SplitMix64` (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    /// The next of the sequence.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n` (Lemire's multiplication; the bias at these sizes is below 2⁻⁵⁰).
    pub(crate) fn below(&mut self, n: usize) -> usize {
        let n = u128::try_from(n).unwrap_or(0);
        usize::try_from((u128::from(self.next()) * n) >> 64).unwrap_or(0)
    }
}

/// A ratio with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    /// Geometric mean of the blocks' ratios.
    pub(crate) estimate: f64,
    /// Lower bound.
    pub(crate) lower: f64,
    /// Upper bound.
    pub(crate) upper: f64,
    /// Blocks.
    pub(crate) blocks: usize,
}

/// What an interval says of a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The whole interval keeps it.
    Met,
    /// The whole interval breaks it.
    Missed,
    /// The interval holds the threshold: more blocks are needed.
    NotResolved,
}

impl Verdict {
    /// The word in tables.
    #[must_use]
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::NotResolved => "not resolved",
        }
    }
}

/// A promise about a ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Promise {
    /// At least.
    AtLeast(f64),
    /// At most.
    AtMost(f64),
}

impl Promise {
    /// Judges a ratio.
    #[must_use]
    pub(crate) fn judge(self, ratio: &Ratio) -> Verdict {
        let (met, missed) = match self {
            Self::AtLeast(t) => (ratio.lower > t, ratio.upper < t),
            Self::AtMost(t) => (ratio.upper < t, ratio.lower > t),
        };
        match (met, missed) {
            (true, _) => Verdict::Met,
            (false, true) => Verdict::Missed,
            (false, false) => Verdict::NotResolved,
        }
    }
}

/// The geometric mean; `None` of nothing, or if a value is not above zero.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of blocks are small")]
pub(crate) fn geometric_mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty() && values.iter().all(|v| *v > 0.0 && v.is_finite()))
        .then(|| (values.iter().map(|v| v.ln()).sum::<f64>() / values.len() as f64).exp())
}

/// The ratio over blocks of (A's, B's); `None` without blocks or with a value that is not above zero.
#[must_use]
pub(crate) fn ratio(blocks: &[(Vec<f64>, Vec<f64>)]) -> Option<Ratio> {
    let logs = blocks
        .iter()
        .map(|(a, b)| Some((geometric_mean(a)? / geometric_mean(b)?).ln()))
        .collect::<Option<Vec<f64>>>()?;
    let estimate = mean(&logs)?;
    let mut rng = SplitMix(SEED);
    let mut means = (0..RESAMPLES)
        .map(|_| {
            let draw = logs.iter().filter_map(|_| logs.get(rng.below(logs.len())).copied());
            mean(&draw.collect::<Vec<_>>())
        })
        .collect::<Option<Vec<f64>>>()?;
    means.sort_by(f64::total_cmp);
    let at = |i: usize| means.get(i).copied().map(f64::exp);
    Some(Ratio {
        estimate: estimate.exp(),
        lower: at(RESAMPLES / 40)?,
        upper: at(RESAMPLES - 1 - RESAMPLES / 40)?,
        blocks: blocks.len(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts of blocks are small")]
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The median and the spread (smallest, largest) of values; `None` of nothing.
#[must_use]
pub(crate) fn spread(values: &[f64]) -> Option<(f64, f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = |i: usize| sorted.get(i).copied();
    let half = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 {
        middle(half)?
    } else {
        f64::midpoint(middle(half.checked_sub(1)?)?, middle(half)?)
    };
    Some((median, *sorted.first()?, *sorted.last()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(ratios: &[f64]) -> Vec<(Vec<f64>, Vec<f64>)> {
        ratios.iter().map(|r| (vec![*r, *r], vec![1.0, 1.0])).collect()
    }

    #[test]
    fn equal_blocks_have_an_interval_of_no_width() {
        let r = ratio(&one(&[0.95; 15])).expect("blocks");
        assert!((r.estimate - 0.95).abs() < 1e-12 && (r.lower - 0.95).abs() < 1e-12, "{r:?}");
        assert!((r.upper - 0.95).abs() < 1e-12 && r.blocks == 15, "{r:?}");
    }

    #[test]
    fn the_interval_of_two_values_is_the_binomials() {
        // n = 100 blocks, half at e^-1, half at e^1: a resample's mean log is (2k − 100)/100, k ~ B(100, ½).
        // Its 2.5th and 97.5th percentiles are k = 40 and 60.
        let halves: Vec<f64> =
            (0..100).map(|i| if i % 2 == 0 { (-1f64).exp() } else { 1f64.exp() }).collect();
        let r = ratio(&one(&halves)).expect("blocks");
        assert!(r.estimate.ln().abs() < 1e-12, "{r:?}");
        assert!((r.lower.ln() + 0.2).abs() < 0.021, "{r:?}");
        assert!((r.upper.ln() - 0.2).abs() < 0.021, "{r:?}");
    }

    #[test]
    fn the_interval_of_a_normal_sample_is_that_of_its_mean() {
        // Sums of 12 uniforms: close to a normal of deviation 1. The mean of 60 has deviation 0.129 σ.
        let mut rng = SplitMix(7);
        let sample: Vec<f64> = (0..60)
            .map(|_| {
                let z: f64 = (0..12)
                    .map(|_| f64::from(u32::try_from(rng.next() >> 32).unwrap()) / 2f64.powi(32))
                    .sum::<f64>()
                    - 6.0;
                (0.05 * z).exp()
            })
            .collect();
        let logs: Vec<f64> = sample.iter().map(|r| r.ln()).collect();
        let m = mean(&logs).unwrap();
        let deviation = (logs.iter().map(|l| (l - m).powi(2)).sum::<f64>() / 60.0).sqrt();
        let half = 1.96 * deviation / 60f64.sqrt();
        let r = ratio(&one(&sample)).expect("blocks");
        assert!((r.lower.ln() - (m - half)).abs() < 0.1 * half, "{r:?}");
        assert!((r.upper.ln() - (m + half)).abs() < 0.1 * half, "{r:?}");
    }

    #[test]
    fn the_interval_covers_the_truth_about_as_often_as_it_says() {
        // 200 runs of 15 blocks, true ratio 1. A percentile interval of 15 is a little narrow: ≥ 88 %.
        let mut rng = SplitMix(11);
        let covered = (0..200)
            .filter(|_| {
                let sample: Vec<f64> = (0..15)
                    .map(|_| {
                        (f64::from(u32::try_from(rng.next() >> 32).unwrap()) / 2f64.powi(32) - 0.5).exp()
                    })
                    .collect();
                let r = ratio(&one(&sample)).expect("blocks");
                r.lower <= 1.0 && 1.0 <= r.upper
            })
            .count();
        assert!((176..=198).contains(&covered), "{covered} of 200");
    }

    #[test]
    fn the_same_blocks_give_the_same_interval() {
        let blocks = one(&[0.9, 0.95, 1.0, 1.1, 0.93]);
        assert_eq!(ratio(&blocks), ratio(&blocks));
    }

    #[test]
    fn a_drift_over_the_block_cancels() {
        // A B B A under a machine that slows by the same factor each time: 8, 4·r, 2·r, 1 with A = B·1.
        let r = ratio(&[(vec![8.0, 1.0], vec![4.0, 2.0])]).expect("one block");
        assert!((r.estimate - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_a_ratio_is_none() {
        assert_eq!(ratio(&[]), None);
        assert_eq!(ratio(&[(vec![1.0], vec![0.0])]), None);
        assert_eq!(ratio(&[(vec![], vec![1.0])]), None);
        assert_eq!(ratio(&[(vec![f64::NAN], vec![1.0])]), None);
    }

    #[test]
    fn three_words() {
        let r = |lower, upper| Ratio { estimate: 1.0, lower, upper, blocks: 15 };
        let least = Promise::AtLeast(0.9);
        assert_eq!(least.judge(&r(0.91, 0.99)), Verdict::Met);
        assert_eq!(least.judge(&r(0.80, 0.89)), Verdict::Missed);
        assert_eq!(least.judge(&r(0.85, 0.95)), Verdict::NotResolved);
        assert_eq!(least.judge(&r(0.90, 0.95)), Verdict::NotResolved, "on the threshold is not above it");
        let most = Promise::AtMost(1.1);
        assert_eq!(most.judge(&r(0.9, 1.05)), Verdict::Met);
        assert_eq!(most.judge(&r(1.2, 1.3)), Verdict::Missed);
        assert_eq!(most.judge(&r(1.0, 1.2)), Verdict::NotResolved);
    }

    #[test]
    fn spread_of_odd_even_and_none() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some((2.0, 1.0, 3.0)));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), Some((2.5, 1.0, 4.0)));
        assert_eq!(spread(&[]), None);
    }
}
