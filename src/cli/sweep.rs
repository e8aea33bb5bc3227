//! `switchover sweep`

use super::args::SweepArgs;
use super::compare::{compare_with_baseline, evaluate_checks};
use super::exit::{Exit, ExitCode};
use super::output;
use crate::report;
use analysis::{CompareOptions, RunRow, RunStatus, Selection};
use migrate::drive::Interrupt;
use serde_json::json;
use std::error::Error;
use std::path::{Path, PathBuf};
use switchover::campaign;
use switchover::campaign::{Definition, SweepError, SweepOptions, SweepOutcome};

pub(super) async fn sweep(args: SweepArgs, interrupt: Interrupt) -> Exit {
    let definition = match Definition::from_file(&args.campaign, &args.overrides()) {
        Ok(definition) => definition,
        Err(error) => return Exit::usage(&error),
    };
    if args.dry_run {
        output::print(&format_dry_run(&definition, &args));
        return Exit::success();
    }
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("campaigns").join(&definition.name));
    let options = SweepOptions {
        out: out.clone(),
        resume: args.resume,
        shard: args.shard,
        interrupt,
        on_visit: output::sweep_progress(),
        progress: Box::new(output::progress_line),
    };
    match campaign::sweep(&definition, options).await {
        Ok(swept) => match report_sweep(&definition, &swept, &out, &args) {
            Ok(code) => Exit::with_code(code),
            Err(error) => Exit::usage(error.as_ref()),
        },
        Err(error @ SweepError::Write { .. }) => {
            Exit::with_error(ExitCode::ResultsNotWritten, &error)
        }
        Err(error) => Exit::usage(&error),
    }
}

fn format_dry_run(definition: &Definition, args: &SweepArgs) -> String {
    if !args.json {
        return report::format_dry_run(definition, args.shard);
    }
    let cells: Vec<_> = definition
        .cells
        .iter()
        .map(|cell| {
            let seconds = campaign::predict_visit_seconds(definition, cell, 1);
            json!({"number": cell.number, "name": cell.name(), "seconds_a_visit": seconds})
        })
        .collect();
    let visits = definition.visits(args.shard).len();
    format!("{}\n", json!({"name": definition.name, "visits": visits, "cells": cells}))
}

/// Compares the cells with the baseline, evaluates the checks, prints the results, and selects the
/// exit code.
fn report_sweep(
    definition: &Definition,
    swept: &SweepOutcome,
    out: &Path,
    args: &SweepArgs,
) -> Result<ExitCode, Box<dyn Error>> {
    let options = CompareOptions::default();
    let all = Selection { path: out.to_owned(), settings: Vec::new() };
    // A campaign that was interrupted, or a shard, may lack the runs to compare with.
    let is_complete = swept.visits_remaining == 0 && !swept.rows.is_empty() && args.shard.is_none();
    let comparisons =
        if is_complete { compare_with_baseline(&all, &[], &options)? } else { Vec::new() };
    let checks = match comparisons.as_slice() {
        [] if args.fail_if.is_empty() || !is_complete => Vec::new(),
        // Without a baseline the checks apply to all runs together.
        [] => {
            let table = all.load_table()?;
            evaluate_checks(&args.fail_if, &[analysis::compare(&table, &table, &options)])?
        }
        comparisons => evaluate_checks(&args.fail_if, comparisons)?,
    };
    if args.json {
        output::print_json(&json!({
            "schema": "switchover.sweep/1",
            "name": definition.name,
            "directory": out,
            "visits_made": swept.visits_made,
            "visits_open": swept.visits_remaining,
            "seconds": swept.seconds,
            "cells": report::summarize_cells(definition, &swept.rows),
            "comparisons": comparisons,
            "checks": checks,
        }));
    } else {
        let texts = comparisons
            .iter()
            .map(|comparison| format!("\n{}", report::format_comparison(comparison)));
        output::print(&format!(
            "{}{}{}",
            report::format_sweep_summary(definition, swept, out),
            texts.collect::<String>(),
            report::format_checks(&checks)
        ));
    }
    let all_pass = checks.iter().all(|check| check.pass);
    Ok(if all_pass { code_of_rows(&swept.rows) } else { ExitCode::CheckFailed })
}

/// Where not one run could start, the environment lacks something.
fn code_of_rows(rows: &[RunRow]) -> ExitCode {
    let has_started = rows.iter().any(|row| row.status != RunStatus::NotStarted);
    if rows.is_empty() || has_started { ExitCode::Success } else { ExitCode::Environment }
}
