//! One hill, or several? And where they are.
//!
//! Takes values; gives modes. Knows nothing of what is measured.
//!
//! **The test.** Where values have one mode only, they get sparser away from it. So beyond a gap to the right of the mode, the next distances
//! between neighbours are rather longer than the gap; to the left of the mode the same holds in the other direction. A gap that is much longer
//! than the distances on *both* its sides lies between two modes. If neighbours were as dense on as in the gap (the worst case of
//! "sparser"), m points beyond it that span w would, with a gap of g, come about with probability (w / (g + w))^(m − 1): m distances of which the
//! first is that long. Of groups of 3, 5, 9 … points and of all, the clearest counts, times their number; of the two sides the less clear
//! one; and that times the number of gaps. No step of it presumes a shape, and no table is needed.
//!
//! **Why not Hartigan's dip**, the usual one: for the shapes seen here (4 ms and, by Nagle's algorithm, 43 ms) it misses what is rare. Of 50
//! values with 10 % in the second hill it finds two hills in 3 % of cases at the 1 % level, this test in half; with 20 % in 58 % against 94 %
//! (fixtures/statistics/dip.py; `simulations` for this one). The dip is better where hills overlap, which is what histograms are for.
//! `simulations` also holds that one hill is taken for two in less than 1 of 100 cases.
//!
//! On the logarithm, because durations scatter in proportion; values of 0 and below make it plain.

use super::{SortedValues, to_f64};
use serde::Serialize;

/// Stricter than for claims: each side of each metric in each cell is looked at.
const LEVEL: f64 = 0.01;
/// Fewer points are no hill.
const FEWEST: usize = 3;

/// One hill of values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mode {
    /// Its median.
    pub center: f64,
    /// The least value in it.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
    /// How many values.
    pub count: usize,
    /// Of all values.
    pub share: f64,
}

