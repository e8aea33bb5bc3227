//! What may be claimed.
//!
//! Takes the metrics of a family, tested; corrects their p-values and fills in the verdicts.

use super::comparison::{MetricComparison, Verdict};
use crate::campaign::statistics::{
    ALPHA, Design, Estimate, holm, min_p, min_values_per_side, to_f64,
};
use std::cmp::Ordering;

/// Corrects p for the family, and says what may be claimed of each.
pub(super) fn settle(mut family: Vec<&mut MetricComparison>, paired: bool) {
    let design = if paired { Design::Paired } else { Design::Independent };
    let p: Vec<Option<f64>> = family.iter().map(|figures| figures.p).collect();
    let tests = p.iter().flatten().count();
    // Those that had too few values would be tests as well, if they had more.
    let would_be =
        family.iter().filter(|figures| figures.a.values > 0 && figures.b.values > 0).count().max(1);
    for (figures, corrected) in family.iter_mut().zip(holm(&p)) {
        figures.p_corrected = corrected;
        figures.family = tests;
        figures.verdict = verdict(figures, design);
        figures.needed =
            (figures.verdict == Verdict::TooFew).then(|| min_values_per_side(design, would_be));
    }
}

fn verdict(figures: &MetricComparison, design: Design) -> Verdict {
    let (Some(p), Some(change)) = (figures.p_corrected, &figures.change) else {
        return Verdict::TooFew;
    };
    let direction = if p <= ALPHA { clear(&change.difference) } else { None };
    match (direction, figures.weight_lower) {
        (Some(Ordering::Less), Some(lower)) if lower > 0.5 => Verdict::Lower,
        (Some(Ordering::Greater), Some(lower)) if lower < 0.5 => Verdict::Higher,
        _ if min_p(design, figures.a.values, figures.b.values) * to_f64(figures.family) > ALPHA => {
            Verdict::TooFew
        }
        _ => Verdict::NoDifferenceShown,
    }
}

/// On which side of 0 the whole interval lies. A ratio lies on the same side of 1, and there is not always one.
fn clear(difference: &Estimate) -> Option<Ordering> {
    match (difference.low?, difference.high?) {
        (low, _) if low > 0.0 => Some(Ordering::Greater),
        (_, high) if high < 0.0 => Some(Ordering::Less),
        _ => None,
    }
}
