//! `switchover pause`, `cancel`, `switch`, `continue`, `recover`, `revive`: one step of a
//! migration, made by hand.

use super::args::{RecoverArgs, ReviveArgs, StepArgs};
use super::connect::connect;
use super::exit::{Exit, ExitCode};
use super::output;
use migrate::step;
use migrate::step::StepError;
use qmp::Status;
use serde_json::json;

/// The steps that need only the source.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Pause,
    Cancel,
    Switch,
    Continue,
}

pub(super) async fn step(args: StepArgs, step: Step) -> Exit {
    let status = async {
        let source = connect("source", &args.source).await?;
        match step {
            Step::Pause => step::pause(&source).await,
            Step::Cancel => step::cancel(&source).await,
            Step::Switch => step::switch(&source).await,
            Step::Continue => step::go_on(&source).await,
        }
    };
    report_status(status.await, args.json)
}

pub(super) async fn recover(args: RecoverArgs) -> Exit {
    let status = async {
        let source = connect("source", &args.step.source).await?;
        let destination = connect("destination", &args.destination).await?;
        step::recover(&source, &destination, &args.uri).await
    };
    report_status(status.await, args.step.json)
}

pub(super) async fn revive(args: ReviveArgs) -> Exit {
    let run_state = async {
        let source = connect("source", &args.step.source).await?;
        let destination = connect("destination", &args.destination).await?;
        step::revive(&source, &destination).await
    };
    match run_state.await {
        Ok(run_state) if args.step.json => {
            output::print(&format!("{}\n", json!({ "run_state": run_state })));
        }
        Ok(_) => output::print_page(
            "the guest runs again on the source, from where it was stopped. Stop the destination's \
             QEMU. The source's QEMU cannot migrate any more: shut the guest down when you can, \
             and start it in a new QEMU\n",
        ),
        Err(error) => return exit_with(&error),
    }
    Exit::success()
}

fn report_status(status: Result<Status, StepError>, as_json: bool) -> Exit {
    match status {
        Ok(status) if as_json => {
            output::print(&format!("{}\n", json!({ "status": status.to_string() })));
        }
        Ok(status) => output::print_page(&format!("the source is now in state {status}\n")),
        Err(error) => return exit_with(&error),
    }
    Exit::success()
}

fn exit_with(error: &StepError) -> Exit {
    let code = match error {
        StepError::NoEffect { .. } | StepError::StillStands { .. } => ExitCode::StateUnknown,
        StepError::Unfit(_) | StepError::Qmp(_) => ExitCode::Environment,
        _ => ExitCode::MigrationFailed,
    };
    Exit::with_error(code, error)
}
