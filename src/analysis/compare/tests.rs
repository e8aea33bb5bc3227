use super::*;
use crate::examples::Shape::{Always, NotMeasured, OneMode, TwoModes};
use crate::examples::table;

const CELL: &str = "one";

fn blackouts(name: &str, runs: usize, seed: u64, center: f64) -> Table {
    table(name).runs(
        CELL,
        runs,
        seed,
        [OneMode(center, 0.3), OneMode(500_000.0, 0.1), OneMode(9e7, 0.05), NotMeasured],
    )
}

fn compared(a: &Table, b: &Table) -> Comparison {
    compare(a, b, &CompareOptions::default())
}

fn verdicts(comparison: &Comparison) -> Vec<Verdict> {
    comparison.cells[0].metrics.iter().map(|figures| figures.verdict).collect()
}

#[test]
fn half_the_blackout_is_lower_and_twice_the_blackout_is_higher() {
    use Verdict::{Higher, Lower, NoDifferenceShown, TooFew};
    let (a, b) = (blackouts("a", 30, 1, 4000.0), blackouts("b", 30, 2, 2000.0));
    assert_eq!(verdicts(&compared(&a, &b)), [Lower, NoDifferenceShown, NoDifferenceShown, TooFew]);
    assert_eq!(verdicts(&compared(&b, &a)), [Higher, NoDifferenceShown, NoDifferenceShown, TooFew]);
    let medians = CompareOptions { test: SignificanceTest::Medians, ..CompareOptions::default() };
    assert_eq!(
        verdicts(&compare(&a, &b, &medians)),
        [Lower, NoDifferenceShown, NoDifferenceShown, TooFew]
    );
}

#[test]
fn too_few_values_show_nothing_and_say_how_many_are_needed() {
    let comparison = compared(&blackouts("a", 5, 1, 4000.0), &blackouts("b", 5, 2, 40.0));
    let blackout = &comparison.cells[0].metrics[0];
    assert_eq!((blackout.verdict, blackout.p, blackout.needed), (Verdict::TooFew, None, Some(6)));
    // Six are enough for one test, but not for 3 × 200: no result of them could be significant
    // then.
    let many = |name: &str, seed: u64, center: f64| {
        (0..200).fold(table(name), |all, cell| {
            all.runs(
                &cell.to_string(),
                6,
                seed + cell,
                [OneMode(center, 0.3), OneMode(5e5, 0.1), OneMode(9e7, 0.05), NotMeasured],
            )
        })
    };
    let comparison = compared(&many("a", 1, 4000.0), &many("b", 1000, 40.0));
    let blackout = &comparison.cells[0].metrics[0];
    assert_eq!(
        (blackout.family, blackout.verdict, blackout.needed),
        (600, Verdict::TooFew, Some(9))
    );
}

#[test]
fn counts_a_failed_run_and_leaves_out_its_figures() {
    let a = blackouts("a", 20, 1, 4000.0);
    let mut b = blackouts("b", 20, 2, 4000.0);
    b.rows[0].outcome = Outcome::Failed;
    b.rows[1].values[0] = None;
    b.rows[2].values[0] = Some(f64::NAN);
    let comparison = compared(&a, &b);
    let side = &comparison.cells[0].metrics[0].b;
    assert_eq!((side.values, side.left_out.not_completed, side.left_out.not_measured), (17, 1, 2));
    assert_eq!(
        (comparison.completion.b.completed, comparison.completion.b.outcomes["failed"]),
        (19, 1)
    );
}

#[test]
fn pairs_show_a_difference_that_scatter_hides() {
    // Blackouts from 1 to 100 ms; each partner has about a tenth less.
    let mut a = table("a")
        .runs(CELL, 40, 1, [OneMode(10_000.0, 1.0), NotMeasured, NotMeasured, NotMeasured])
        .with_keys();
    let mut b = Table { name: "b".into(), ..a.clone() };
    for (index, row) in b.rows.iter_mut().enumerate() {
        row.values[0] = row.values[0].map(|us| us * (0.85 + 0.1 * (index % 3) as f64 / 2.0));
    }
    let paired = compared(&a, &b);
    assert_eq!(
        (paired.paired, paired.pairs, verdicts(&paired)[0]),
        (true, Some(40), Verdict::Lower)
    );
    let alone =
        compare(&a, &b, &CompareOptions { pairing: Pairing::Never, ..CompareOptions::default() });
    assert_eq!((alone.paired, verdicts(&alone)[0]), (false, Verdict::NoDifferenceShown));
    // A row with another key has no partner. If a row has no key, nothing is paired.
    b.rows[0].pair = Some("another".to_owned());
    let comparison = compared(&a, &b);
    let left_out = comparison.cells[0].metrics[0].b.left_out;
    assert_eq!((comparison.pairs, left_out.without_partner), (Some(39), 1));
    a.rows[0].pair = None;
    assert!(!compared(&a, &b).paired);
}

