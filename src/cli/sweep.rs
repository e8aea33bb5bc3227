//! `switchover sweep`

use super::args::SweepArgs;
use super::compare::{by_baseline, checks};
use super::exit::{Exit, ExitCode};
use super::output;
use serde_json::json;
use std::error::Error;
use std::path::{Path, PathBuf};
use switchover::campaign::{
    self, CompareOptions, Definition, RunRow, RunStatus, Selection, SweepError, SweepOptions,
    SweepOutcome,
};
use switchover::drive::Interrupt;
use switchover::report;

pub(super) async fn sweep(args: SweepArgs, interrupt: Interrupt) -> Exit {
    let definition = match Definition::from_file(&args.campaign, &args.overrides()) {
        Ok(definition) => definition,
        Err(error) => return Exit::usage(&error),
    };
    if args.dry_run {
        output::result(&dry_run(&definition, &args));
        return Exit::success();
    }
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("campaigns").join(&definition.name));
    let options = SweepOptions {
        out: out.clone(),
        resume: args.resume,
        shard: args.shard,
        interrupt,
        on_visit: output::sweep_progress(),
        progress: Box::new(output::progress),
    };
    match campaign::sweep(&definition, options).await {
        Ok(swept) => conclude(&definition, &swept, &out, &args),
        Err(error @ SweepError::Write { .. }) => {
            Exit::with_error(ExitCode::ResultsNotWritten, &error)
        }
        Err(error) => Exit::usage(&error),
    }
}

fn dry_run(definition: &Definition, args: &SweepArgs) -> String {
    if args.json {
        let cells: Vec<_> = definition
            .cells
            .iter()
            .map(|cell| json!({"number": cell.number, "name": cell.name(), "seconds_a_visit": campaign::predict_visit_seconds(definition, cell, 1)}))
            .collect();
        return format!(
            "{}\n",
            json!({"name": definition.name, "visits": definition.visits(args.shard).len(), "cells": cells})
        );
    }
    report::dry_run(definition, args.shard)
}

fn conclude(definition: &Definition, swept: &SweepOutcome, out: &Path, args: &SweepArgs) -> Exit {
    match concluded(definition, swept, out, args) {
        Ok(code) => Exit::with_code(code),
        Err(error) => Exit::usage(error.as_ref()),
    }
}

fn concluded(
    definition: &Definition,
    swept: &SweepOutcome,
    out: &Path,
    args: &SweepArgs,
) -> Result<ExitCode, Box<dyn Error>> {
    let options = CompareOptions::default();
    let all = Selection { path: out.to_owned(), settings: Vec::new() };
    // A campaign that was ended before its end may lack what is compared.
    let is_whole = swept.visits_remaining == 0 && !swept.rows.is_empty() && args.shard.is_none();
    let comparisons = if is_whole { by_baseline(&all, &[], &options)? } else { Vec::new() };
    let checks = match comparisons.as_slice() {
        [] if args.fail_if.is_empty() || !is_whole => Vec::new(),
        // Without a baseline all runs are looked at by themselves.
        [] => {
            let table = all.table()?;
            checks(&args.fail_if, &[campaign::compare(&table, &table, &options)])?
        }
        comparisons => checks(&args.fail_if, comparisons)?,
    };
    if args.json {
        let json = json!({
            "schema": "switchover.sweep/1", "name": definition.name, "directory": out, "visits_made": swept.visits_made, "visits_open": swept.visits_remaining,
            "seconds": swept.seconds, "cells": report::cells_json(definition, &swept.rows), "comparisons": comparisons, "checks": checks,
        });
        output::result(&format!("{json:#}\n"));
    } else {
        let texts = comparisons
            .iter()
            .map(|comparison| format!("\n{}", report::comparison::text(comparison)));
        output::result(&format!(
            "{}{}{}",
            report::swept(definition, swept, out),
            texts.collect::<String>(),
            report::checks(&checks)
        ));
    }
    Ok(if checks.iter().any(|check| !check.pass) {
        ExitCode::CheckFailed
    } else {
        code(&swept.rows)
    })
}

/// A campaign of which not one run could begin lacks something.
fn code(rows: &[RunRow]) -> ExitCode {
    let began = rows.iter().any(|row| row.ended != RunStatus::NotStarted);
    if rows.is_empty() || began { ExitCode::Success } else { ExitCode::Environment }
}
