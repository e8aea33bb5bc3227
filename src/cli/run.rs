//! `switchover run`

use super::args::{CommonArgs, RunArgs};
use super::exit::{Exit, ExitCode};
use super::output;
use switchover::drive::Interrupt;
use switchover::record::{Check, Integrity};
use switchover::report;
use switchover::run::{Finished, Options, RunError, in_lab};

pub(super) async fn run(args: RunArgs, interrupt: Interrupt) -> Exit {
    let scenario = match args.scenario() {
        Ok(scenario) => scenario,
        Err(error) => return Exit::usage(&error),
    };
    if args.common.print_scenario {
        output::result(&scenario.to_toml());
        return Exit::success();
    }
    let options =
        Options { scenario, out: args.common.out.clone(), interrupt, progress: output::progress() };
    conclude(in_lab(options).await, &args.common)
}

/// Checks, prints, and gives the exit code: `run` and `migrate` end alike.
pub(super) fn conclude(result: Result<Finished, RunError>, args: &CommonArgs) -> Exit {
    let mut finished = match result {
        Ok(finished) => finished,
        Err(error) => return Exit::from_run_error(&error),
    };
    let mut unusable = None;
    for expression in &args.fail_if {
        match report::check(expression, &finished.summary) {
            Ok(check) => finished.summary.checks.push(check),
            Err(error) => unusable = Some(error),
        }
    }
    let mut code = ExitCode::from_summary(&finished.summary);
    if let Some(expected) = args.expect.map(super::args::OutcomeArg::outcome) {
        let actual = finished.summary.outcome;
        let pass = actual == expected;
        let name = format!("outcome == {}", expected.name());
        finished.summary.checks.push(Check {
            name,
            limit: expected.name(),
            actual: actual.name(),
            pass,
        });
        // An outcome that was expected is a success, unless the guest's memory says otherwise.
        if pass && finished.summary.guest.integrity != Integrity::Corrupt {
            code = ExitCode::Success;
        }
    }
    if code == ExitCode::Success && finished.summary.checks.iter().any(|check| !check.pass) {
        code = ExitCode::CheckFailed;
    }
    if !finished.summary.checks.is_empty()
        && let Err(error) = switchover::run::rewrite(&finished)
    {
        finished.record_error.get_or_insert(error);
    }
    if args.json {
        let json = serde_json::to_string_pretty(&finished.summary).unwrap_or_default();
        output::result(&format!("{json}\n"));
    } else {
        output::page(&report::summary(
            &finished.summary,
            &finished.switchovers,
            &finished.timeline,
            &finished.path,
        ));
    }
    match (unusable, finished.record_error) {
        (Some(error), _) if code == ExitCode::Success => Exit::usage(&error),
        (_, Some(error)) if code == ExitCode::Success => {
            Exit::with_error(ExitCode::ResultsNotWritten, &error)
        }
        (_, Some(error)) => Exit::with_error(code, &error),
        _ => Exit::with_code(code),
    }
}