#[test]
fn pools_the_pairs_of_all_cells() {
    let side = |name: &str, factor: f64| {
        let cells = [("slow", 700_000.0, 5), ("fast", 2000.0, 6)];
        let rows = cells.into_iter().fold(table(name), |all, (cell, center, seed)| {
            all.runs(
                cell,
                10,
                seed,
                [
                    OneMode(center * factor, 0.1 + factor / 10.0),
                    NotMeasured,
                    NotMeasured,
                    NotMeasured,
                ],
            )
        });
        rows.with_keys()
    };
    let comparison = compared(&side("a", 1.0), &side("b", 0.5));
    let blackout = &comparison.pooled[0];
    assert_eq!(
        (blackout.a.values, blackout.verdict, blackout.a.quantiles),
        (20, Verdict::Lower, None)
    );
    let ratio = blackout.change.unwrap().ratio.unwrap();
    assert!(ratio.low > Some(0.4) && ratio.high < Some(0.6), "{ratio:?}");
}

#[test]
fn a_rank_test_alone_shows_nothing_if_the_medians_are_equal() {
    // A third of the runs take 43 ms and the others 4 ms as before: the rank test is significant,
    // but the median is unchanged.
    let shapes = |blackout| [blackout, NotMeasured, NotMeasured, NotMeasured];
    let a = table("a").runs(CELL, 120, 1, shapes(Always(4000.0)));
    let b = table("b").runs(CELL, 120, 2, shapes(TwoModes(4000.0, 43_000.0, 0.33, 0.0)));
    let blackout = &compared(&a, &b).cells[0].metrics[0];
    assert!(blackout.p < Some(0.001), "{:?}", blackout.p);
    assert_eq!(blackout.verdict, Verdict::NoDifferenceShown);
    assert!(blackout.tails.p90.unwrap().ratio.unwrap().low > Some(10.0));
}

#[test]
fn a_change_from_zero_has_no_ratio_and_is_a_difference_nevertheless() {
    let side = |name: &str, faults| {
        table(name).runs(CELL, 10, 1, [NotMeasured, NotMeasured, NotMeasured, faults])
    };
    let comparison = compared(&side("a", Always(0.0)), &side("b", OneMode(50.0, 0.2)));
    let faults = &comparison.cells[0].metrics[3];
    assert_eq!((faults.verdict, faults.change.unwrap().ratio), (Verdict::Higher, None));
    let paired =
        compared(&side("a", Always(0.0)).with_keys(), &side("b", OneMode(50.0, 0.2)).with_keys());
    let faults = &paired.cells[0].metrics[3];
    assert_eq!((faults.verdict, faults.change.unwrap().ratio), (Verdict::Higher, None));
}

#[test]
fn equal_samples_differ_in_at_most_five_of_a_hundred_cases() {
    let different = |paired: bool| {
        let one = |seed: u64| {
            let side = |name: &str, seed| {
                let shape = TwoModes(4000.0, 43_000.0, 0.3, 0.1);
                let table = table(name).runs(
                    CELL,
                    30,
                    seed,
                    [shape, OneMode(5e5, 0.1), OneMode(9e7, 0.05), NotMeasured],
                );
                if paired { table.with_keys() } else { table }
            };
            compared(&side("a", 2 * seed), &side("b", 2 * seed + 1)).cells[0]
                .metrics
                .iter()
                .any(MetricComparison::shows_difference)
        };
        (0..200).filter(|seed| one(*seed)).count()
    };
    let (independent, paired) = (different(false), different(true));
    assert!(independent <= 16 && paired <= 16, "{independent} and {paired} of 200");
}

#[test]
fn names_what_only_one_table_has() {
    let a = blackouts("a", 6, 1, 4000.0).runs("gone", 6, 2, [NotMeasured; 4]);
    let mut b = blackouts("b", 6, 3, 4000.0);
    b.metrics[1].unit = crate::MetricUnit::Count;
    let comparison = compared(&a, &b);
    let names = |names: &[String]| names.join(" ");
    assert_eq!(names(&comparison.only_in_a.cells), "gone");
    assert_eq!(
        (names(&comparison.only_in_a.metrics), names(&comparison.only_in_b.metrics)),
        ("time_us.total".into(), "time_us.total".into())
    );
    assert_eq!((comparison.cells.len(), comparison.cells[0].metrics.len()), (1, 3));
}

