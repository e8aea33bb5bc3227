//! Limits on a comparison: `--fail-if 'downtime.best.us > +5 %'`.
//!
//! The grammar is that of a run's checks, `PATH OPERATOR VALUE`. A check passes if its expression
//! is not true:
//!
//! | expression | true if |
//! |---|---|
//! | `downtime.best.us > +5 %` | B's median is more than 5 % above A's; the sign is required |
//! | `time_us.total.ratio > 1.05` | B's median divided by A's is more than 1.05 |
//! | `downtime.best.us.p90 > +10 %` | the 90th percentile is more than 10 % above A's |
//! | `downtime.best.us > 300ms` | B's own median is more, whatever A's is |
//! | `downtime.best.us.p99 > 1s` | B's own 99th percentile is more |
//! | `completed < 95 %` | less than this share of all B's runs completed |
//!
//! `p90`, `p99`, `p90.ratio` and `p99.ratio` follow any metric. Of pairs, a change of the median is
//! the median of the pairs' changes.
//!
//! Noise alone does not fail a build: an expression is true only if the whole 95 % interval is
//! beyond the limit. `>` compares the lower end of the interval, `<` the upper end. With many
//! cells, one or two have an interval beyond "no change" by chance. Therefore a limit on a change
//! of the median that "no change" does not exceed (`> +5 %`, `< −5 %`) also requires a significant
//! difference, by the p that is corrected for all tests. Percentiles have no p: with many cells,
//! give them a margin.
//!
//! The expression is evaluated for each cell and for all pairs together; one that exceeds the limit
//! is enough. If no place has enough values, the check does not pass, as with a figure of a run
//! that was not measured. If only some cells have too few values, the result says how many.

use super::comparison::figures::{
    format_change, format_estimate, format_proportion, interval_ends,
};
use super::expression::{CheckError, Expression, Operator, parse_limit};
use analysis::Comparison;
use analysis::compare::{Change, MetricComparison, Verdict};
use analysis::statistics::{Estimate, Proportion};
use record::Check;

/// Evaluates an expression on a comparison; the check passes if the expression is not true.
///
/// # Errors
/// [`CheckError`] for an expression that cannot be parsed, for `==` and `!=`, whose result depends
/// on noise alone, and for a metric that was not compared.
pub fn evaluate_comparison_check(
    expression: &str,
    comparison: &Comparison,
) -> Result<Check, CheckError> {
    let parsed = Expression::parse(expression, "'downtime.best.us > +5 %'")?;
    if matches!(parsed.operator, Operator::Equal | Operator::NotEqual) {
        return Err(parsed.error(
            "noise decides whether two values are equal: use >, >=, < or <= on a comparison",
        ));
    }
    let results = match parsed.path {
        "completed" => vec![evaluate_completion(&parsed, comparison)?],
        _ => evaluate_metric(&parsed, comparison)?,
    };
    Ok(combine(&parsed, expression, &results))
}

/// The result of the expression in one cell, or for all pairs together.
struct PartialResult {
    /// Whether the limit is exceeded; `None` if there are too few values.
    is_exceeded: Option<bool>,
    /// The figure that was compared, as text.
    actual: String,
}

/// Combines the results into one check. It quotes a result that exceeds the limit if there is one.
fn combine(parsed: &Expression<'_>, expression: &str, results: &[PartialResult]) -> Check {
    let known: Vec<&PartialResult> =
        results.iter().filter(|result| result.is_exceeded.is_some()).collect();
    let first = known.iter().find(|result| result.is_exceeded == Some(true)).or(known.first());
    let mut actual =
        first.map_or_else(|| "unknown (too few values)".to_owned(), |result| result.actual.clone());
    let unknown = results.len() - known.len();
    if unknown > 0 && !known.is_empty() {
        actual = format!("{actual}; too few values in {unknown} of {}", results.len());
    }
    let pass = !known.is_empty() && known.iter().all(|result| result.is_exceeded == Some(false));
    Check {
        name: expression.to_owned(),
        limit: format!("{} {}", parsed.operator.symbol(), parsed.limit),
        actual,
        pass,
    }
}

