//! Snapshots of whole pages. The same seeds give the same figures on every platform.

use super::format_comparison;
use crate::campaign::compare::SignificanceTest;
use crate::campaign::examples::Shape::{Always, Hill, Hills, NotMeasured};
use crate::campaign::examples::table;
use crate::campaign::{CompareOptions, Row, Table, compare};
use crate::record::Outcome;
use proptest::prelude::*;

const ONE: &str = "postcopy 128MiB";

fn page(a: Table, b: Table) -> String {
    format_comparison(&compare(&a, &b, &CompareOptions::default()))
}

/// A pre-copy and a post-copy of one scenario, in µs, bytes and faults.
fn precopy(runs: usize, seed: u64) -> Table {
    table("pre-copy").runs(
        ONE,
        runs,
        seed,
        [Hill(4200.0, 0.3), Hill(520_000.0, 0.08), Hill(90e6, 0.05), Always(0.0)],
    )
}

fn postcopy(runs: usize, seed: u64) -> Table {
    table("post-copy").runs(
        ONE,
        runs,
        seed,
        [Hill(1650.0, 0.3), Hill(524_000.0, 0.08), Hill(86e6, 0.05), Hill(52.0, 0.2)],
    )
}

fn of_a_clear_effect() -> String {
    page(precopy(40, 1), postcopy(40, 2))
}