#[test]
fn the_json_form_is_stable() {
    let mut a =
        table("a").runs(CELL, 7, 1, [OneMode(4000.0, 0.3), NotMeasured, NotMeasured, NotMeasured]);
    let mut b = table("b")
        .runs(CELL, 6, 2, [OneMode(2000.0, 0.3), NotMeasured, NotMeasured, NotMeasured])
        .failed(CELL, 1, Outcome::Failed);
    a.metrics.truncate(1);
    b.metrics.truncate(1);
    insta::assert_snapshot!(serde_json::to_string_pretty(&compared(&a, &b)).unwrap(), @r#"
            {
              "schema": "switchover.comparison/1",
              "a": {
                "name": "a",
                "runs": 7
              },
              "b": {
                "name": "b",
                "runs": 7
              },
              "paired": false,
              "pairs": null,
              "test": "ranks",
              "seed": 1,
              "completion": {
                "a": {
                  "runs": 7,
                  "completed": 7,
                  "share": {
                    "share": 1.0,
                    "low": 0.6456695649333126,
                    "high": 1.0
                  },
                  "outcomes": {
                    "completed": 7
                  }
                },
                "b": {
                  "runs": 7,
                  "completed": 6,
                  "share": {
                    "share": 0.8571428571428571,
                    "low": 0.4868721707256811,
                    "high": 0.9743203756552565
                  },
                  "outcomes": {
                    "completed": 6,
                    "failed": 1
                  }
                },
                "p": 1.0,
                "p_corrected": 1.0,
                "verdict": "no_difference_shown"
              },
              "pooled": [],
              "cells": [
                {
                  "cell": "one",
                  "completion": {
                    "a": {
                      "runs": 7,
                      "completed": 7,
                      "share": {
                        "share": 1.0,
                        "low": 0.6456695649333126,
                        "high": 1.0
                      },
                      "outcomes": {
                        "completed": 7
                      }
                    },
                    "b": {
                      "runs": 7,
                      "completed": 6,
                      "share": {
                        "share": 0.8571428571428571,
                        "low": 0.4868721707256811,
                        "high": 0.9743203756552565
                      },
                      "outcomes": {
                        "completed": 6,
                        "failed": 1
                      }
                    },
                    "p": 1.0,
                    "p_corrected": 1.0,
                    "verdict": "no_difference_shown"
                  },
                  "metrics": [
                    {
                      "metric": "downtime.best.us",
                      "label": "blackout",
                      "unit": "us",
                      "a": {
                        "values": 7,
                        "left_out": {
                          "not_completed": 0,
                          "not_measured": 0,
                          "without_partner": 0
                        },
                        "quantiles": {
                          "p50": {
                            "value": 3558.0,
                            "low": 2239.0,
                            "high": 5600.0
                          },
                          "p90": {
                            "value": 5600.0,
                            "low": null,
                            "high": null
                          },
                          "p99": {
                            "value": 5600.0,
                            "low": null,
                            "high": null
                          }
                        },
                        "modes": [
                          {
                            "center": 3558.0,
                            "least": 2239.0,
                            "greatest": 5600.0,
                            "count": 7,
                            "share": 1.0
                          }
                        ],
                        "histogram": null
                      },
                      "b": {
                        "values": 6,
                        "left_out": {
                          "not_completed": 1,
                          "not_measured": 0,
                          "without_partner": 0
                        },
                        "quantiles": {
                          "p50": {
                            "value": 1825.5,
                            "low": 1167.0,
                            "high": 3193.0
                          },
                          "p90": {
                            "value": 3193.0,
                            "low": null,
                            "high": null
                          },
                          "p99": {
                            "value": 3193.0,
                            "low": null,
                            "high": null
                          }
                        },
                        "modes": [
                          {
                            "center": 1825.5,
                            "least": 1167.0,
                            "greatest": 3193.0,
                            "count": 6,
                            "share": 1.0
                          }
                        ],
                        "histogram": null
                      },
                      "change": {
                        "ratio": {
                          "value": 0.5130691399662732,
                          "low": 0.3100134537766673,
                          "high": 1.2790697674418605
                        },
                        "difference": {
                          "value": -1732.5,
                          "low": -3569.5,
                          "high": 696.0
                        }
                      },
                      "tails": {
                        "p90": null,
                        "p99": null
                      },
                      "probability_lower": 0.8571428571428571,
                      "p": 0.03496503496503497,
                      "p_corrected": 0.03496503496503497,
                      "family": 1,
                      "verdict": "no_difference_shown",
                      "needed": null
                    }
                  ]
                }
              ],
              "only_in_a": {
                "cells": [],
                "metrics": []
              },
              "only_in_b": {
                "cells": [],
                "metrics": []
              }
            }
            "#);
}

#[test]
fn a_saved_table_is_read_back() {
    let a = blackouts("a", 8, 1, 4000.0).failed(CELL, 1, Outcome::NotConverged);
    let kept = serde_json::to_string(&a).unwrap();
    assert_eq!(serde_json::from_str::<Table>(&kept).unwrap(), a);
}
