//! Does a sample have one mode or several, and where are they?
//!
//! **The test.** In a distribution with one mode the values get sparser away from the mode. So
//! beyond a gap to the right of the mode, the following distances between neighbours tend to be
//! longer than the gap, and to the left of the mode the same holds in the other direction. A gap
//! that is much longer than the distances on *both* of its sides lies between two modes. In the
//! worst case the values are as dense beyond the gap as in it. Then m points beyond a gap of width
//! g that span w occur with probability (w / (g + w))^(m − 1), because the first of m distances is
//! that long. Of groups of 3, 5, 9, … points and of all points, the smallest probability counts,
//! times the number of groups; of the two sides, the larger one counts; and the result is
//! multiplied by the number of gaps. No step presumes a distribution, and no table is needed.
//!
//! **Why not Hartigan's dip test**, which is the usual one: for the distributions seen here (4 ms
//! and, by Nagle's algorithm, 43 ms) it misses a rare mode. Of 50 values with 10 % in the second
//! mode it finds two modes in 3 % of cases at the 1 % level, and this test in half of the cases;
//! with 20 % in 58 % against 94 % (fixtures/statistics/dip.py, and `simulations` for this test).
//! The dip test is better where modes overlap; a histogram shows those. `simulations` also checks
//! that one mode is taken for two in less than 1 of 100 cases.
//!
//! The test works on logarithms, because durations scatter in proportion to their size. If a value
//! is 0 or less, it works on the values themselves.

use super::estimate::to_f64;
use super::sorted_values::SortedValues;
use serde::Serialize;

/// The significance level. It is stricter than [`ALPHA`](super::ALPHA), because both sides of every
/// metric in every cell are tested.
const MODE_ALPHA: f64 = 0.01;
/// The fewest values that can be a mode.
const MIN_MODE_VALUES: usize = 3;

/// One mode: a group of values that is separated from the others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mode {
    /// The median of the values.
    pub center: f64,
    /// The least value.
    pub least: f64,
    /// The greatest value.
    pub greatest: f64,
    /// The number of values.
    pub count: usize,
    /// The share of all values, from 0 to 1.
    pub share: f64,
}

/// Finds the modes, in ascending order; one mode if a second one cannot be shown. `None` if there
/// are too few values to show a second one.
#[must_use]
pub fn find_modes(values: &SortedValues) -> Option<Vec<Mode>> {
    let all = values.values();
    if all.len() < 2 * MIN_MODE_VALUES {
        return None;
    }
    let positions = positions_on_axis(all);
    let mut edges = vec![0, all.len()];
    split_at_gaps(&positions, 0, all.len(), &mut edges);
    edges.sort_unstable();
    let mode = |ends: &[usize]| {
        let part = &all[ends[0]..ends[1]];
        let center = SortedValues::new(part.iter().copied()).quantile(50)?.value;
        let (least, greatest) = (*part.first()?, *part.last()?);
        Some(Mode {
            center,
            least,
            greatest,
            count: part.len(),
            share: to_f64(part.len()) / to_f64(all.len()),
        })
    };
    edges.windows(2).map(mode).collect()
}

/// Divides the values at the clearest gap, and then both parts again.
fn split_at_gaps(positions: &[f64], from: usize, to: usize, edges: &mut Vec<usize>) {
    if let Some(at) = find_gap(&positions[from..to]) {
        edges.push(from + at);
        split_at_gaps(positions, from, from + at, edges);
        split_at_gaps(positions, from + at, to, edges);
    }
}

/// Returns the index of the first value beyond the clearest gap, if the gap is significant.
fn find_gap(positions: &[f64]) -> Option<usize> {
    let gaps = (positions.len() + 1).checked_sub(2 * MIN_MODE_VALUES).filter(|gaps| *gaps > 0)?;
    let probability = |at: &usize| {
        let (below, above) = positions.split_at(*at);
        let (last, first) =
            (below.last().copied().unwrap_or(0.0), above.first().copied().unwrap_or(0.0));
        let width = first - last;
        let up = probability_of_gap(width, above.len(), |index| above[index] - first);
        let down =
            probability_of_gap(width, below.len(), |index| last - below[below.len() - 1 - index]);
        up.max(down) * to_f64(gaps)
    };
    let clearest = (MIN_MODE_VALUES..=positions.len() - MIN_MODE_VALUES)
        .map(|at| (at, probability(&at)))
        .min_by(|one, two| one.1.total_cmp(&two.1))?;
    (clearest.1 <= MODE_ALPHA).then_some(clearest.0)
}

