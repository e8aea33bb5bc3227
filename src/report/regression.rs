//! Limits on a comparison: `downtime.best.us > +5 %`, given with `--fail-if`.
//!
//! Takes an expression and a [`Comparison`]; gives a check. The grammar is that of a run's checks, `PATH OPERATOR VALUE`, and the check passes
//! if the expression is not true:
//!
//! | expression | true if |
//! |---|---|
//! | `downtime.best.us > +5 %` | B's median is more than 5 % above A's (of pairs: the median change is); the sign is a must |
//! | `time_us.total.ratio > 1.05` | the same, as B by A |
//! | `downtime.best.us.p90 > +10 %` | the same of the 90th percentile; also `p99`, and `.p90.ratio` |
//! | `downtime.best.us > 300ms` | B's own median is more, whatever A's is |
//! | `downtime.best.us.p99 > 1s` | the same of the 99th percentile |
//! | `completed < 95 %` | of all B's runs less than this share completed |
//!
//! **What noise can do does not fail a build.** An expression is true only if the whole 95 % interval is beyond the limit: `>` looks at its
//! lower end, `<` at its upper one. Where a change of the median is meant that goes at least as far as "none" (`> +5 %`, `< −5 %`), it
//! has to be claimed as well, by the p corrected for all tests: of fifty cells one or two have an interval beyond "none" by chance. (What is
//! rare has no p: with many cells, leave it a margin.)
//!
//! Each cell is looked at, and all pairs together; one that breaks the limit is enough. Where there are too few values to say anything the
//! check does not pass, as with what was not measured in a run; where there are in some cells only, those are counted.

use super::check::{CheckError, Expression, compare, number};
use super::comparison::words;
use crate::campaign::Comparison;
use crate::campaign::compare::{Change, MetricComparison, Verdict};
use crate::campaign::statistics::{Estimate, Proportion};
use crate::record::Check;

/// Evaluates an expression; the check passes if it is not true.
///
/// # Errors
/// [`CheckError`] for an expression that is none, for `==` and `!=` (which noise always decides), and for a metric that was not compared.
pub fn evaluate_comparison_check(
    expression: &str,
    comparison: &Comparison,
) -> Result<Check, CheckError> {
    let parsed = Expression::parse(expression, "'downtime.best.us > +5 %'")?;
    if matches!(parsed.operator, "==" | "!=") {
        return Err(parsed.refuse(
            "whether two are equal is decided by noise: only >, >=, < and <= work on a comparison",
        ));
    }
    let seen = match parsed.path {
        "completed" => vec![completed(&parsed, comparison)?],
        _ => figures(&parsed, comparison)?,
    };
    Ok(conclude(&parsed, expression, &seen))
}

/// One place at which the limit was held against figures.
struct Seen {
    /// `None`: too few values to say.
    broken: Option<bool>,
    actual: String,
}

fn conclude(parsed: &Expression<'_>, expression: &str, seen: &[Seen]) -> Check {
    let known: Vec<&Seen> = seen.iter().filter(|seen| seen.broken.is_some()).collect();
    let first = known.iter().find(|seen| seen.broken == Some(true)).or(known.first());
    let mut actual =
        first.map_or_else(|| "too few values to say".to_owned(), |seen| seen.actual.clone());
    let unknown = seen.len() - known.len();
    if unknown > 0 && !known.is_empty() {
        actual = format!("{actual}; too few values to say in {unknown} of {}", seen.len());
    }
    let pass = !known.is_empty() && known.iter().all(|seen| seen.broken == Some(false));
    Check {
        name: expression.to_owned(),
        limit: format!("{} {}", parsed.operator, parsed.limit),
        actual,
        pass,
    }
}

fn completed(parsed: &Expression<'_>, comparison: &Comparison) -> Result<Seen, CheckError> {
    let limit = parsed.limit.strip_suffix('%').and_then(|number| finite(number.trim()));
    let limit = limit.ok_or_else(|| {
        parsed.refuse("`completed` is a share of all runs: write it like 'completed < 95 %'")
    })?;
    let share = comparison.completion.b.share;
    let ends = share.map(|Proportion { low, high, .. }| (low * 100.0, high * 100.0));
    let actual = share.map(|share| words::share(&share)).unwrap_or_default();
    Ok(Seen { broken: ends.map(|ends| beyond(parsed, ends, limit)), actual })
}

