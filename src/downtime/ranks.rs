//! Ranks of quantiles, and between which ranks the quantile of the population lies.
//!
//! Takes how many values there are and which quantile is meant; gives ranks, from 1. Knows nothing of the values: whoever has them in
//! ascending order reads them off. The one implementation, for the blackouts of a run and for the comparison of campaigns.

/// Of 100 intervals, 95 hold the true quantile: each tail has this much.
const TAIL: f64 = 0.025;

/// The rank of a quantile: the value there is the least that `hundredths` of 100 values do not exceed. So it is always a value that was
/// measured; halfway between two modes, where nothing was, there is none. `None` of nothing.
#[must_use]
pub fn rank(count: usize, hundredths: u32) -> Option<usize> {
    let rank = (count * hundredths as usize).div_ceil(100).max(1);
    (rank <= count).then_some(rank)
}

/// The ranks whose values' mean is a quantile, from 1. The median of an even number of values is the
/// mean of the two middle ones; any other quantile is one value, and both ranks are equal. `None`
/// without values.
#[must_use]
pub fn quantile_ranks(count: usize, hundredths: u32) -> Option<(usize, usize)> {
    let rank = rank(count, hundredths)?;
    let is_between = hundredths == 50 && count.is_multiple_of(2);
    Some((rank, if is_between { rank + 1 } else { rank }))
}

/// The ranks between which the quantile of the population lies with 95 %, if `count` values are enough to say.
///
/// By the binomial distribution of ranks, which presumes nothing of how the values are distributed. The median needs 6 values, the
/// 90th percentile 36, the 99th 368.
#[must_use]
pub fn rank_interval(count: usize, hundredths: u32) -> Option<(usize, usize)> {
    let share = f64::from(hundredths) / 100.0;
    let (ln_in, ln_out) = (share.ln(), (1.0 - share).ln());
    // P(exactly k of the values lie below the quantile), in logarithms: none of it underflows on the way.
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
        // Ranks for the median: n = 20 has 6 and 15, n = 100 has 40 and 61 (95 % and a little more).
        assert_eq!(
            (rank_interval(20, 50), rank_interval(100, 50)),
            (Some((6, 15)), Some((40, 61)))
        );
        assert!(rank_interval(50_000, 99).is_some());
    }
}