/// Returns how often a gap of this width occurs by chance beside this many points. `span` is the
/// distance of the n-th point from the first.
fn probability_of_gap(gap: f64, points: usize, span: impl Fn(usize) -> f64) -> f64 {
    let smaller = std::iter::successors(Some(MIN_MODE_VALUES), |size| Some(size * 2 - 1))
        .take_while(|size| *size < points);
    let (mut groups, mut smallest) = (0, 1.0_f64);
    for size in smaller.chain([points]) {
        let span = span(size - 1);
        smallest = smallest.min(libm::exp(to_f64(size - 1) * libm::log(span / (gap + span))));
        groups += 1;
    }
    if gap > 0.0 { smallest * f64::from(groups) } else { 1.0 }
}

/// Returns the positions of the values on the axis of the test. Equal values are taken for
/// different ones that were rounded, and are spread over the rounding step, which is the least
/// distance between two values. Otherwise every whole millisecond would be a mode.
fn positions_on_axis(all: &[f64]) -> Vec<f64> {
    let steps = all.windows(2).map(|pair| pair[1] - pair[0]).filter(|step| *step > 0.0);
    let step = steps.min_by(f64::total_cmp).unwrap_or(0.0);
    let is_logarithmic = all.first().is_some_and(|least| *least > 0.0);
    let position = |value: f64| if is_logarithmic { libm::log(value) } else { value };
    let mut positions = Vec::with_capacity(all.len());
    for equal in all.chunk_by(|one, two| one == two) {
        let value = equal[0];
        // Stay above 0, where the logarithm is defined.
        let (from, to) = (
            position(if is_logarithmic {
                (value - step / 2.0).max(value / 2.0)
            } else {
                value - step / 2.0
            }),
            position(value + step / 2.0),
        );
        let each = (to - from) / to_f64(equal.len());
        positions.extend((0..equal.len()).map(|index| from + (to_f64(index) + 0.5) * each));
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(values: impl IntoIterator<Item = f64>) -> Option<Vec<(f64, usize)>> {
        find_modes(&SortedValues::new(values))
            .map(|modes| modes.iter().map(|mode| (mode.center, mode.count)).collect())
    }

    #[test]
    fn blackouts_with_and_without_nagle_have_two_modes() {
        let quick = (0..35).map(|n| 3900.0 + f64::from(n * 17 % 35) * 20.0);
        let late = (0..15).map(|n| 42_600.0 + f64::from(n) * 90.0);
        assert_eq!(counts(quick.chain(late)), Some(vec![(4240.0, 35), (43_230.0, 15)]));
    }

    #[test]
    fn finds_three_modes() {
        let mode = |center: f64| (0..20).map(move |n| center * (1.0 + f64::from(n) / 100.0));
        let found = counts(mode(100.0).chain(mode(1000.0)).chain(mode(10_000.0))).unwrap();
        assert_eq!(found.iter().map(|mode| mode.1).collect::<Vec<_>>(), [20, 20, 20]);
    }

    #[test]
    fn a_few_outliers_are_a_tail_and_not_a_mode() {
        let mode = (0..40).map(|n| 4000.0 + f64::from(n) * 10.0);
        assert_eq!(
            counts(mode.clone().chain([43_000.0, 90_000.0])).map(|modes| modes.len()),
            Some(1)
        );
        assert_eq!(
            counts(mode.chain([9000.0, 20_000.0, 43_000.0, 90_000.0, 200_000.0]))
                .map(|modes| modes.len()),
            Some(1)
        );
    }

    #[test]
    fn whole_milliseconds_and_small_counts_are_one_mode() {
        let rounded = (0..100).map(|n| f64::from(3 + n % 4) * 1000.0);
        assert_eq!(counts(rounded).map(|modes| modes.len()), Some(1));
        let passes = (0..100).map(|n| if n < 97 { 3.0 } else { 5.0 });
        assert_eq!(counts(passes).map(|modes| modes.len()), Some(1));
        assert_eq!(counts([7.0; 50]).map(|modes| modes.len()), Some(1));
        let zero_or_many = (0..40).map(|n| if n % 2 == 0 { 0.0 } else { f64::from(500 + n) });
        assert_eq!(counts(zero_or_many).map(|modes| modes.len()), Some(2));
    }

    #[test]
    fn five_values_are_too_few_to_find_modes() {
        assert_eq!(counts([1.0, 1.1, 1.2, 50.0, 51.0]), None);
    }

    proptest! {
        #[test]
        fn every_value_is_in_exactly_one_mode(
            values in prop::collection::vec(
                prop_oneof![1f64..2.0, 50f64..60.0, -3f64..0.0, Just(1.5)],
                6..80,
            )
        ) {
            let found = find_modes(&SortedValues::new(values.clone())).unwrap();
            prop_assert_eq!(found.iter().map(|mode| mode.count).sum::<usize>(), values.len());
            prop_assert!(found.windows(2).all(|pair| pair[0].greatest < pair[1].least));
            prop_assert!((found.iter().map(|mode| mode.share).sum::<f64>() - 1.0).abs() < 1e-9);
        }
    }
}
