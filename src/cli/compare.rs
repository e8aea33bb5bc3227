//! `switchover compare`

use super::args::CompareArgs;
use super::exit::{Exit, ExitCode};
use super::output;
use std::path::Path;
use switchover::campaign::compare::{Pairing, SignificanceTest};
use switchover::campaign::{self, CompareOptions, Comparison, Selection, Table, metrics};
use switchover::record::Check;
use switchover::report;

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompareError {
    #[error(transparent)]
    Select(#[from] campaign::SelectionError),
    #[error(
        "there is no figure `{0}`; run.json's names are meant, such as downtime.best.us or time_us.total"
    )]
    Metric(String),
    #[error(
        "{0} has no baseline to compare the others with: name two selections, such as {0}:mode=precopy {0}:mode=postcopy"
    )]
    NoBaseline(Selection),
    #[error("cannot write {path}")]
    Keep { path: std::path::PathBuf, source: std::io::Error },
}

pub(super) fn compare(args: &CompareArgs) -> Exit {
    let comparisons = match compared(args) {
        Ok(comparisons) => comparisons,
        Err(error @ CompareError::Keep { .. }) => {
            return Exit::with_error(ExitCode::ResultsNotWritten, &error);
        }
        Err(error) => return Exit::usage(&error),
    };
    let checks = match checks(&args.fail_if, &comparisons) {
        Ok(checks) => checks,
        Err(error) => return Exit::usage(&error),
    };
    if args.json {
        output::result(&format!(
            "{:#}\n",
            serde_json::json!({ "comparisons": comparisons, "checks": checks })
        ));
    } else {
        let texts: Vec<String> = comparisons.iter().map(report::comparison::text).collect();
        output::page(&texts.join("\n"));
        output::page(&report::checks(&checks));
    }
    Exit::with_code(if checks.iter().all(|check| check.pass) {
        ExitCode::Success
    } else {
        ExitCode::CheckFailed
    })
}

fn compared(args: &CompareArgs) -> Result<Vec<Comparison>, CompareError> {
    let options = CompareOptions {
        pairing: if args.not_paired { Pairing::Never } else { Pairing::IfThereAreKeys },
        test: if args.medians { SignificanceTest::Medians } else { SignificanceTest::Ranks },
        seed: args.seed,
    };
    let Some(b) = &args.b else {
        if let Some(file) = &args.keep {
            keep(file, &args.a.table()?)?;
            return Ok(Vec::new());
        }
        let comparisons = by_baseline(&args.a, &args.metric, &options)?;
        return if comparisons.is_empty() {
            Err(CompareError::NoBaseline(args.a.clone()))
        } else {
            Ok(comparisons)
        };
    };
    let (mut a, mut b) = (args.a.table()?, b.table()?);
    if let Some(file) = &args.keep {
        keep(file, &b)?;
    }
    if a.name == b.name {
        (a.name, b.name) =
            (args.a.to_string(), args.b.as_ref().map(ToString::to_string).unwrap_or_default());
    }
    Ok(vec![campaign::compare(&shown(a, &args.metric)?, &shown(b, &args.metric)?, &options)])
}

fn shown(table: Table, names: &[String]) -> Result<Table, CompareError> {
    let shown: Vec<String> = metrics::shown().into_iter().map(|metric| metric.name).collect();
    table.only(if names.is_empty() { &shown } else { names }).map_err(CompareError::Metric)
}

fn keep(path: &Path, table: &Table) -> Result<(), CompareError> {
    let text = serde_json::to_string(table).unwrap_or_default();
    std::fs::write(path, text)
        .map_err(|source| CompareError::Keep { path: path.to_owned(), source })
}

/// Each other value of the baseline's keys against the baseline; nothing if there is none.
pub(super) fn by_baseline(
    selection: &Selection,
    names: &[String],
    options: &CompareOptions,
) -> Result<Vec<Comparison>, CompareError> {
    let compare = |(a, b): (Selection, Selection)| {
        Ok(campaign::compare(&shown(a.table()?, names)?, &shown(b.table()?, names)?, options))
    };
    selection.baseline_comparisons()?.into_iter().map(compare).collect()
}

/// Limits on comparisons, each on all of them.
pub(super) fn checks(
    expressions: &[String],
    comparisons: &[Comparison],
) -> Result<Vec<Check>, report::CheckError> {
    let both = expressions
        .iter()
        .flat_map(|expression| comparisons.iter().map(move |comparison| (expression, comparison)));
    both.map(|(expression, comparison)| report::regression(expression, comparison)).collect()
}
