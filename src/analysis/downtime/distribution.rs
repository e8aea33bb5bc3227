//! Quantiles of many blackouts, with confidence intervals that say when there are too few.
//!
//! Takes values; gives order statistics. The interval is the one by the binomial distribution of
//! ranks (`ranks`), which presumes nothing of how blackouts are distributed (they often have
//! several modes). Pure.

use super::ranks::{quantile_ranks, rank_interval};
use hdrhistogram::Histogram;
use record::{Distribution, Quantile};

/// 1 µs to an hour, three digits. All of its memory is there from the start: recording allocates
/// nothing.
const MAX_RECORDED_US: u64 = 3_600_000_000;

/// A histogram of values in µs; longer ones are counted as an hour.
#[must_use]
pub fn histogram_of(values_us: &[u64]) -> Option<Histogram<u64>> {
    // With bounds: a histogram that grows by itself clamps in `saturating_record` instead of
    // growing.
    let mut histogram = Histogram::new_with_bounds(1, MAX_RECORDED_US, 3).ok()?;
    for value in values_us {
        histogram.saturating_record(*value);
    }
    Some(histogram)
}

/// Order statistics of `values_us`.
#[must_use]
pub fn distribution(values_us: &[u64]) -> Distribution {
    let mut sorted = values_us.to_vec();
    sorted.sort_unstable();
    let sum: u128 = sorted.iter().map(|value| u128::from(*value)).sum();
    Distribution {
        count: u64::try_from(sorted.len()).unwrap_or(u64::MAX),
        min_us: sorted.first().copied(),
        p50: quantile(&sorted, 50),
        p90: quantile(&sorted, 90),
        p99: quantile(&sorted, 99),
        max_us: sorted.last().copied(),
        mean_us: sum.checked_div(sorted.len() as u128).and_then(|mean| u64::try_from(mean).ok()),
    }
}

/// `sorted` in ascending order.
fn quantile(sorted: &[u64], hundredths: u32) -> Option<Quantile> {
    let (rank, next) = quantile_ranks(sorted.len(), hundredths)?;
    let us = sorted.get(rank - 1)?.midpoint(*sorted.get(next - 1)?);
    let interval = rank_interval(sorted.len(), hundredths)
        .and_then(|(low, high)| Some((*sorted.get(low - 1)?, *sorted.get(high - 1)?)));
    Some(Quantile {
        us,
        low_us: interval.map(|(low, _)| low),
        high_us: interval.map(|(_, high)| high),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn recording_needs_no_memory_that_was_not_there() {
        let mut histogram = histogram_of(&[]).unwrap();
        let before = histogram.distinct_values();
        for value in [0, 1, 70, 1_000_000, MAX_RECORDED_US, u64::MAX] {
            histogram.saturating_record(value);
        }
        assert_eq!((histogram.distinct_values(), histogram.len()), (before, 6));
    }

    #[test]
    fn few_values_have_no_interval() {
        let few = distribution(&[3, 1, 2]);
        assert_eq!((few.min_us, few.max_us, few.mean_us), (Some(1), Some(3), Some(2)));
        assert_eq!(few.p50, Some(Quantile { us: 2, low_us: None, high_us: None }));
        assert_eq!(distribution(&[]), Distribution::default());
    }

    #[test]
    fn the_median_of_a_hundred_lies_between_their_40th_and_61st() {
        let values: Vec<u64> = (1..=100).collect();
        assert_eq!(
            distribution(&values).p50,
            Some(Quantile { us: 50, low_us: Some(40), high_us: Some(61) })
        );
    }

    #[test]
    fn intervals_hold_the_true_quantile_about_as_often_as_they_say() {
        let mut state = 7u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state >> 44
        };
        let (trials, true_p90) = (400, (1u64 << 20) * 9 / 10);
        let held = (0..trials).filter(|_| {
            let values: Vec<u64> = (0..60).map(|_| next()).collect();
            let p90 = distribution(&values).p90.unwrap();
            p90.low_us.unwrap() <= true_p90 && true_p90 <= p90.high_us.unwrap()
        });
        let held = held.count();
        assert!((trials * 92 / 100..=trials).contains(&held), "{held} of {trials}");
    }

    proptest! {
        #[test]
        fn order_is_nothing_and_the_interval_holds_the_figure(mut values in prop::collection::vec(0u64..1_000_000, 0..200)) {
            let one = distribution(&values);
            values.reverse();
            prop_assert_eq!(&distribution(&values), &one);
            for quantile in [one.p50, one.p90, one.p99].into_iter().flatten() {
                prop_assert!(quantile.low_us.is_none_or(|low| low <= quantile.us));
                prop_assert!(quantile.high_us.is_none_or(|high| quantile.us <= high));
            }
        }
    }
}