#[test]
fn a_clear_effect() {
    insta::assert_snapshot!(of_a_clear_effect(), @r"
            post-copy against pre-copy: 40 and 40 runs, not paired
            post-copy cuts the blackout by 60 % (52 to 68 %), 95 % sure
            post-copy raises the page faults by 53 (48 to 59), 95 % sure
            no difference shown: total time (−6.8 to +0.9 %), bytes sent (−5.3 to +0.1 %)

                                 pre-copy                       post-copy                      change               p
              blackout           4.40 ms [3.91 ms, 5.20 ms]     1.74 ms [1.56 ms, 1.96 ms]     −60 % [−68, −52]     < 0.0001  lower
                90th percentile  5.94 ms [5.51 ms, 7.60 ms]     2.27 ms [2.11 ms, 2.63 ms]     −62 % [−70, −56]
              total time         531 ms [508 ms, 538 ms]        505 ms [495 ms, 531 ms]        −4.7 % [−6.8, +0.9]  0.19
                90th percentile  578 ms [554 ms, 623 ms]        550 ms [542 ms, 609 ms]        −5 % [−9, +4]
              bytes sent         84.8 MiB [83.7 MiB, 87.0 MiB]  82.4 MiB [80.5 MiB, 84.5 MiB]  −2.9 % [−5.3, +0.1]  0.063
                90th percentile  91.2 MiB [89.9 MiB, 95.4 MiB]  88.8 MiB [86.8 MiB, 93.7 MiB]  −2.7 % [−7.5, +1.2]
              page faults        0 [0, 0]                       53 [48, 59]                    +53 [48, 59]         < 0.0001  higher
                90th percentile  0 [0, 0]                       74 [68, 83]                    +74 [66, 77]
              medians with 95 % intervals; p by Mann-Whitney, two-sided, corrected by Holm for 4 tests
            ");
}

fn of_no_difference() -> String {
    page(precopy(30, 1), Table { name: "pre-copy again".into(), ..precopy(30, 3) })
}

#[test]
fn no_difference() {
    insta::assert_snapshot!(of_no_difference(), @r"
            pre-copy again against pre-copy: 30 and 30 runs, not paired
            no difference shown: blackout (−16 to +22 %), total time (−3.3 to +5.6 %), bytes sent (−1.8 to +6.1 %), page faults (0 %)

                           pre-copy                       pre-copy again                 change               p
              blackout     4.06 ms [3.74 ms, 5.10 ms]     4.53 ms [3.64 ms, 4.84 ms]     +12 % [−16, +22]     1.00
              total time   531 ms [508 ms, 536 ms]        534 ms [513 ms, 550 ms]        +0.7 % [−3.3, +5.6]  0.89
              bytes sent   84.6 MiB [81.4 MiB, 87.0 MiB]  85.6 MiB [83.4 MiB, 88.6 MiB]  +1.3 % [−1.8, +6.1]  0.89
              page faults  0 [0, 0]                       0 [0, 0]                       0 % [0, 0]           1.00
              medians with 95 % intervals; p by Mann-Whitney, two-sided, corrected by Holm for 4 tests
            ");
}

fn of_too_few() -> String {
    page(precopy(4, 1), postcopy(4, 2))
}

#[test]
fn too_few() {
    insta::assert_snapshot!(of_too_few(), @r"
            post-copy against pre-copy: 4 and 4 runs, not paired
            too few values to compare blackout, total time, bytes sent, page faults (4 and 4 values); each side needs 6

                           pre-copy            post-copy           change             p
              blackout     2.81 ms [too few]   1.89 ms [too few]   −33 % [too few]       too few
              total time   531 ms [too few]    485 ms [too few]    −8.7 % [too few]      too few
              bytes sent   79.4 MiB [too few]  79.1 MiB [too few]  −0.29 % [too few]     too few
              page faults  0 [too few]         59 [too few]        +59 [too few]         too few
              medians with 95 % intervals; p by Mann-Whitney, two-sided, corrected by Holm for 0 tests
            ");
}

fn of_two_modes() -> String {
    let shapes = |blackout| [blackout, Hill(540_000.0, 0.05), Hill(88e6, 0.05), NotMeasured];
    let tcp = table("tcp").runs("idle", 50, 15, shapes(Hills(3000.0, 42_000.0, 0.35, 0.12)));
    let owned = table("owned").runs("idle", 50, 9, shapes(Hill(2900.0, 0.12)));
    page(tcp, owned)
}

#[test]
fn two_modes() {
    insta::assert_snapshot!(of_two_modes(), @r"
            owned against tcp: 50 and 50 runs, not paired
            owned cuts the blackout by 13 % (8 to 27 %), 95 % sure; it has several modes, see below
            no difference shown: total time (−3.4 to +0.8 %), bytes sent (−2.4 to +2.2 %)
            measured on neither side: page faults

                                 tcp                            owned                          change                  p
              blackout           3.32 ms [3.21 ms, 35.0 ms]     2.88 ms [2.79 ms, 3.03 ms]     −13 % [−27, −8]         < 0.0001  lower
                90th percentile  45.3 ms [42.1 ms, 55.0 ms]     3.38 ms [3.26 ms, 3.69 ms]     −92.5 % [−93.0, −91.7]
              total time         547 ms [538 ms, 558 ms]        541 ms [531 ms, 550 ms]        −1.2 % [−3.4, +0.8]     0.77
                90th percentile  578 ms [574 ms, 607 ms]        579 ms [567 ms, 593 ms]        +0.1 % [−2.3, +1.5]
              bytes sent         82.8 MiB [81.9 MiB, 84.4 MiB]  83.3 MiB [81.3 MiB, 84.9 MiB]  +0.5 % [−2.4, +2.2]     0.77
                90th percentile  92.7 MiB [90.4 MiB, 97.2 MiB]  87.7 MiB [86.3 MiB, 96.6 MiB]  −5.4 % [−8.0, −0.6]
              medians with 95 % intervals; p by Mann-Whitney, two-sided, corrected by Holm for 3 tests

            blackout has several modes, so its median describes none of them
              tcp    │ ▃▃▄▅▅█▃▄▂                               ▃▂▅▅▅▂▂│ 3.07 ms (64 %), 42.1 ms (36 %)
              owned  │▂▃▂▅█▅▆▃▂                                       │ 2.88 ms
                     2.12 ms                                    55.0 ms
            ");
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
    insta::assert_snapshot!(of_failures_on_one_side(), @r"
            xbzrle against pre-copy: 40 and 40 runs, not paired
            xbzrle completes less often: 26 of 40 runs (65 %, 50 to 78 %) against 40 of 40 runs (100 %, 91 to 100 %) of pre-copy, 95 % sure
            no difference shown: blackout (−30 to +6 %), total time (−5 to +6 %), bytes sent (−2.2 to +2.9 %), page faults (0 %)
            excluded from xbzrle's figures: runs that did not complete: 14

                           pre-copy                       xbzrle                         change               p
              blackout     4.40 ms [3.91 ms, 5.20 ms]     3.73 ms [3.47 ms, 4.90 ms]     −15 % [−30, +6]      0.75
              total time   531 ms [508 ms, 538 ms]        524 ms [501 ms, 566 ms]        −1 % [−5, +6]        1.00
              bytes sent   84.8 MiB [83.7 MiB, 87.0 MiB]  84.6 MiB [83.4 MiB, 87.4 MiB]  −0.2 % [−2.2, +2.9]  1.00
              page faults  0 [0, 0]                       0 [0, 0]                       0 % [0, 0]           1.00
              medians with 95 % intervals; p by Mann-Whitney, two-sided, corrected by Holm for 4 tests
            ");
}

fn of_pairs_in_several_cells() -> String {
    let side = |name: &str, scatter: f64, factor: f64| {
        let mut all = table(name);
        for (index, center) in [1600.0, 4000.0, 21_000.0, 130_000.0].into_iter().enumerate() {
            // Both sides have the same seed, and so a pair has much in common.
            let cell = format!("{} MiB/s", 25 << index);
            let shapes = [
                Hill(center * factor, scatter),
                Hill(center * 100.0, scatter / 3.0),
                Hill(9e7, scatter / 6.0),
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
    insta::assert_snapshot!(of_pairs_in_several_cells(), @r"
            tuned against default: 46 and 48 runs, 4 cells, 46 pairs
            completed: 45 of 46 runs (98 %, 89 to 100 %) against 48 of 48 runs (100 %, 93 to 100 %) of default, no difference shown
            tuned cuts the blackout by 29.6 % (27.8 to 31.6 %), pair by pair, 95 % sure
            no difference shown: total time (−0.7 to +0.3 %), bytes sent (−0.52 to +0.46 %)
            cell by cell, blackout: lower in 4 of 4 cells (−28.6 % to −31.7 %)
            excluded from default's figures: without partner: 4 of blackout, 3 of total time, 3 of bytes sent
            excluded from tuned's figures: runs that did not complete: 1; not measured: 1 of blackout
            measured on neither side: page faults

                                     default                        tuned                          change                  p
              blackout, all pairs                                                                  −29.6 % [−31.6, −27.8]  < 0.0001  lower
                25 MiB/s             1.39 ms [1.18 ms, 1.90 ms]     997 µs [870 µs, 1.29 ms]       −29.4 % [−32.0, −26.4]  0.020     lower
                50 MiB/s             3.38 ms [2.68 ms, 4.95 ms]     2.43 ms [2.00 ms, 3.35 ms]     −28.6 % [−32.4, −25.2]  0.006     lower
                100 MiB/s            21.0 ms [16.2 ms, 33.5 ms]     14.7 ms [11.8 ms, 21.7 ms]     −31.7 % [−35.2, −26.9]  0.006     lower
                200 MiB/s            110 ms [98.2 ms, 150 ms]       79.1 ms [72.0 ms, 102 ms]      −29.8 % [−31.6, −26.6]  0.020     lower
              total time, all pairs                                                                −0.4 % [−0.7, +0.3]     0.79
                25 MiB/s             158 ms [144 ms, 184 ms]        158 ms [147 ms, 180 ms]        +0.2 % [−2.3, +1.7]     1.00
                50 MiB/s             410 ms [349 ms, 419 ms]        408 ms [357 ms, 415 ms]        −0.4 % [−0.8, +2.3]     1.00
                100 MiB/s            2.14 s [1.91 s, 2.45 s]        2.13 s [1.94 s, 2.39 s]        −0.5 % [−2.6, +1.6]     1.00
                200 MiB/s            13.4 s [12.8 s, 14.4 s]        13.4 s [12.8 s, 14.2 s]        −0.7 % [−1.7, +0.3]     0.22
              bytes sent, all pairs                                                                −0.04 % [−0.52, +0.46]  0.84
                25 MiB/s             88.5 MiB [81.5 MiB, 93.0 MiB]  88.1 MiB [82.2 MiB, 91.7 MiB]  −0.5 % [−1.3, +0.9]     1.00
                50 MiB/s             83.5 MiB [79.4 MiB, 89.9 MiB]  83.9 MiB [80.4 MiB, 89.2 MiB]  +0.2 % [−0.8, +1.3]     1.00
                100 MiB/s            87.8 MiB [83.2 MiB, 90.5 MiB]  87.4 MiB [83.6 MiB, 89.7 MiB]  −0.5 % [−0.9, +0.5]     1.00
                200 MiB/s            84.8 MiB [77.7 MiB, 90.8 MiB]  85.0 MiB [79.0 MiB, 89.9 MiB]  0.0 % [−0.9, +1.7]      1.00
              medians with 95 % intervals; p by Wilcoxon's signed ranks, two-sided, corrected by Holm for 3 tests of all pairs and 12 of cells
            ");
}

fn of_many_cells_without_pairs() -> String {
    let side = |name: &str, seed: u64, factor: f64| {
        let cells = (0..20).map(|index| {
            (format!("{} MiB/s", 10 * (index + 1)), if index < 8 { factor } else { 1.0 })
        });
        cells.enumerate().fold(table(name), |all, (index, (cell, factor))| {
            let runs = if index == 19 { 5 } else { 20 };
            let shapes =
                [Hill(3000.0 * factor, 0.2), Hill(500_000.0, 0.1), Hill(9e7, 0.05), NotMeasured];
            all.runs(&cell, runs, seed + index as u64, shapes)
        })
    };
    let b = side("tuned", 300, 0.6).runs("only here", 3, 1, [NotMeasured; 4]);
    page(side("default", 100, 1.0), b)
}

#[test]
fn many_cells_without_pairs() {
    insta::assert_snapshot!(of_many_cells_without_pairs(), @r"
            tuned against default: 388 and 385 runs, 20 cells, not paired
            not compared, because only tuned has them: cells only here
            blackout: lower in 8 of 20 cells (−34 % to −46 %), no difference shown in 11, too few values in 1 (each side needs 7)
            total time: no difference shown in 19, too few values in 1 (each side needs 7)
            bytes sent: no difference shown in 19, too few values in 1 (each side needs 7)
            measured on neither side: page faults

                                   default                     tuned                       change            p
              blackout
                10 MiB/s           2.88 ms [2.66 ms, 3.28 ms]  1.80 ms [1.65 ms, 1.98 ms]  −37 % [−46, −30]  < 0.0001  lower
                20 MiB/s           3.14 ms [2.79 ms, 3.72 ms]  1.72 ms [1.59 ms, 1.98 ms]  −45 % [−54, −34]  < 0.0001  lower
                30 MiB/s           2.85 ms [2.50 ms, 3.22 ms]  1.71 ms [1.57 ms, 2.04 ms]  −40 % [−48, −28]  < 0.0001  lower
                40 MiB/s           2.87 ms [2.78 ms, 3.25 ms]  1.88 ms [1.64 ms, 2.04 ms]  −34 % [−44, −29]  < 0.0001  lower
                50 MiB/s           3.03 ms [2.69 ms, 3.42 ms]  1.96 ms [1.66 ms, 2.05 ms]  −35 % [−47, −27]  < 0.0001  lower
                60 MiB/s           3.17 ms [2.88 ms, 3.55 ms]  1.72 ms [1.54 ms, 1.94 ms]  −46 % [−52, −38]  < 0.0001  lower
                70 MiB/s           3.05 ms [2.65 ms, 3.43 ms]  1.80 ms [1.59 ms, 1.93 ms]  −41 % [−51, −32]  < 0.0001  lower
                80 MiB/s           2.85 ms [2.64 ms, 3.37 ms]  1.74 ms [1.58 ms, 2.35 ms]  −39 % [−49, −22]  < 0.0001  lower
                and 12 more cells
              total time
                and 20 more cells
              bytes sent
                and 20 more cells
              medians with 95 % intervals; p by Mann-Whitney, two-sided, corrected by Holm for 57 tests
            ");
}

fn of_nothing_in_common() -> String {
    let b = table("post-copy").runs("another", 3, 1, [NotMeasured; 4]);
    page(precopy(4, 1), b)
}

#[test]
fn nothing_in_common() {
    insta::assert_snapshot!(of_nothing_in_common(), @r"
            post-copy against pre-copy: 3 and 4 runs, 0 cells, not paired
            not compared, because only pre-copy has them: cells postcopy 128MiB
            not compared, because only post-copy has them: cells another
            the two have no cell in common: nothing can be compared
            ");
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
    let docs = include_str!("../../../docs/campaigns.md");
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

proptest! {
    // Each with thousands of permutations.
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn does_not_panic_on_any_table(
        rows in prop::collection::vec((0u8..3, prop::option::of(0u8..4), any::<bool>(), prop::option::of(prop_oneof![
            Just(0.0), 0f64..10.0, Just(f64::MAX), Just(f64::MIN_POSITIVE), any::<f64>()
        ])), 0..60),
        medians in any::<bool>(),
    ) {
        let row = |(cell, pair, completed, value): &(u8, Option<u8>, bool, Option<f64>)| Row {
            cell: cell.to_string(),
            pair: pair.map(|pair| pair.to_string()),
            outcome: if *completed { Outcome::Completed } else { Outcome::Lost },
            values: vec![*value],
        };
        let (one, other) = rows.split_at(rows.len() / 2);
        let side = |rows: &[_]| Table { rows: rows.iter().map(row).collect(), ..table("side") };
        let test = if medians { SignificanceTest::Medians } else { SignificanceTest::Ranks };
        let comparison = compare(&side(one), &side(other), &CompareOptions { test, ..CompareOptions::default() });
        prop_assert!(format_comparison(&comparison).lines().count() > 1);
        prop_assert!(serde_json::to_string(&comparison).is_ok());
    }
}
