//! `switchover run`, and the end of every subcommand that migrates.

use super::args::{CommonArgs, OutcomeArg, RunArgs};
use super::exit::{Exit, ExitCode};
use super::output;
use crate::report;
use migrate::drive::Interrupt;
use record::{Check, Integrity};
use switchover::run::{Finished, Options, RunError, in_lab};

pub(super) async fn run(args: RunArgs, interrupt: Interrupt) -> Exit {
    let scenario = match args.load_scenario() {
        Ok(scenario) => scenario,
        Err(error) => return Exit::usage(&error),
    };
    if args.common.print_scenario {
        output::print(&scenario.to_toml());
        return Exit::success();
    }
    let progress = output::progress_line();
    let options = Options { scenario, out: args.common.out.clone(), interrupt, progress };
    report_run(in_lab(options).await, &args.common)
}

/// Evaluates the checks, prints the summary, and selects the exit code.
pub(super) fn report_run(result: Result<Finished, RunError>, args: &CommonArgs) -> Exit {
    let mut finished = match result {
        Ok(finished) => finished,
        Err(error) => return Exit::from_run_error(&error),
    };
    let mut bad_expression = None;
    for expression in &args.fail_if {
        match report::evaluate_check(expression, &finished.summary) {
            Ok(check) => finished.summary.checks.push(check),
            Err(error) => bad_expression = Some(error),
        }
    }
    let mut code = ExitCode::from_summary(&finished.summary);
    if let Some(expected) = args.expect.map(OutcomeArg::outcome) {
        let actual = finished.summary.outcome;
        let pass = actual == expected;
        finished.summary.checks.push(Check {
            name: format!("outcome == {}", expected.name()),
            limit: expected.name(),
            actual: actual.name(),
            pass,
        });
        // The expected outcome is a success, unless the guest's memory is corrupt.
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
        output::print_json(&finished.summary);
    } else {
        output::print_page(&report::format_summary(
            &finished.summary,
            &finished.switchovers,
            &finished.timeline,
            &finished.path,
        ));
    }
    match (bad_expression, finished.record_error) {
        (Some(error), _) if code == ExitCode::Success => Exit::usage(&error),
        (_, Some(error)) if code == ExitCode::Success => {
            Exit::with_error(ExitCode::ResultsNotWritten, &error)
        }
        (_, Some(error)) => Exit::with_error(code, &error),
        _ => Exit::with_code(code),
    }
}
