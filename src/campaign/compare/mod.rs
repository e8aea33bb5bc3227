//! Two tables of runs against each other: what is different, by how much, how sure that is, and where nothing can be said.
//!
//! Takes two tables in memory and a seed; gives a [`Comparison`]. Pure. Knows nothing of files and terminals.
//!
//! **What is claimed**, and all of it has to hold: there are enough values; the test's p, corrected for all tests of its family, is at most
//! 5 %; the 95 % interval of the change leaves out "no change"; and test and median point the same way. A test of ranks alone would say
//! "lower" of samples with the same median, if one has a second hill; an interval alone would be wrong in one of twenty cells. Else the
//! verdict is `no_difference_shown`, or `too_few` where no outcome of the runs could have shown one.
//!
//! **The change** is the ratio of the medians. In a paired design it is the median of the pairs' ratios: what differs from pair to pair (the
//! seed, the hour, the cell) is out of it then, and so pairs of all cells can be taken together, though one cell's blackout is 2 ms and
//! another's 700. Cells of a design without pairs have no common scale; they are counted.
//!
//! **Families.** Each cell's metrics are one family over all cells, those of all cells together another, the cells' completion rates a
//! third: each is an answer to one question.
//!
//! Map: `comparison` what comes out · `matching` which rows belong together, and which values are left out · `figures` one metric ·
//! `completion` how many runs completed · `histogram` to show several modes · `verdict` what may be claimed.

mod comparison;
mod completion;
mod figures;
mod histogram;
mod matching;
mod verdict;

pub use comparison::{
    CellComparison, Change, ComparedTable, Comparison, Completion, CompletionCount, ExcludedValues,
    HISTOGRAM_BINS, MetricComparison, Quantiles, SCHEMA, SampleSummary, TailChanges, Unmatched,
    Verdict,
};

use super::Table;
use crate::record::Outcome;
use matching::{Matched, Matching};
use serde::Serialize;

/// How to compare.
#[derive(Clone, Copy, Debug)]
pub struct CompareOptions {
    /// Whether runs have partners.
    pub pairing: Pairing,
    /// What is tested.
    pub test: SignificanceTest,
    /// Of what is random. Each interval and each test starts from it, so none depends on which others there are.
    pub seed: u64,
}

impl Default for CompareOptions {
    fn default() -> CompareOptions {
        CompareOptions { pairing: Pairing::IfThereAreKeys, test: SignificanceTest::Ranks, seed: 1 }
    }
}

/// Whether runs have partners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// If every row of both tables has a key, and some keys are in both.
    IfThereAreKeys,
    /// No: all values count, keys or not.
    Never,
}

/// What is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignificanceTest {
    /// Whether values are rather lower: Mann-Whitney; Wilcoxon's signed ranks for pairs.
    Ranks,
    /// Whether the medians differ: by permutations; by signs alone for pairs.
    Medians,
}

/// Permutations, unless the family is so large that its clearest test needs more.
const PERMUTATIONS: usize = 9999;
/// The least p that so many times the family can give is 4 %, corrected.
const PERMUTATIONS_A_TEST: usize = 25;

/// The same for each metric.
struct How {
    paired: bool,
    test: SignificanceTest,
    permutations: usize,
    seed: u64,
}

/// Compares `b` with `a`: `lower` means that `b` is.
#[must_use]
pub fn compare(a: &Table, b: &Table, options: &CompareOptions) -> Comparison {
    let matching = Matching::of(a, b, options.pairing);
    let paired = matching.paired;
    let permutations =
        PERMUTATIONS.max(matching.cells.len() * matching.columns.len() * PERMUTATIONS_A_TEST);
    let how = How { paired, test: options.test, permutations, seed: options.seed };
    let all = matching.together();
    let several = matching.cells.len() > 1;
    let columns = matching.columns.iter().filter(|_| paired && several);
    let mut pooled: Vec<MetricComparison> =
        columns.map(|column| figures::pooled(column, &all, &how)).collect();
    let mut cells: Vec<CellComparison> =
        matching.cells.iter().map(|matched| cell(&matching, matched, &how)).collect();
    let mut completion = completion::of(&outcomes(&all.a), &outcomes(&all.b));
    verdict::settle(cells.iter_mut().flat_map(|cell| cell.metrics.iter_mut()).collect(), paired);
    verdict::settle(pooled.iter_mut().collect(), paired);
    completion::settle(cells.iter_mut().map(|cell| &mut cell.completion).collect());
    completion::settle(vec![&mut completion]);
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

fn cell(matching: &Matching<'_>, matched: &Matched<'_>, how: &How) -> CellComparison {
    CellComparison {
        cell: matched.cell.to_owned(),
        completion: completion::of(&outcomes(&matched.a), &outcomes(&matched.b)),
        metrics: matching
            .columns
            .iter()
            .map(|column| figures::figures(column, matched, how))
            .collect(),
    }
}

fn outcomes(rows: &[&super::Row]) -> Vec<Outcome> {
    rows.iter().map(|row| row.outcome).collect()
}

#[cfg(test)]
mod tests;