/// The modes in ascending order: one where no second one was shown. `None` where there are too few values to show one.
#[must_use]
pub fn modes(values: &SortedValues) -> Option<Vec<Mode>> {
    let all = values.values();
    if all.len() < 2 * FEWEST {
        return None;
    }
    let places = places(all);
    let mut edges = vec![0, all.len()];
    split(&places, 0, all.len(), &mut edges);
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

/// Divides at the clearest gap, and goes on in both parts.
fn split(places: &[f64], from: usize, to: usize, edges: &mut Vec<usize>) {
    if let Some(at) = gap(&places[from..to]) {
        edges.push(from + at);
        split(places, from, from + at, edges);
        split(places, from + at, to, edges);
    }
}

/// The index of the first value beyond the clearest gap, if it is clear enough.
fn gap(places: &[f64]) -> Option<usize> {
    let gaps = (places.len() + 1).checked_sub(2 * FEWEST).filter(|gaps| *gaps > 0)?;
    let clarity = |at: &usize| {
        let (below, above) = places.split_at(*at);
        let (last, first) =
            (below.last().copied().unwrap_or(0.0), above.first().copied().unwrap_or(0.0));
        let width = first - last;
        let up = one_side(width, above.len(), |place| above[place] - first);
        let down = one_side(width, below.len(), |place| last - below[below.len() - 1 - place]);
        up.max(down) * to_f64(gaps)
    };
    let clearest = (FEWEST..=places.len() - FEWEST)
        .map(|at| (at, clarity(&at)))
        .min_by(|one, two| one.1.total_cmp(&two.1))?;
    (clearest.1 <= LEVEL).then_some(clearest.0)
}

/// How often such a gap comes about beside so many points. `span` is the distance of the n-th of them from the first.
fn one_side(gap: f64, points: usize, span: impl Fn(usize) -> f64) -> f64 {
    let smaller = std::iter::successors(Some(FEWEST), |size| Some(size * 2 - 1))
        .take_while(|size| *size < points);
    let (mut groups, mut clearest) = (0, 1.0_f64);
    for size in smaller.chain([points]) {
        let span = span(size - 1);
        clearest = clearest.min(libm::exp(to_f64(size - 1) * libm::log(span / (gap + span))));
        groups += 1;
    }
    if gap > 0.0 { clearest * f64::from(groups) } else { 1.0 }
}

/// Where the values are on the axis of the test. Equal ones are what rounding made of different ones: they are spread over the rounding's
/// step (the least distance between any two), or else whole milliseconds would be so many hills.
fn places(all: &[f64]) -> Vec<f64> {
    let steps = all.windows(2).map(|pair| pair[1] - pair[0]).filter(|step| *step > 0.0);
    let step = steps.min_by(f64::total_cmp).unwrap_or(0.0);
    let logarithm = all.first().is_some_and(|least| *least > 0.0);
    let place = |value: f64| if logarithm { libm::log(value) } else { value };
    let mut places = Vec::with_capacity(all.len());
    for equal in all.chunk_by(|one, two| one == two) {
        let value = equal[0];
        // Not below 0, where there is no logarithm.
        let (from, to) = (
            place(if logarithm {
                (value - step / 2.0).max(value / 2.0)
            } else {
                value - step / 2.0
            }),
            place(value + step / 2.0),
        );
        let each = (to - from) / to_f64(equal.len());
        places.extend((0..equal.len()).map(|index| from + (to_f64(index) + 0.5) * each));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(values: impl IntoIterator<Item = f64>) -> Option<Vec<(f64, usize)>> {
        modes(&SortedValues::new(values))
            .map(|modes| modes.iter().map(|mode| (mode.center, mode.count)).collect())
    }

    #[test]
    fn nagle_has_two_modes() {
        let quick = (0..35).map(|n| 3900.0 + f64::from(n * 17 % 35) * 20.0);
        let late = (0..15).map(|n| 42_600.0 + f64::from(n) * 90.0);
        assert_eq!(counts(quick.chain(late)), Some(vec![(4240.0, 35), (43_230.0, 15)]));
    }

    #[test]
    fn three_modes_are_found_one_after_the_other() {
        let hill = |center: f64| (0..20).map(move |n| center * (1.0 + f64::from(n) / 100.0));
        let found = counts(hill(100.0).chain(hill(1000.0)).chain(hill(10_000.0))).unwrap();
        assert_eq!(found.iter().map(|mode| mode.1).collect::<Vec<_>>(), [20, 20, 20]);
    }

    #[test]
    fn a_few_far_out_are_a_tail_and_not_a_mode() {
        let hill = (0..40).map(|n| 4000.0 + f64::from(n) * 10.0);
        assert_eq!(
            counts(hill.clone().chain([43_000.0, 90_000.0])).map(|modes| modes.len()),
            Some(1)
        );
        assert_eq!(
            counts(hill.chain([9000.0, 20_000.0, 43_000.0, 90_000.0, 200_000.0]))
                .map(|modes| modes.len()),
            Some(1)
        );
    }

    #[test]
    fn whole_milliseconds_and_small_counts_are_not_so_many_modes() {
        let rounded = (0..100).map(|n| f64::from(3 + n % 4) * 1000.0);
        assert_eq!(counts(rounded).map(|modes| modes.len()), Some(1));
        let passes = (0..100).map(|n| if n < 97 { 3.0 } else { 5.0 });
        assert_eq!(counts(passes).map(|modes| modes.len()), Some(1));
        assert_eq!(counts([7.0; 50]).map(|modes| modes.len()), Some(1));
        let zero_or_many = (0..40).map(|n| if n % 2 == 0 { 0.0 } else { f64::from(500 + n) });
        assert_eq!(counts(zero_or_many).map(|modes| modes.len()), Some(2));
    }

    #[test]
    fn five_values_are_too_few_to_say() {
        assert_eq!(counts([1.0, 1.1, 1.2, 50.0, 51.0]), None);
    }

    proptest! {
        #[test]
        fn each_value_is_in_one_mode(values in prop::collection::vec(prop_oneof![1f64..2.0, 50f64..60.0, -3f64..0.0, Just(1.5)], 6..80)) {
            let found = modes(&SortedValues::new(values.clone())).unwrap();
            prop_assert_eq!(found.iter().map(|mode| mode.count).sum::<usize>(), values.len());
            prop_assert!(found.windows(2).all(|pair| pair[0].greatest < pair[1].least));
            prop_assert!((found.iter().map(|mode| mode.share).sum::<f64>() - 1.0).abs() < 1e-9);
        }
    }
}
