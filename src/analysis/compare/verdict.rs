//! Decides whether a difference is shown, once all tests of a family are done.

use super::comparison::{MetricComparison, Verdict};
use crate::statistics::{ALPHA, Design, Estimate, holm, min_p, min_values_per_side, to_f64};
use std::cmp::Ordering;

/// Corrects the p-values for the family, and fills in the verdicts.
pub(super) fn decide_verdicts(mut family: Vec<&mut MetricComparison>, paired: bool) {
    let design = if paired { Design::Paired } else { Design::Independent };
    let p: Vec<Option<f64>> = family.iter().map(|figures| figures.p).collect();
    let tests = p.iter().flatten().count();
    // Metrics with too few values would be tests as well if they had more.
    let possible_tests =
        family.iter().filter(|figures| figures.a.values > 0 && figures.b.values > 0).count().max(1);
    for (metric, corrected) in family.iter_mut().zip(holm(&p)) {
        metric.p_corrected = corrected;
        metric.family = tests;
        metric.verdict = verdict(metric, design);
        metric.needed = (metric.verdict == Verdict::TooFew)
            .then(|| min_values_per_side(design, possible_tests));
    }
}

fn verdict(figures: &MetricComparison, design: Design) -> Verdict {
    let (Some(p), Some(change)) = (figures.p_corrected, &figures.change) else {
        return Verdict::TooFew;
    };
    let direction = if p <= ALPHA { direction_of(&change.difference) } else { None };
    match (direction, figures.evidence_lower) {
        (Some(Ordering::Less), Some(lower)) if lower > 0.5 => Verdict::Lower,
        (Some(Ordering::Greater), Some(lower)) if lower < 0.5 => Verdict::Higher,
        _ if min_p(design, figures.a.values, figures.b.values) * to_f64(figures.family) > ALPHA => {
            Verdict::TooFew
        }
        _ => Verdict::NoDifferenceShown,
    }
}

/// Returns on which side of 0 the whole interval lies; `None` if it contains 0. The difference
/// decides, because there is not always a ratio.
fn direction_of(difference: &Estimate) -> Option<Ordering> {
    match (difference.low?, difference.high?) {
        (low, _) if low > 0.0 => Some(Ordering::Greater),
        (_, high) if high < 0.0 => Some(Ordering::Less),
        _ => None,
    }
}
