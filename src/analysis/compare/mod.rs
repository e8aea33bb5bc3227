//! Compares two tables of runs: what differs, by how much, and how certain that is. Pure.
//!
//! **A difference is shown** only if all of this holds: there are enough values; the p-value of the
//! test, corrected for all tests of its family, is at most 5 %; the 95 % interval of the change
//! does not contain "no change"; and the test and the median have the same direction. A rank test
//! alone would say "lower" of samples with the same median if one of them has a second mode, and an
//! interval alone would be wrong in one of twenty cells. Otherwise the verdict is
//! `no_difference_shown`, or `too_few` if no result of so few runs could have shown a difference.
//!
//! **The change** is the ratio of the medians. In a paired design it is the median of the ratios of
//! the pairs. What differs from pair to pair (the seed, the hour, the cell) then has no influence,
//! and the pairs of all cells can be pooled, even if the blackout is 2 ms in one cell and 700 ms in
//! another. Cells of an unpaired design have no common scale and are counted instead.
//!
//! **Families.** The metrics of all cells are one family of tests, the pooled metrics are another,
//! and the completion rates of the cells are a third: each answers one question.
//!
//! Modules: `options` (how to compare), `comparison` (the result), `matching` (which rows belong
//! together, and which values are left out), `metric` (one metric), `completion` (how many runs
//! completed), `histogram` (to show several modes), `verdict` (whether a difference is shown).

mod comparison;
mod completion;
mod histogram;
mod matching;
mod metric;
mod options;
mod verdict;

pub use comparison::{
    CellComparison, Change, ComparedTable, Comparison, Completion, CompletionCount, ExcludedValues,
    HISTOGRAM_BINS, MetricComparison, Quantiles, SCHEMA, SampleSummary, TailChanges, Unmatched,
    Verdict,
};

pub use options::{CompareOptions, Pairing, SignificanceTest};

use super::table::{Row, Table};
use matching::{MatchedCell, Matching};
use options::TestSettings;
use record::Outcome;

/// The number of permutations, unless the family of tests is so large that it needs more.
const MIN_PERMUTATIONS: usize = 9999;
/// The permutations per test of the family. The smallest corrected p-value is then 4 %.
const PERMUTATIONS_PER_TEST: usize = 25;

/// Compares `b` with `a`: `lower` means that `b` is lower.
#[must_use]
pub fn compare(a: &Table, b: &Table, options: &CompareOptions) -> Comparison {
    let matching = Matching::of(a, b, options.pairing);
    let paired = matching.paired;
    let permutations =
        MIN_PERMUTATIONS.max(matching.cells.len() * matching.columns.len() * PERMUTATIONS_PER_TEST);
    let settings = TestSettings { paired, test: options.test, permutations, seed: options.seed };
    let all = matching.pool_cells();
    let has_several_cells = matching.cells.len() > 1;
    let columns = matching.columns.iter().filter(|_| paired && has_several_cells);
    let mut pooled: Vec<MetricComparison> =
        columns.map(|column| metric::compare_pooled(column, &all, &settings)).collect();
    let mut cells: Vec<CellComparison> =
        matching.cells.iter().map(|matched| compare_cell(&matching, matched, &settings)).collect();
    let mut completion = completion::compare_completion(&outcomes(&all.a), &outcomes(&all.b));
    verdict::decide_verdicts(
        cells.iter_mut().flat_map(|cell| cell.metrics.iter_mut()).collect(),
        paired,
    );
    verdict::decide_verdicts(pooled.iter_mut().collect(), paired);
    completion::decide_verdicts(cells.iter_mut().map(|cell| &mut cell.completion).collect());
    completion::decide_verdicts(vec![&mut completion]);
    Comparison {
        schema: SCHEMA.to_owned(),
        a: ComparedTable { name: a.name.clone(), runs: a.rows.len() },
        b: ComparedTable { name: b.name.clone(), runs: b.rows.len() },
        paired,
        pairs: paired.then_some(all.pairs.len()),
        test: options.test,
        seed: options.seed,
        completion,
        pooled,
        cells,
        only_in_a: matching.only_in_a,
        only_in_b: matching.only_in_b,
    }
}

fn compare_cell(
    matching: &Matching<'_>,
    matched: &MatchedCell<'_>,
    settings: &TestSettings,
) -> CellComparison {
    CellComparison {
        cell: matched.cell.to_owned(),
        completion: completion::compare_completion(&outcomes(&matched.a), &outcomes(&matched.b)),
        metrics: matching
            .columns
            .iter()
            .map(|column| metric::compare_metric(column, matched, settings))
            .collect(),
    }
}

fn outcomes(rows: &[&Row]) -> Vec<Outcome> {
    rows.iter().map(|row| row.outcome).collect()
}

#[cfg(test)]
mod tests;
