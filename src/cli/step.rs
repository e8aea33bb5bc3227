//! `switchover pause`, `cancel`, `switch`, `continue`, `recover`

use super::args::{RecoverArgs, StepArgs};
use super::connect::connect;
use super::exit::Exit;
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

fn conclude(taken: Result<Status, StepError>, as_json: bool) -> Exit {
    match taken {
        Ok(status) if as_json => output::result(&format!("{}\n", json!({ "status": status.to_string() }))),
        Ok(status) => output::page(&format!("the source is now in state {status}\n")),
        Err(error @ StepError::NoEffect { .. }) => return Exit::error(7, &error),
        Err(error @ (StepError::Unfit(_) | StepError::Qmp(_))) => return Exit::error(5, &error),
        Err(error) => return Exit::error(8, &error),
    }
    Exit::code(0)
}
