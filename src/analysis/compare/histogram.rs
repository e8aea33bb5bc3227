//! Histograms of both tables on one axis, to show several modes.
//!
//! The axis is logarithmic, so that blackouts of 4 and 43 ms can be distinguished as well as those
//! of 1.6 and 3.6 ms. It is linear if a value is 0.

use super::comparison::HISTOGRAM_BINS;
use crate::statistics::SortedValues;

/// Counts the values of both tables by bin; `None` if one has no values.
pub(super) fn count_by_bin(a: &SortedValues, b: &SortedValues) -> Option<(Vec<usize>, Vec<usize>)> {
    let (min, max) = (
        a.values().first()?.min(*b.values().first()?),
        a.values().last()?.max(*b.values().last()?),
    );
    let position = |value: f64| if min > 0.0 { libm::log(value) } else { value };
    let (from, width) = (position(min), position(max) - position(min));
    let counts = |values: &SortedValues| {
        let mut counts = vec![0; HISTOGRAM_BINS];
        for value in values.values() {
            counts[bin((position(*value) - from) / width)] += 1;
        }
        counts
    };
    Some((counts(a), counts(b)))
}

/// Returns the bin of a position on the axis, from 0 to 1. If all values are equal, the position is
/// NaN and the bin is the first.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and NaN becomes 0"
)]
fn bin(share: f64) -> usize {
    ((share * HISTOGRAM_BINS as f64) as usize).min(HISTOGRAM_BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tables_have_the_same_axis() {
        let (a, b) =
            count_by_bin(&SortedValues::new([1.0, 10.0, 10.0]), &SortedValues::new([100.0]))
                .unwrap();
        assert_eq!((a[0], a[HISTOGRAM_BINS / 2], b[HISTOGRAM_BINS - 1]), (1, 2, 1));
        let (a, b) = count_by_bin(&SortedValues::new([7.0; 3]), &SortedValues::new([7.0])).unwrap();
        assert_eq!((a[0], b[0]), (3, 1));
        assert_eq!(count_by_bin(&SortedValues::default(), &a_few()), None);
    }

    fn a_few() -> SortedValues {
        SortedValues::new([0.0, 1.0])
    }
}
