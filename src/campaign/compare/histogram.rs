//! Both sides' values in columns of one axis, to show several modes.
//!
//! Takes values; gives counts. Where blackouts of 4 and of 43 ms have to be told apart as well as some of 1.6 and of 3.6, the axis has to be
//! logarithmic; with a 0 it cannot be.

use super::comparison::HISTOGRAM_BINS;
use crate::campaign::statistics::SortedValues;

/// `None` without values on one side.
pub(super) fn histograms(a: &SortedValues, b: &SortedValues) -> Option<(Vec<usize>, Vec<usize>)> {
    let (least, most) = (
        a.values().first()?.min(*b.values().first()?),
        a.values().last()?.max(*b.values().last()?),
    );
    let place = |value: f64| if least > 0.0 { libm::log(value) } else { value };
    let (from, width) = (place(least), place(most) - place(least));
    let counts = |values: &SortedValues| {
        let mut counts = vec![0; HISTOGRAM_BINS];
        for value in values.values() {
            counts[column((place(*value) - from) / width)] += 1;
        }
        counts
    };
    Some((counts(a), counts(b)))
}

/// 0 to 1; where all values are the same, it is no number, and the column is the first.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and no number becomes 0"
)]
fn column(share: f64) -> usize {
    ((share * HISTOGRAM_BINS as f64) as usize).min(HISTOGRAM_BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_have_one_axis() {
        let (a, b) =
            histograms(&SortedValues::new([1.0, 10.0, 10.0]), &SortedValues::new([100.0])).unwrap();
        assert_eq!((a[0], a[HISTOGRAM_BINS / 2], b[HISTOGRAM_BINS - 1]), (1, 2, 1));
        let (a, b) = histograms(&SortedValues::new([7.0; 3]), &SortedValues::new([7.0])).unwrap();
        assert_eq!((a[0], b[0]), (3, 1));
        assert_eq!(histograms(&SortedValues::default(), &a_few()), None);
    }

    fn a_few() -> SortedValues {
        SortedValues::new([0.0, 1.0])
    }
}
