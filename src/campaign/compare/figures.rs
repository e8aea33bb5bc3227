//! One metric on both sides, in one cell or in all: quantiles, change, test, modes.
//!
//! Takes values; gives figures with p, of which `verdict` says what may be claimed once all of the family are there.

use super::comparison::{
    ExcludedValues, MetricComparison, Quantiles, SampleSummary, TailChanges, Verdict,
};
use super::histogram::histograms;
use super::matching::{Column, Matched, Values};
use super::{How, SignificanceTest};
use crate::campaign::statistics::bootstrap::{self, Change, ratio, sayable};
use crate::campaign::statistics::{
    PairedChange, SortedValues, TestResult, modes, permutation, rank_sum, signed_rank, signs,
    to_f64,
};

/// Of one cell.
pub(super) fn figures(column: &Column<'_>, rows: &Matched<'_>, how: &How) -> MetricComparison {
    let values = column.values(rows, how.paired);
    let (a, b) =
        (SortedValues::new(values.a.iter().copied()), SortedValues::new(values.b.iter().copied()));
    let mut figures = if how.paired {
        of_pairs(column, &values, how)
    } else {
        of_samples(column, &values, &a, &b, how)
    };
    figures.tails = tails(&values, &a, &b, how);
    (figures.a.quantiles, figures.b.quantiles) = (quantiles(&a), quantiles(&b));
    (figures.a.modes, figures.b.modes) = (modes(&a), modes(&b));
    let several =
        [&figures.a.modes, &figures.b.modes].into_iter().flatten().any(|modes| modes.len() > 1);
    (figures.a.histogram, figures.b.histogram) =
        if several { histograms(&a, &b).unzip() } else { (None, None) };
    figures
}

/// Of the pairs of all cells: only changes, since the values have no common scale.
pub(super) fn pooled(column: &Column<'_>, rows: &Matched<'_>, how: &How) -> MetricComparison {
    of_pairs(column, &column.values(rows, true), how)
}

fn of_samples(
    column: &Column<'_>,
    values: &Values,
    a: &SortedValues,
    b: &SortedValues,
    how: &How,
) -> MetricComparison {
    let ranks = rank_sum(&values.a, &values.b);
    let tested = match how.test {
        SignificanceTest::Ranks => ranks,
        SignificanceTest::Medians => {
            permutation::medians(&values.a, &values.b, how.permutations, how.seed)
        }
    };
    let probability_lower = ranks.map(|ranks| ranks.lower);
    MetricComparison {
        probability_lower,
        ..plain(column, values, bootstrap::independent(a, b, 50), tested)
    }
}

fn of_pairs(column: &Column<'_>, values: &Values, how: &How) -> MetricComparison {
    let pairs = || values.a.iter().copied().zip(values.b.iter().copied());
    let shifts: Vec<PairedChange> = pairs().map(|(a, b)| PairedChange::of_pair(a, b)).collect();
    let tested = match how.test {
        SignificanceTest::Ranks => signed_rank(&shifts),
        SignificanceTest::Medians => signs(&shifts),
    };
    let lower: f64 = pairs()
        .map(|(a, b)| {
            if b < a {
                1.0
            } else if b == a {
                0.5
            } else {
                0.0
            }
        })
        .sum();
    let probability_lower = (!shifts.is_empty()).then(|| lower / to_f64(shifts.len()));
    let change = SortedValues::new(pairs().map(|(a, b)| b - a)).quantile(50).map(|difference| {
        // Something from nothing is infinitely many times as much, and has its place in the order.
        let ratio =
            SortedValues::new(pairs().map(|(a, b)| ratio(a, b))).quantile(50).and_then(sayable);
        Change { ratio, difference }
    });
    MetricComparison { probability_lower, ..plain(column, values, change, Some(tested)) }
}

/// With what both designs have.
fn plain(
    column: &Column<'_>,
    values: &Values,
    change: Option<Change>,
    tested: Option<TestResult>,
) -> MetricComparison {
    // Without an interval nothing is claimed, and then p would only mislead.
    let tested = tested.filter(|_| change.is_some_and(|change| change.difference.low.is_some()));
    MetricComparison {
        metric: column.metric.name.clone(),
        label: column.metric.label.clone(),
        unit: column.metric.unit,
        a: one_side(&values.a, values.left_out_a),
        b: one_side(&values.b, values.left_out_b),
        change,
        tails: TailChanges::default(),
        probability_lower: None,
        p: tested.map(|tested| tested.p),
        p_corrected: None,
        family: 0,
        verdict: Verdict::TooFew,
        needed: None,
        weight_lower: tested.map(|tested| tested.lower),
    }
}

fn one_side(values: &[f64], left_out: ExcludedValues) -> SampleSummary {
    SampleSummary { values: values.len(), left_out, quantiles: None, modes: None, histogram: None }
}

fn quantiles(values: &SortedValues) -> Option<Quantiles> {
    Some(Quantiles {
        p50: values.quantile(50)?,
        p90: values.quantile(90)?,
        p99: values.quantile(99)?,
    })
}

fn tails(values: &Values, a: &SortedValues, b: &SortedValues, how: &How) -> TailChanges {
    let pairs: Vec<(f64, f64)> = values.a.iter().copied().zip(values.b.iter().copied()).collect();
    let change = |hundredths| {
        let change = match how.paired {
            true => bootstrap::paired(&pairs, hundredths, how.seed),
            false => bootstrap::independent(a, b, hundredths),
        };
        change.filter(|change| change.difference.low.is_some())
    };
    TailChanges { p90: change(90), p99: change(99) }
}