/// What of a metric is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Median,
    P90,
    P99,
}

fn figures(parsed: &Expression<'_>, comparison: &Comparison) -> Result<Vec<Seen>, CheckError> {
    let (metric, rest) = metric(parsed, comparison)?;
    let (of, ratio) = match rest {
        "" => (Of::Median, false),
        "ratio" => (Of::Median, true),
        "p90" => (Of::P90, false),
        "p90.ratio" => (Of::P90, true),
        "p99" => (Of::P99, false),
        "p99.ratio" => (Of::P99, true),
        other => {
            return Err(parsed
                .refuse(format!("of `{metric}` there are p90, p99 and ratio, and not `{other}`")));
        }
    };
    let in_cells = comparison
        .cells
        .iter()
        .flat_map(|cell| cell.metrics.iter().map(move |figures| (cell.cell.as_str(), figures)));
    let together = comparison.pooled.iter().map(|figures| ("all pairs", figures));
    match relative(parsed, ratio)? {
        Some(limit) => {
            // Of what is rare there is nothing for all pairs.
            let places = together
                .filter(|_| of == Of::Median)
                .chain(in_cells)
                .filter(|(_, figures)| figures.metric == metric);
            Ok(places.map(|(place, figures)| change(parsed, figures, of, limit, place)).collect())
        }
        None => {
            let limit =
                number(parsed.limit).filter(|limit| limit.is_finite()).ok_or_else(|| {
                    parsed.refuse(format!(
                        "`{}` is neither a change, like +5 %, nor a quantity, like 300ms",
                        parsed.limit
                    ))
                })?;
            let places = in_cells.filter(|(_, figures)| figures.metric == metric);
            Ok(places.map(|(place, figures)| own(parsed, figures, of, limit, place)).collect())
        }
    }
}

/// The metric that the path begins with, and what follows.
fn metric<'a>(
    parsed: &Expression<'a>,
    comparison: &'a Comparison,
) -> Result<(&'a str, &'a str), CheckError> {
    let names = || {
        comparison
            .cells
            .first()
            .into_iter()
            .flat_map(|cell| cell.metrics.iter().map(|figures| figures.metric.as_str()))
    };
    let rest = |name: &'a str| match parsed.path.strip_prefix(name)? {
        "" => Some((name, "")),
        more => more.strip_prefix('.').map(|more| (name, more)),
    };
    names().filter_map(rest).max_by_key(|(name, _)| name.len()).ok_or_else(|| {
        let all: Vec<&str> = names().collect();
        parsed.refuse(format!(
            "`{}` was not compared; there are: completed, {}",
            parsed.path,
            all.join(", ")
        ))
    })
}

/// The limit as a ratio, if a change is meant.
fn relative(parsed: &Expression<'_>, ratio: bool) -> Result<Option<f64>, CheckError> {
    if ratio {
        let limit = finite(parsed.limit)
            .ok_or_else(|| parsed.refuse("a ratio is compared with a number, like 1.05"))?;
        return Ok(Some(limit));
    }
    let Some(percent) = parsed.limit.strip_suffix('%') else { return Ok(None) };
    let percent = percent.trim().replace('−', "-");
    let signed = percent.starts_with(['+', '-']);
    let percent = finite(&percent).filter(|_| signed);
    let percent =
        percent.ok_or_else(|| parsed.refuse("a change has a sign: write it like +5 % or −5 %"))?;
    Ok(Some(1.0 + percent / 100.0))
}

