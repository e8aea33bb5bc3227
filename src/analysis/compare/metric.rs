//! Compares one metric, in one cell or pooled over all cells: quantiles, change, test and modes.
//! The verdict is filled in later by `verdict`, once all tests of the family are done.

use super::comparison::{
    ExcludedValues, MetricComparison, Quantiles, SampleSummary, TailChanges, Verdict,
};
use super::histogram::count_by_bin;
use super::matching::{Column, MatchedCell, Values};
use super::options::{SignificanceTest, TestSettings};
use crate::statistics::bootstrap;
use crate::statistics::bootstrap::{Change, finite_ratio, ratio};
use crate::statistics::{
    PairedChange, SortedValues, TestResult, find_modes, permutation, rank_sum, sign_test,
    signed_rank, to_f64,
};

/// Compares a metric in one cell.
pub(super) fn compare_metric(
    column: &Column<'_>,
    rows: &MatchedCell<'_>,
    settings: &TestSettings,
) -> MetricComparison {
    let values = column.values(rows, settings.paired);
    let (a, b) =
        (SortedValues::new(values.a.iter().copied()), SortedValues::new(values.b.iter().copied()));
    let mut compared = if settings.paired {
        compare_pairs(column, &values, settings)
    } else {
        compare_samples(column, &values, &a, &b, settings)
    };
    compared.tails = tails(&values, &a, &b, settings);
    (compared.a.quantiles, compared.b.quantiles) = (quantiles(&a), quantiles(&b));
    (compared.a.modes, compared.b.modes) = (find_modes(&a), find_modes(&b));
    let has_several_modes =
        [&compared.a.modes, &compared.b.modes].into_iter().flatten().any(|modes| modes.len() > 1);
    (compared.a.histogram, compared.b.histogram) =
        if has_several_modes { count_by_bin(&a, &b).unzip() } else { (None, None) };
    compared
}

/// Compares a metric over the pairs of all cells: only changes, because the values of different
/// cells have no common scale.
pub(super) fn compare_pooled(
    column: &Column<'_>,
    rows: &MatchedCell<'_>,
    settings: &TestSettings,
) -> MetricComparison {
    compare_pairs(column, &column.values(rows, true), settings)
}

fn compare_samples(
    column: &Column<'_>,
    values: &Values,
    a: &SortedValues,
    b: &SortedValues,
    settings: &TestSettings,
) -> MetricComparison {
    let ranks = rank_sum(&values.a, &values.b);
    let tested = match settings.test {
        SignificanceTest::Ranks => ranks,
        SignificanceTest::Medians => {
            permutation::test_medians(&values.a, &values.b, settings.permutations, settings.seed)
        }
    };
    let probability_lower = ranks.map(|ranks| ranks.lower);
    MetricComparison {
        probability_lower,
        ..without_verdict(column, values, bootstrap::independent_change(a, b, 50), tested)
    }
}

fn compare_pairs(
    column: &Column<'_>,
    values: &Values,
    settings: &TestSettings,
) -> MetricComparison {
    let pairs = || values.a.iter().copied().zip(values.b.iter().copied());
    let changes: Vec<PairedChange> = pairs().map(|(a, b)| PairedChange::of_pair(a, b)).collect();
    let tested = match settings.test {
        SignificanceTest::Ranks => signed_rank(&changes),
        SignificanceTest::Medians => sign_test(&changes),
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
    let probability_lower = (!changes.is_empty()).then(|| lower / to_f64(changes.len()));
    let change = SortedValues::new(pairs().map(|(a, b)| b - a)).quantile(50).map(|difference| {
        // A change from 0 has an infinite ratio, which keeps its place in the order.
        let ratio = SortedValues::new(pairs().map(|(a, b)| ratio(a, b)))
            .quantile(50)
            .and_then(finite_ratio);
        Change { ratio, difference }
    });
    MetricComparison { probability_lower, ..without_verdict(column, values, change, Some(tested)) }
}

/// Fills in what both designs have in common.
fn without_verdict(
    column: &Column<'_>,
    values: &Values,
    change: Option<Change>,
    tested: Option<TestResult>,
) -> MetricComparison {
    // Without an interval no difference can be shown, and a p-value would only mislead.
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
        evidence_lower: tested.map(|tested| tested.lower),
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

fn tails(
    values: &Values,
    a: &SortedValues,
    b: &SortedValues,
    settings: &TestSettings,
) -> TailChanges {
    let pairs: Vec<(f64, f64)> = values.a.iter().copied().zip(values.b.iter().copied()).collect();
    let change = |hundredths| {
        let change = match settings.paired {
            true => bootstrap::paired_change(&pairs, hundredths, settings.seed),
            false => bootstrap::independent_change(a, b, hundredths),
        };
        change.filter(|change| change.difference.low.is_some())
    };
    TailChanges { p90: change(90), p99: change(99) }
}
