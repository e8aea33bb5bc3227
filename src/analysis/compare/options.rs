//! How two tables are compared.

use serde::Serialize;

/// How to compare two tables.
#[derive(Clone, Copy, Debug)]
pub struct CompareOptions {
    /// Whether runs are compared in pairs.
    pub pairing: Pairing,
    /// The significance test.
    pub test: SignificanceTest,
    /// The seed of everything random. Every interval and every test starts from it, so that none
    /// depends on the others.
    pub seed: u64,
}

impl Default for CompareOptions {
    fn default() -> CompareOptions {
        CompareOptions { pairing: Pairing::IfPossible, test: SignificanceTest::Ranks, seed: 1 }
    }
}

/// Whether runs are compared in pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// In pairs if every row of both tables has a key and some keys are in both tables.
    IfPossible,
    /// Never in pairs, even if the rows have keys.
    Never,
}

/// The question that the significance test answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignificanceTest {
    /// Whether values tend to be lower: the Mann-Whitney test, or Wilcoxon's signed-rank test for
    /// pairs.
    Ranks,
    /// Whether the medians differ: a permutation test, or the sign test for pairs.
    Medians,
}

/// The settings that are the same for each metric.
pub(super) struct TestSettings {
    pub(super) paired: bool,
    pub(super) test: SignificanceTest,
    pub(super) permutations: usize,
    pub(super) seed: u64,
}
