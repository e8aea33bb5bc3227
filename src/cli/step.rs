//! `switchover pause`, `cancel`, `switch`, `continue`, `recover`, `revive`

use super::args::{RecoverArgs, ReviveArgs, StepArgs};
use super::connect::connect;
use super::exit::{Exit, ExitCode};
use super::output;
use serde_json::json;
use switchover::qmp::Status;
use switchover::step::{self, StepError};

/// Which.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Pause,
    Cancel,
    Switch,
    Continue,
}

pub(super) async fn step(args: StepArgs, step: Step) -> Exit {
    let taken = async {
        let source = connect("source", &args.source).await?;
        match step {
            Step::Pause => step::pause(&source).await,
            Step::Cancel => step::cancel(&source).await,
            Step::Switch => step::switch(&source).await,
            Step::Continue => step::go_on(&source).await,
        }
    };
    conclude(taken.await, args.json)
}

pub(super) async fn recover(args: RecoverArgs) -> Exit {
    let taken = async {
        let source = connect("source", &args.step.source).await?;
        let destination = connect("destination", &args.destination).await?;
        step::recover(&source, &destination, &args.uri).await
    };
    conclude(taken.await, args.step.json)
}

pub(super) async fn revive(args: ReviveArgs) -> Exit {
    let taken = async {
        let source = connect("source", &args.step.source).await?;
        let destination = connect("destination", &args.destination).await?;
        step::revive(&source, &destination).await
    };
    match taken.await {
        Ok(run_state) if args.step.json => {
            output::result(&format!("{}\n", json!({ "run_state": run_state })))
        }
        Ok(_) => output::page(
            "the guest runs again, on the source, from where it stood. End the destination. This QEMU will migrate nothing again: let the guest shut \
             down in its own time\n",
        ),
        Err(error) => return refused(&error),
    }
    Exit::success()
}

fn conclude(taken: Result<Status, StepError>, as_json: bool) -> Exit {
    match taken {
        Ok(status) if as_json => {
            output::result(&format!("{}\n", json!({ "status": status.to_string() })))
        }
        Ok(status) => output::page(&format!("the source is now in state {status}\n")),
        Err(error) => return refused(&error),
    }
    Exit::success()
}

fn refused(error: &StepError) -> Exit {
    let code = match error {
        StepError::NoEffect { .. } | StepError::StillStands { .. } => ExitCode::StateUnknown,
        StepError::Unfit(_) | StepError::Qmp(_) => ExitCode::Environment,
        _ => ExitCode::MigrationFailed,
    };
    Exit::with_error(code, error)
}