fn evaluate_completion(
    parsed: &Expression<'_>,
    comparison: &Comparison,
) -> Result<PartialResult, CheckError> {
    let limit = parsed.limit.strip_suffix('%').and_then(|number| parse_finite(number.trim()));
    let limit = limit.ok_or_else(|| {
        parsed.error("`completed` is a share of all runs: write it like 'completed < 95 %'")
    })?;
    let share = comparison.completion.b.share;
    let ends = share.map(|Proportion { low, high, .. }| (low * 100.0, high * 100.0));
    let actual = share.map_or_else(String::new, |share| format_proportion(&share));
    Ok(PartialResult { is_exceeded: ends.map(|ends| is_beyond(parsed, ends, limit)), actual })
}

/// The quantile of a metric that an expression limits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quantile {
    Median,
    P90,
    P99,
}

fn evaluate_metric(
    parsed: &Expression<'_>,
    comparison: &Comparison,
) -> Result<Vec<PartialResult>, CheckError> {
    let (metric, rest) = find_metric(parsed, comparison)?;
    let (quantile, is_ratio) = match rest {
        "" => (Quantile::Median, false),
        "ratio" => (Quantile::Median, true),
        "p90" => (Quantile::P90, false),
        "p90.ratio" => (Quantile::P90, true),
        "p99" => (Quantile::P99, false),
        "p99.ratio" => (Quantile::P99, true),
        other => {
            return Err(
                parsed.error(format!("`{metric}` has p90, p99 and ratio, but no `{other}`"))
            );
        }
    };
    let in_cells = comparison
        .cells
        .iter()
        .flat_map(|cell| cell.metrics.iter().map(move |figures| (cell.cell.as_str(), figures)));
    let together = comparison.pooled.iter().map(|figures| ("all pairs", figures));
    match parse_change(parsed, is_ratio)? {
        Some(limit) => {
            // There are no percentiles for all pairs together.
            let places = together
                .filter(|_| quantile == Quantile::Median)
                .chain(in_cells)
                .filter(|(_, figures)| figures.metric == metric);
            Ok(places
                .map(|(place, figures)| evaluate_change(parsed, figures, quantile, limit, place))
                .collect())
        }
        None => {
            let limit =
                parse_limit(parsed.limit).filter(|limit| limit.is_finite()).ok_or_else(|| {
                    parsed.error(format!(
                        "`{}` is neither a change, like +5 %, nor a quantity, like 300ms",
                        parsed.limit
                    ))
                })?;
            let places = in_cells.filter(|(_, figures)| figures.metric == metric);
            Ok(places
                .map(|(place, figures)| evaluate_value(parsed, figures, quantile, limit, place))
                .collect())
        }
    }
}

/// Finds the metric with which the path begins. Returns it and the rest of the path.
fn find_metric<'a>(
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
        parsed.error(format!(
            "`{}` was not compared; use one of: completed, {}",
            parsed.path,
            all.join(", ")
        ))
    })
}

/// Parses a limit on a change, and returns it as a ratio of B to A; `None` if it is no change.
fn parse_change(parsed: &Expression<'_>, is_ratio: bool) -> Result<Option<f64>, CheckError> {
    if is_ratio {
        let limit = parse_finite(parsed.limit)
            .ok_or_else(|| parsed.error("a ratio is compared with a number, like 1.05"))?;
        return Ok(Some(limit));
    }
    let Some(percent) = parsed.limit.strip_suffix('%') else { return Ok(None) };
    let percent = percent.trim().replace('−', "-");
    let signed = percent.starts_with(['+', '-']);
    let percent = parse_finite(&percent).filter(|_| signed);
    let percent =
        percent.ok_or_else(|| parsed.error("a change needs a sign: write it like +5 % or −5 %"))?;
    Ok(Some(1.0 + percent / 100.0))
}

