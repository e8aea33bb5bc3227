//! Values in ascending order, and their quantiles.

use super::Estimate;
use crate::downtime::{rank, rank_interval};

/// Values in ascending order. What is no number is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SortedValues(Vec<f64>);

impl SortedValues {
    /// Puts them in order.
    #[must_use]
    pub fn new(values: impl IntoIterator<Item = f64>) -> SortedValues {
        let mut values: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
        values.sort_unstable_by(f64::total_cmp);
        SortedValues(values)
    }

    /// In their order.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// The quantile, by the definition that run.json uses: always a value that was measured. `None` of nothing.
    ///
    /// Its interval is the one of ranks. It holds the true quantile in at least 95 of 100 cases whatever the distribution, which a
    /// bootstrap promises only for many values; and still does if the values come from several distributions (it is then rather too
    /// wide: Hoeffding 1956, on the number of successes in independent trials).
    #[must_use]
    pub fn quantile(&self, hundredths: u32) -> Option<Estimate> {
        let at = |rank: usize| self.0.get(rank - 1).copied();
        let value = at(rank(self.0.len(), hundredths)?)?;
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
    fn it_is_the_one_of_run_json() {
        let values = SortedValues::new((1..=100).rev().map(f64::from));
        assert_eq!(
            values.quantile(50),
            Some(Estimate { value: 50.0, low: Some(40.0), high: Some(61.0) })
        );
        assert_eq!(
            SortedValues::new([3.0, 1.0, f64::NAN, 2.0]).quantile(50),
            Some(Estimate { value: 2.0, low: None, high: None })
        );
        assert_eq!(SortedValues::new([f64::NAN]).quantile(50), None);
    }

    proptest! {
        #[test]
        fn a_quantile_was_measured_and_lies_in_its_interval(values in prop::collection::vec(-1e9f64..1e9, 1..80), hundredths in 1u32..100) {
            let quantile = SortedValues::new(values.clone()).quantile(hundredths).unwrap();
            prop_assert!(values.contains(&quantile.value));
            prop_assert!(quantile.low.is_none_or(|low| low <= quantile.value));
            prop_assert!(quantile.high.is_none_or(|high| quantile.value <= high));
        }
    }
}
