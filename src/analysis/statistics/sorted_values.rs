//! Values in ascending order, and their quantiles.

use super::estimate::Estimate;
use crate::downtime::{quantile_ranks, rank_interval};

/// Values in ascending order, without NaN.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SortedValues(Vec<f64>);

impl SortedValues {
    /// Sorts the values and leaves out NaN.
    #[must_use]
    pub fn new(values: impl IntoIterator<Item = f64>) -> SortedValues {
        let mut values: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
        values.sort_unstable_by(f64::total_cmp);
        SortedValues(values)
    }

    /// Returns the values in ascending order.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// Returns a quantile, such as 90 for the 90th percentile, with its interval; `None` without
    /// values. The definition is that of run.json: the median of an even number of values is the
    /// mean of the two middle ones, and any other quantile is one of the values.
    ///
    /// The interval is that of ranks. It covers the true quantile in at least 95 of 100 cases for
    /// any distribution, which a bootstrap promises only for many values. If the values come from
    /// several distributions, it is rather too wide (Hoeffding 1956, on the number of successes in
    /// independent trials).
    #[must_use]
    pub fn quantile(&self, hundredths: u32) -> Option<Estimate> {
        let at = |rank: usize| self.0.get(rank - 1).copied();
        let (rank, next) = quantile_ranks(self.0.len(), hundredths)?;
        let value = f64::midpoint(at(rank)?, at(next)?);
        let interval = rank_interval(self.0.len(), hundredths);
        let (low, high) = interval.map_or((None, None), |(low, high)| (at(low), at(high)));
        Some(Estimate { value, low, high })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn is_the_quantile_of_run_json() {
        let values = SortedValues::new((1..=100).rev().map(f64::from));
        assert_eq!(
            values.quantile(50),
            Some(Estimate { value: 50.5, low: Some(40.0), high: Some(61.0) })
        );
        assert_eq!(
            SortedValues::new([3.0, 1.0, f64::NAN, 2.0]).quantile(50),
            Some(Estimate { value: 2.0, low: None, high: None })
        );
        assert_eq!(SortedValues::new([f64::NAN]).quantile(50), None);
    }

    proptest! {
        #[test]
        fn a_quantile_lies_in_its_interval(
            values in prop::collection::vec(-1e9f64..1e9, 1..80), hundredths in 1u32..100
        ) {
            let quantile = SortedValues::new(values.clone()).quantile(hundredths).unwrap();
            prop_assert!(values.contains(&quantile.value) || hundredths == 50);
            prop_assert!(quantile.low.is_none_or(|low| low <= quantile.value));
            prop_assert!(quantile.high.is_none_or(|high| quantile.value <= high));
        }
    }
}
