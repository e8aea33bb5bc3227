//! `switchover compare`

use super::args::CompareArgs;
use super::exit::{Exit, ExitCode};
use super::output;
use crate::report;
use analysis::compare::{Pairing, SignificanceTest};
use analysis::{CompareOptions, Comparison, Selection, Table, metrics};
use record::Check;
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompareError {
    #[error(transparent)]
    Select(#[from] analysis::SelectionError),
    #[error(
        "there is no metric `{0}`; use a name of run.json, such as downtime.best.us or \
         time_us.total"
    )]
    UnknownMetric(String),
    #[error(
        "{0} has no baseline to compare the others with: name two selections, such as \
         {0}:mode=precopy {0}:mode=postcopy"
    )]
    NoBaseline(Selection),
    #[error("cannot write the baseline to {path} (--keep)")]
    Keep { path: PathBuf, source: io::Error },
}

pub(super) fn compare(args: &CompareArgs) -> Exit {
    let comparisons = match compare_selections(args) {
        Ok(comparisons) => comparisons,
        Err(error @ CompareError::Keep { .. }) => {
            return Exit::with_error(ExitCode::ResultsNotWritten, &error);
        }
        Err(error) => return Exit::usage(&error),
    };
    let checks = match evaluate_checks(&args.fail_if, &comparisons) {
        Ok(checks) => checks,
        Err(error) => return Exit::usage(&error),
    };
    if args.json {
        output::print_json(&json!({ "comparisons": comparisons, "checks": checks }));
    } else {
        let texts: Vec<String> = comparisons.iter().map(report::format_comparison).collect();
        output::print_page(&texts.join("\n"));
        output::print_page(&report::format_checks(&checks));
    }
    let all_pass = checks.iter().all(|check| check.pass);
    Exit::with_code(if all_pass { ExitCode::Success } else { ExitCode::CheckFailed })
}

/// Compares what the user selected, after `--keep` has written its file. Without B, `--keep` is all
/// that is done.
fn compare_selections(args: &CompareArgs) -> Result<Vec<Comparison>, CompareError> {
    let options = CompareOptions {
        pairing: if args.not_paired { Pairing::Never } else { Pairing::IfPossible },
        test: if args.medians { SignificanceTest::Medians } else { SignificanceTest::Ranks },
        seed: args.seed,
    };
    let Some(selection_b) = &args.b else {
        if let Some(file) = &args.keep {
            write_table(file, &args.a.load_table()?)?;
            return Ok(Vec::new());
        }
        let comparisons = compare_with_baseline(&args.a, &args.metric, &options)?;
        return if comparisons.is_empty() {
            Err(CompareError::NoBaseline(args.a.clone()))
        } else {
            Ok(comparisons)
        };
    };
    let (mut a, mut b) = (args.a.load_table()?, selection_b.load_table()?);
    if let Some(file) = &args.keep {
        write_table(file, &b)?;
    }
    if a.name == b.name {
        (a.name, b.name) = (args.a.to_string(), selection_b.to_string());
    }
    let (a, b) = (select_metrics(a, &args.metric)?, select_metrics(b, &args.metric)?);
    Ok(vec![analysis::compare(&a, &b, &options)])
}

/// Keeps the named metrics of a table; the most important ones if `names` is empty.
fn select_metrics(table: Table, names: &[String]) -> Result<Table, CompareError> {
    let important: Vec<String> =
        metrics::default_metrics().into_iter().map(|metric| metric.name).collect();
    let names = if names.is_empty() { &important } else { names };
    table.select_metrics(names).map_err(CompareError::UnknownMetric)
}

fn write_table(path: &Path, table: &Table) -> Result<(), CompareError> {
    serde_json::to_string(table)
        .map_err(io::Error::from)
        .and_then(|text| std::fs::write(path, text))
        .map_err(|source| CompareError::Keep { path: path.to_owned(), source })
}

/// Compares every other value of the baseline's keys with the baseline. The result is empty if
/// there is no baseline.
pub(super) fn compare_with_baseline(
    selection: &Selection,
    names: &[String],
    options: &CompareOptions,
) -> Result<Vec<Comparison>, CompareError> {
    let compare = |(a, b): (Selection, Selection)| {
        let (a, b) =
            (select_metrics(a.load_table()?, names)?, select_metrics(b.load_table()?, names)?);
        Ok(analysis::compare(&a, &b, options))
    };
    selection.baseline_comparisons()?.into_iter().map(compare).collect()
}

/// Evaluates each expression on each comparison.
pub(super) fn evaluate_checks(
    expressions: &[String],
    comparisons: &[Comparison],
) -> Result<Vec<Check>, report::CheckError> {
    let both = expressions
        .iter()
        .flat_map(|expression| comparisons.iter().map(move |comparison| (expression, comparison)));
    both.map(|(expression, comparison)| report::evaluate_comparison_check(expression, comparison))
        .collect()
}
