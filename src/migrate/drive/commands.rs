//! The machine's commands in QMP's words.

use super::driver::COMMAND_DEADLINE;
use super::limit::Limit;
use super::machine::{Command, Ending};
use crate::plan::{Listen, Plan};
use base::Side;
use qmp::{Request, Session};
use record::Outcome;
use serde_json::Value;
use std::time::Duration;

const MIGRATE_DEADLINE: Duration = Duration::from_secs(30);

/// What is sent for a command, and to whom; `None` for what takes several, with looks in between (`hold`, `recover`).
pub(super) fn request(command: Command, plan: &Plan) -> Option<(Side, Request)> {
    Some(match command {
        Command::StartPostcopy => {
            (Side::Source, Request::typed(&qapi::qmp::migrate_start_postcopy {}))
        }
        Command::Cancel => (Side::Source, cancel()),
        Command::Finish => (Side::Source, Limit::raise()),
        Command::Continue => (
            Side::Source,
            Request::typed(&qapi::qmp::migrate_continue {
                state: qapi::qmp::MigrationStatus::pre_switchover,
            }),
        ),
        Command::Release => (Side::Destination, Request::typed(&qapi::qmp::cont {})),
        Command::Quell(side) => (side, Request::typed(&qapi::qmp::stop {})),
        Command::Recover | Command::Hold => return None,
        Command::Listen => match &plan.listen {
            Listen::After(request) => (Side::Destination, request.clone()),
            // The machine asks for it only where the plan has it.
            Listen::Already | Listen::Before(_) => return None,
        },
    })
}

/// Sends `migrate`; an ending if that is all.
pub(super) async fn begin(source: &Session, outgoing: Value) -> Option<Ending> {
    let (outcome, reason) =
        match source.execute(Request::raw("migrate", outgoing), MIGRATE_DEADLINE).await {
            Ok(_) => return None,
            Err(error) if error.is_refusal() => (Outcome::Failed, error.to_string()),
            Err(error) => {
                let _ = source.execute(cancel(), COMMAND_DEADLINE).await;
                (Outcome::Unknown, error.to_string())
            }
        };
    Some(Ending { outcome, reason, postcopy_happened: false, let_go: false, passes: 0 })
}

pub(super) fn cancel() -> Request {
    Request::typed(&qapi::qmp::migrate_cancel {})
}