/// NotMeasured is beyond a limit that is no number, and so it would always be kept.
fn finite(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

fn change(
    parsed: &Expression<'_>,
    figures: &MetricComparison,
    of: Of,
    limit: f64,
    place: &str,
) -> Seen {
    let change = match of {
        Of::Median => figures.change,
        Of::P90 => figures.tails.p90,
        Of::P99 => figures.tails.p99,
    };
    let claimed = match parsed.operator {
        ">" | ">=" => limit < 1.0 || figures.verdict == Verdict::Higher,
        _ => limit > 1.0 || figures.verdict == Verdict::Lower,
    };
    let broken = change
        .as_ref()
        .and_then(ends_of_change)
        .map(|ends| beyond(parsed, ends, limit) && (claimed || of != Of::Median));
    let actual = change.map(|change| words::change(&change, figures.unit)).unwrap_or_default();
    Seen { broken, actual: format!("{actual} in {place}") }
}

fn own(
    parsed: &Expression<'_>,
    figures: &MetricComparison,
    of: Of,
    limit: f64,
    place: &str,
) -> Seen {
    let quantile = figures.b.quantiles.map(|quantiles| match of {
        Of::Median => quantiles.p50,
        Of::P90 => quantiles.p90,
        Of::P99 => quantiles.p99,
    });
    let broken = quantile.as_ref().and_then(words::ends).map(|ends| beyond(parsed, ends, limit));
    let actual = quantile
        .map(|quantile: Estimate| words::estimate(&quantile, figures.unit))
        .unwrap_or_default();
    Seen { broken, actual: format!("{actual} in {place}") }
}

/// Of the ratio. Something from nothing is beyond any.
fn ends_of_change(change: &Change) -> Option<(f64, f64)> {
    match &change.ratio {
        Some(ratio) => words::ends(ratio),
        None => {
            change.difference.low.filter(|low| *low > 0.0).map(|_| (f64::INFINITY, f64::INFINITY))
        }
    }
}

/// Whether the end of the interval that is nearer to the limit is beyond it.
fn beyond(parsed: &Expression<'_>, (low, high): (f64, f64), limit: f64) -> bool {
    let nearer = if parsed.operator.starts_with('>') { low } else { high };
    compare(nearer, parsed.operator, limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::examples::Shape::{Always, Hill, NotMeasured};
    use crate::campaign::examples::table;
    use crate::campaign::{CompareOptions, Table, compare};
    use crate::record::Outcome;

    /// Blackouts of A and B in 40 runs each, and no failures.
    fn comparison(a: f64, b: f64) -> Comparison {
        let side = |name: &str, seed, blackout| {
            table(name).runs(
                "one",
                40,
                seed,
                [Hill(blackout, 0.1), Hill(5e5, 0.05), Hill(9e7, 0.05), NotMeasured],
            )
        };
        compare(&side("a", 1, a), &side("b", 2, b), &CompareOptions::default())
    }

    fn passes(expression: &str, comparison: &Comparison) -> bool {
        evaluate_comparison_check(expression, comparison).unwrap().pass
    }

    #[test]
    fn a_change_beyond_the_limit_breaks_it_and_one_that_may_be_noise_does_not() {
        let slower = comparison(4000.0, 4800.0);
        assert!(!passes("downtime.best.us > +5 %", &slower));
        assert!(!passes("downtime.best.us.ratio > 1.05", &slower));
        assert!(!passes("downtime.best.us.p90 > +5%", &slower));
        // 20 % more, and 15 may be true as well.
        assert!(passes("downtime.best.us > +20 %", &slower));
        assert!(passes("time_us.total > +1 %", &slower));
        // Gains that were asked for: it has to become faster by a tenth.
        assert!(!passes("downtime.best.us > -10 %", &slower));
        assert!(passes("downtime.best.us > −10 %", &comparison(4000.0, 3000.0)));
        assert!(!passes("downtime.best.us < −10 %", &comparison(4000.0, 3000.0)));
    }

    #[test]
    fn the_figure_itself_can_be_limited() {
        let comparison = comparison(4000.0, 4800.0);
        assert!(passes("downtime.best.us > 5ms", &comparison));
        assert!(!passes("downtime.best.us > 4ms", &comparison));
        assert!(!passes("downtime.best.us.p90 >= 5ms", &comparison));
        assert!(passes("transfer.total_bytes > 1GiB", &comparison));
    }

    #[test]
    fn runs_that_did_not_complete_break_a_limit_when_that_is_sure() {
        let of = |completed, failed| {
            let rows = [Hill(4000.0, 0.1), NotMeasured, NotMeasured, NotMeasured];
            let b =
                table("b").runs("one", completed, 2, rows).failed("one", failed, Outcome::Failed);
            compare(&table("a").runs("one", 40, 1, rows), &b, &CompareOptions::default())
        };
        assert!(!passes("completed < 95 %", &of(20, 20)));
        assert!(passes("completed < 95 %", &of(38, 2)));
    }

    #[test]
    fn what_cannot_be_said_does_not_pass() {
        let few = |name: &str, seed| {
            table(name).runs(
                "one",
                4,
                seed,
                [Hill(4000.0, 0.1), NotMeasured, NotMeasured, NotMeasured],
            )
        };
        let comparison = compare(&few("a", 1), &few("b", 2), &CompareOptions::default());
        let check = evaluate_comparison_check("downtime.best.us > +5 %", &comparison).unwrap();
        assert_eq!((check.pass, check.actual.as_str()), (false, "too few values to say"));
        assert!(!passes("faults.count > +5 %", &comparison));
    }

    #[test]
    fn one_cell_of_fifty_breaks_a_limit_and_the_noise_of_fifty_does_not() {
        let cells = |name: &str, seed: u64, slow: f64| {
            let cell = |all: Table, cell: u64| {
                let center = if cell == 7 { slow } else { 4000.0 };
                all.runs(
                    &cell.to_string(),
                    20,
                    seed + cell,
                    [Hill(center, 0.1), NotMeasured, NotMeasured, NotMeasured],
                )
            };
            (0..50).fold(table(name), cell)
        };
        let of = |slow| {
            compare(&cells("a", 0, 4000.0), &cells("b", 1000, slow), &CompareOptions::default())
        };
        assert!(passes("downtime.best.us > +0 %", &of(4000.0)));
        let check = evaluate_comparison_check("downtime.best.us > +5 %", &of(5000.0)).unwrap();
        assert!(!check.pass && check.actual.ends_with("in 7"), "{}", check.actual);
    }

    #[test]
    fn something_from_nothing_is_more_than_any_percentage() {
        let side = |name: &str, faults| {
            table(name).runs("one", 10, 1, [NotMeasured, NotMeasured, NotMeasured, faults])
        };
        let comparison = compare(
            &side("a", Always(0.0)),
            &side("b", Hill(50.0, 0.2)),
            &CompareOptions::default(),
        );
        let check = evaluate_comparison_check("faults.count > +1000 %", &comparison).unwrap();
        insta::assert_snapshot!(format!("{} (is {})", check.pass, check.actual), @"false (is +38 [35, 58] in one)");
    }

    #[test]
    fn a_limit_that_is_no_number_is_refused() {
        let comparison = comparison(4000.0, 8000.0);
        let all = [
            "downtime.best.us > +nan %",
            "downtime.best.us > nan",
            "downtime.best.us.ratio > inf",
            "completed < nan %",
        ];
        assert!(
            all.iter()
                .all(|expression| evaluate_comparison_check(expression, &comparison).is_err())
        );
    }

    #[test]
    fn nonsense_is_refused_with_the_reason() {
        let comparison = comparison(4000.0, 4000.0);
        let message = |expression| {
            evaluate_comparison_check(expression, &comparison).unwrap_err().to_string()
        };
        insta::assert_snapshot!(message("downtime.best.us"), @"--fail-if 'downtime.best.us': write it as PATH OPERATOR VALUE, such as 'downtime.best.us > +5 %'");
        insta::assert_snapshot!(message("downtime.best.us > 5 %"), @"--fail-if 'downtime.best.us > 5 %': a change has a sign: write it like +5 % or −5 %");
        insta::assert_snapshot!(message("downtime.best.us == 4ms"), @"--fail-if 'downtime.best.us == 4ms': whether two are equal is decided by noise: only >, >=, < and <= work on a comparison");
        insta::assert_snapshot!(message("downtime.worst.us > +5 %"), @"--fail-if 'downtime.worst.us > +5 %': `downtime.worst.us` was not compared; there are: completed, downtime.best.us, time_us.total, transfer.total_bytes, faults.count");
        insta::assert_snapshot!(message("downtime.best.us.p95 > +5 %"), @"--fail-if 'downtime.best.us.p95 > +5 %': of `downtime.best.us` there are p90, p99 and ratio, and not `p95`");
        insta::assert_snapshot!(message("downtime.best.us > much"), @"--fail-if 'downtime.best.us > much': `much` is neither a change, like +5 %, nor a quantity, like 300ms");
        insta::assert_snapshot!(message("downtime.best.us.ratio > +5 %"), @"--fail-if 'downtime.best.us.ratio > +5 %': a ratio is compared with a number, like 1.05");
        insta::assert_snapshot!(message("completed < often"), @"--fail-if 'completed < often': `completed` is a share of all runs: write it like 'completed < 95 %'");
    }
}
