//! Snapshots of whole pages. The same seeds give the same figures on every platform.

use super::format_comparison;
use analysis::compare::SignificanceTest;
use analysis::examples::Shape::{Always, NotMeasured, OneMode, TwoModes};
use analysis::examples::table;
use analysis::{CompareOptions, Row, Table, compare};
use proptest::prelude::*;
use record::Outcome;

const ONE: &str = "postcopy 128MiB";

fn page(a: Table, b: Table) -> String {
    format_comparison(&compare(&a, &b, &CompareOptions::default()))
}

/// Compares a page with the file of that name in `pages`.
fn assert_page(name: &str, page: String) {
    insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "pages" }, {
        insta::assert_snapshot!(name, page);
    });
}

/// A pre-copy and a post-copy of one scenario, in µs, bytes and faults.
fn precopy(runs: usize, seed: u64) -> Table {
    table("pre-copy").runs(
        ONE,
        runs,
        seed,
        [OneMode(4200.0, 0.3), OneMode(520_000.0, 0.08), OneMode(90e6, 0.05), Always(0.0)],
    )
}

fn postcopy(runs: usize, seed: u64) -> Table {
    table("post-copy").runs(
        ONE,
        runs,
        seed,
        [OneMode(1650.0, 0.3), OneMode(524_000.0, 0.08), OneMode(86e6, 0.05), OneMode(52.0, 0.2)],
    )
}

fn of_a_clear_effect() -> String {
    page(precopy(40, 1), postcopy(40, 2))
}

#[test]
fn a_clear_effect() {
    assert_page("a_clear_effect", of_a_clear_effect());
}

fn of_no_difference() -> String {
    page(precopy(30, 1), Table { name: "pre-copy again".into(), ..precopy(30, 3) })
}

#[test]
fn no_difference() {
    assert_page("no_difference", of_no_difference());
}

fn of_too_few() -> String {
    page(precopy(4, 1), postcopy(4, 2))
}

#[test]
fn too_few() {
    assert_page("too_few", of_too_few());
}

fn of_two_modes() -> String {
    let shapes = |blackout| [blackout, OneMode(540_000.0, 0.05), OneMode(88e6, 0.05), NotMeasured];
    let tcp = table("tcp").runs("idle", 50, 15, shapes(TwoModes(3000.0, 42_000.0, 0.35, 0.12)));
    let owned = table("owned").runs("idle", 50, 9, shapes(OneMode(2900.0, 0.12)));
    page(tcp, owned)
}

#[test]
fn two_modes() {
    assert_page("two_modes", of_two_modes());
}

fn of_failures_on_one_side() -> String {
    let a = precopy(40, 1);
    let b = Table { name: "xbzrle".into(), ..precopy(26, 7) }
        .failed(ONE, 12, Outcome::NotConverged)
        .failed(ONE, 2, Outcome::Failed);
    page(a, b)
}

#[test]
fn failures_on_one_side() {
    assert_page("failures_on_one_side", of_failures_on_one_side());
}

fn of_pairs_in_several_cells() -> String {
    let side = |name: &str, scatter: f64, factor: f64| {
        let mut all = table(name);
        for (index, center) in [1600.0, 4000.0, 21_000.0, 130_000.0].into_iter().enumerate() {
            // Both sides have the same seed, and so a pair has much in common.
            let cell = format!("{} MiB/s", 25 << index);
            let shapes = [
                OneMode(center * factor, scatter),
                OneMode(center * 100.0, scatter / 3.0),
                OneMode(9e7, scatter / 6.0),
                NotMeasured,
            ];
            all = all.runs(&cell, 12, index as u64, shapes);
        }
        all.with_keys()
    };
    let (a, mut b) = (side("default", 0.3, 1.0), side("tuned", 0.25, 0.7));
    b.rows.truncate(46);
    b.rows[3].values[0] = None;
    b.rows[5].outcome = Outcome::Failed;
    page(a, b)
}

#[test]
fn pairs_in_several_cells() {
    assert_page("pairs_in_several_cells", of_pairs_in_several_cells());
}

fn of_many_cells_without_pairs() -> String {
    let side = |name: &str, seed: u64, factor: f64| {
        let cells = (0..20).map(|index| {
            (format!("{} MiB/s", 10 * (index + 1)), if index < 8 { factor } else { 1.0 })
        });
        cells.enumerate().fold(table(name), |all, (index, (cell, factor))| {
            let runs = if index == 19 { 5 } else { 20 };
            let shapes = [
                OneMode(3000.0 * factor, 0.2),
                OneMode(500_000.0, 0.1),
                OneMode(9e7, 0.05),
                NotMeasured,
            ];
            all.runs(&cell, runs, seed + index as u64, shapes)
        })
    };
    let b = side("tuned", 300, 0.6).runs("only here", 3, 1, [NotMeasured; 4]);
    page(side("default", 100, 1.0), b)
}

#[test]
fn many_cells_without_pairs() {
    assert_page("many_cells_without_pairs", of_many_cells_without_pairs());
}

fn of_nothing_in_common() -> String {
    let b = table("post-copy").runs("another", 3, 1, [NotMeasured; 4]);
    page(precopy(4, 1), b)
}

#[test]
fn nothing_in_common() {
    assert_page("nothing_in_common", of_nothing_in_common());
}

#[test]
fn the_pages_in_the_docs_are_these() {
    let pages = [
        of_a_clear_effect(),
        of_too_few(),
        of_two_modes(),
        of_failures_on_one_side(),
        of_pairs_in_several_cells(),
    ];
    let lines: Vec<&str> = pages.iter().flat_map(|page| page.lines()).collect();
    let docs = include_str!("../../../../docs/reference/campaigns.md");
    let section = docs.split("\n## ").find(|section| section.starts_with("Comparing")).unwrap();
    let shown = section
        .split("```console\n")
        .skip(1)
        .flat_map(|block| block.split("```").next().unwrap().lines());
    // A line with an ellipsis stands for what is left out.
    for line in shown.filter(|line| line.trim() != "…") {
        assert!(lines.contains(&line), "not in any page: {line}");
    }
}

/// A cell, the key of a pair, whether the run completed, and the value of a metric.
type AnyRow = (u8, Option<u8>, bool, Option<f64>);

fn any_row() -> impl Strategy<Value = AnyRow> {
    let value =
        prop_oneof![Just(0.0), 0f64..10.0, Just(f64::MAX), Just(f64::MIN_POSITIVE), any::<f64>()];
    (0u8..3, prop::option::of(0u8..4), any::<bool>(), prop::option::of(value))
}

proptest! {
    // Each with thousands of permutations.
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn does_not_panic_on_any_table(
        rows in prop::collection::vec(any_row(), 0..60),
        medians in any::<bool>(),
    ) {
        let row = |(cell, pair, completed, value): &AnyRow| Row {
            cell: cell.to_string(),
            pair: pair.map(|pair| pair.to_string()),
            outcome: if *completed { Outcome::Completed } else { Outcome::Lost },
            values: vec![*value],
        };
        let (one, other) = rows.split_at(rows.len() / 2);
        let side = |rows: &[_]| Table { rows: rows.iter().map(row).collect(), ..table("side") };
        let test = if medians { SignificanceTest::Medians } else { SignificanceTest::Ranks };
        let options = CompareOptions { test, ..CompareOptions::default() };
        let comparison = compare(&side(one), &side(other), &options);
        prop_assert!(format_comparison(&comparison).lines().count() > 1);
        prop_assert!(serde_json::to_string(&comparison).is_ok());
    }
}