/// Parses a finite number. NaN and infinity are refused, because no value exceeds them and the
/// check would always pass.
fn parse_finite(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// Evaluates a limit on the change from A to B.
fn evaluate_change(
    parsed: &Expression<'_>,
    figures: &MetricComparison,
    quantile: Quantile,
    limit: f64,
    place: &str,
) -> PartialResult {
    let change = match quantile {
        Quantile::Median => figures.change,
        Quantile::P90 => figures.tails.p90,
        Quantile::P99 => figures.tails.p99,
    };
    let is_significant = if parsed.operator.is_upper_limit() {
        limit < 1.0 || figures.verdict == Verdict::Higher
    } else {
        limit > 1.0 || figures.verdict == Verdict::Lower
    };
    let is_exceeded = change.as_ref().and_then(change_interval).map(|ends| {
        is_beyond(parsed, ends, limit) && (is_significant || quantile != Quantile::Median)
    });
    let actual = change.map_or_else(String::new, |change| format_change(&change, figures.unit));
    PartialResult { is_exceeded, actual: format!("{actual} in {place}") }
}

/// Evaluates a limit on B's own value.
fn evaluate_value(
    parsed: &Expression<'_>,
    figures: &MetricComparison,
    quantile: Quantile,
    limit: f64,
    place: &str,
) -> PartialResult {
    let estimate = figures.b.quantiles.map(|quantiles| match quantile {
        Quantile::Median => quantiles.p50,
        Quantile::P90 => quantiles.p90,
        Quantile::P99 => quantiles.p99,
    });
    let is_exceeded =
        estimate.as_ref().and_then(interval_ends).map(|ends| is_beyond(parsed, ends, limit));
    let actual = estimate
        .map_or_else(String::new, |estimate: Estimate| format_estimate(&estimate, figures.unit));
    PartialResult { is_exceeded, actual: format!("{actual} in {place}") }
}

/// The ends of the ratio's interval. A change from zero to something is beyond any limit.
fn change_interval(change: &Change) -> Option<(f64, f64)> {
    match &change.ratio {
        Some(ratio) => interval_ends(ratio),
        None => {
            change.difference.low.filter(|low| *low > 0.0).map(|_| (f64::INFINITY, f64::INFINITY))
        }
    }
}

/// Whether the whole interval is beyond the limit: the end that is nearer to the limit decides.
fn is_beyond(parsed: &Expression<'_>, (low, high): (f64, f64), limit: f64) -> bool {
    let nearer = if parsed.operator.is_upper_limit() { low } else { high };
    parsed.operator.is_true(nearer, limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use analysis::examples::Shape::{Always, NotMeasured, OneMode};
    use analysis::examples::table;
    use analysis::{CompareOptions, Table, compare};
    use record::Outcome;

    /// Blackouts of A and B in 40 runs each, and no failures.
    fn comparison(a: f64, b: f64) -> Comparison {
        let side = |name: &str, seed, blackout| {
            table(name).runs(
                "one",
                40,
                seed,
                [OneMode(blackout, 0.1), OneMode(5e5, 0.05), OneMode(9e7, 0.05), NotMeasured],
            )
        };
        compare(&side("a", 1, a), &side("b", 2, b), &CompareOptions::default())
    }

    fn passes(expression: &str, comparison: &Comparison) -> bool {
        evaluate_comparison_check(expression, comparison).unwrap().pass
    }

    #[test]
    fn fails_on_a_change_beyond_the_limit_but_not_on_one_that_may_be_noise() {
        let slower = comparison(4000.0, 4800.0);
        assert!(!passes("downtime.best.us > +5 %", &slower));
        assert!(!passes("downtime.best.us.ratio > 1.05", &slower));
        assert!(!passes("downtime.best.us.p90 > +5%", &slower));
        // The change is 20 %, but 15 % is in its interval.
        assert!(passes("downtime.best.us > +20 %", &slower));
        assert!(passes("time_us.total > +1 %", &slower));
        // A required gain: B has to be faster by a tenth.
        assert!(!passes("downtime.best.us > -10 %", &slower));
        assert!(passes("downtime.best.us > −10 %", &comparison(4000.0, 3000.0)));
        assert!(!passes("downtime.best.us < −10 %", &comparison(4000.0, 3000.0)));
    }

    #[test]
    fn a_limit_can_apply_to_the_value_itself() {
        let comparison = comparison(4000.0, 4800.0);
        assert!(passes("downtime.best.us > 5ms", &comparison));
        assert!(!passes("downtime.best.us > 4ms", &comparison));
        assert!(!passes("downtime.best.us.p90 >= 5ms", &comparison));
        assert!(passes("transfer.total_bytes > 1GiB", &comparison));
    }

    #[test]
    fn fails_on_too_few_completed_runs_only_if_that_is_certain() {
        let of = |completed, failed| {
            let rows = [OneMode(4000.0, 0.1), NotMeasured, NotMeasured, NotMeasured];
            let b =
                table("b").runs("one", completed, 2, rows).failed("one", failed, Outcome::Failed);
            compare(&table("a").runs("one", 40, 1, rows), &b, &CompareOptions::default())
        };
        assert!(!passes("completed < 95 %", &of(20, 20)));
        assert!(passes("completed < 95 %", &of(38, 2)));
    }

    #[test]
    fn fails_if_there_are_too_few_values() {
        let few = |name: &str, seed| {
            table(name).runs(
                "one",
                4,
                seed,
                [OneMode(4000.0, 0.1), NotMeasured, NotMeasured, NotMeasured],
            )
        };
        let comparison = compare(&few("a", 1), &few("b", 2), &CompareOptions::default());
        let check = evaluate_comparison_check("downtime.best.us > +5 %", &comparison).unwrap();
        assert_eq!((check.pass, check.actual.as_str()), (false, "unknown (too few values)"));
        assert!(!passes("faults.count > +5 %", &comparison));
    }

    #[test]
    fn fails_on_one_slow_cell_of_fifty_but_not_on_the_noise_of_fifty() {
        let cells = |name: &str, seed: u64, slow: f64| {
            let cell = |all: Table, cell: u64| {
                let center = if cell == 7 { slow } else { 4000.0 };
                all.runs(
                    &cell.to_string(),
                    20,
                    seed + cell,
                    [OneMode(center, 0.1), NotMeasured, NotMeasured, NotMeasured],
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
    fn a_change_from_zero_is_more_than_any_percentage() {
        let side = |name: &str, faults| {
            table(name).runs("one", 10, 1, [NotMeasured, NotMeasured, NotMeasured, faults])
        };
        let comparison = compare(
            &side("a", Always(0.0)),
            &side("b", OneMode(50.0, 0.2)),
            &CompareOptions::default(),
        );
        let check = evaluate_comparison_check("faults.count > +1000 %", &comparison).unwrap();
        assert_eq!((check.pass, check.actual.as_str()), (false, "+42 [36, 58] in one"));
    }

    #[test]
    fn refuses_a_limit_that_is_not_a_finite_number() {
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
    fn refuses_a_bad_expression_and_says_why() {
        let comparison = comparison(4000.0, 4000.0);
        for (expression, problem) in [
            (
                "downtime.best.us",
                "write it as PATH OPERATOR VALUE, such as 'downtime.best.us > +5 %'",
            ),
            ("downtime.best.us > 5 %", "a change needs a sign: write it like +5 % or −5 %"),
            (
                "downtime.best.us == 4ms",
                "noise decides whether two values are equal: use >, >=, < or <= on a comparison",
            ),
            (
                "downtime.worst.us > +5 %",
                "`downtime.worst.us` was not compared; use one of: completed, downtime.best.us, \
                 time_us.total, transfer.total_bytes, faults.count",
            ),
            (
                "downtime.best.us.p95 > +5 %",
                "`downtime.best.us` has p90, p99 and ratio, but no `p95`",
            ),
            (
                "downtime.best.us > much",
                "`much` is neither a change, like +5 %, nor a quantity, like 300ms",
            ),
            ("downtime.best.us.ratio > +5 %", "a ratio is compared with a number, like 1.05"),
            (
                "completed < often",
                "`completed` is a share of all runs: write it like 'completed < 95 %'",
            ),
        ] {
            let error = evaluate_comparison_check(expression, &comparison).unwrap_err();
            assert_eq!(error.to_string(), format!("--fail-if '{expression}': {problem}"));
        }
    }
}
