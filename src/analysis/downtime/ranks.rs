//! Ranks of quantiles, and the ranks between which the quantile of the population lies.
//!
//! The functions take the number of values and return ranks from 1; the caller reads the values off
//! in ascending order. Both the blackouts of a run and the comparisons of campaigns use them, so
//! that a median is the same everywhere.

/// The probability in each tail outside a 95 % interval.
const TAIL: f64 = 0.025;

/// The rank of a quantile: its value is the smallest one that at least `hundredths` of 100 values
/// do not exceed. `None` without values.
fn rank(count: usize, hundredths: u32) -> Option<usize> {
    let rank = (count * hundredths as usize).div_ceil(100).max(1);
    (rank <= count).then_some(rank)
}

/// The ranks whose values' mean is a quantile, from 1. The median of an even number of values is
/// the mean of the two middle ones; any other quantile is one value, and both ranks are equal.
/// `None` without values.
#[must_use]
pub fn quantile_ranks(count: usize, hundredths: u32) -> Option<(usize, usize)> {
    let rank = rank(count, hundredths)?;
    let is_between = hundredths == 50 && count.is_multiple_of(2);
    Some((rank, if is_between { rank + 1 } else { rank }))
}

/// The ranks between which the quantile of the population lies with 95 % confidence; `None` if
/// there are too few values: the median needs 6, the 90th percentile 36, the 99th 368.
///
/// The interval follows from the binomial distribution of ranks, which presumes no distribution of
/// the values.
#[must_use]
pub fn rank_interval(count: usize, hundredths: u32) -> Option<(usize, usize)> {
    let share = f64::from(hundredths) / 100.0;
    let (ln_in, ln_out) = (share.ln(), (1.0 - share).ln());
    // The probability that exactly k values lie below the quantile, as a logarithm, so that it does
    // not underflow.
    let mut ln_choose = 0.0;
    let mut below = 0.0;
    let mut low = None;
    for k in 0..=count {
        #[expect(clippy::cast_precision_loss, reason = "counts of measurements fit into 53 bits")]
        let (at, of) = (k as f64, count as f64);
        if k > 0 {
            ln_choose += (of - at + 1.0).ln() - at.ln();
        }
        below += (ln_choose + at * ln_in + (of - at) * ln_out).exp();
        if below <= TAIL {
            low = Some(k + 1);
        }
        if below >= 1.0 - TAIL {
            return low.filter(|_| k < count).map(|low| (low, k + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_have_no_interval() {
        for (hundredths, needed) in [(50, 6), (90, 36), (99, 368)] {
            assert_eq!(
                (
                    rank_interval(needed - 1, hundredths),
                    rank_interval(needed, hundredths).is_some()
                ),
                (None, true)
            );
        }
        assert_eq!(
            (rank(0, 50), rank(1, 99), rank(4, 50), rank(5, 50)),
            (None, Some(1), Some(2), Some(3))
        );
    }

    #[test]
    fn a_median_of_an_even_number_lies_between_the_two_middle_ranks() {
        assert_eq!(
            [1, 2, 5, 6].map(|count| quantile_ranks(count, 50)),
            [Some((1, 1)), Some((1, 2)), Some((3, 3)), Some((3, 4))]
        );
        assert_eq!((quantile_ranks(0, 50), quantile_ranks(100, 90)), (None, Some((90, 90))));
    }

    #[test]
    fn intervals_are_those_of_the_tables() {
        // Ranks for the median: n = 20 has 6 and 15, n = 100 has 40 and 61 (95 % and a little
        // more).
        assert_eq!(
            (rank_interval(20, 50), rank_interval(100, 50)),
            (Some((6, 15)), Some((40, 61)))
        );
        assert!(rank_interval(50_000, 99).is_some());
    }
}
