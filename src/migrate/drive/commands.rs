//! Translates the commands of the machine to QMP requests.

use super::connection::COMMAND_TIMEOUT;
use super::limit::Limit;
use super::machine::{Command, Ending};
use crate::plan::{Listen, Plan};
use base::Side;
use qmp::{Request, Session};
use record::Outcome;
use serde_json::Value;
use std::time::Duration;

const MIGRATE_DEADLINE: Duration = Duration::from_secs(30);

/// The QMP request for a command and the side that gets it. `None` for a command that takes several
/// requests (see `hold` and `recover`).
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
        Command::StopStaleCopy(side) => (side, Request::typed(&qapi::qmp::stop {})),
        Command::Recover | Command::Hold => return None,
        Command::Listen => match &plan.listen {
            Listen::After(request) => (Side::Destination, request.clone()),
            // The machine sends this command only if the plan listens after the source has written.
            Listen::Already | Listen::Before(_) => return None,
        },
    })
}

/// Sends `migrate`. Returns an ending if QEMU refused it or did not answer.
pub(super) async fn begin(source: &Session, outgoing: Value) -> Option<Ending> {
    let (outcome, reason) =
        match source.execute(Request::raw("migrate", outgoing), MIGRATE_DEADLINE).await {
            Ok(_) => return None,
            Err(error) if error.is_refusal() => (Outcome::Failed, error.to_string()),
            Err(error) => {
                let _ = source.execute(cancel(), COMMAND_TIMEOUT).await;
                (Outcome::Unknown, error.to_string())
            }
        };
    Some(Ending { outcome, reason, postcopy_happened: false, let_go: false, passes: 0 })
}

pub(super) fn cancel() -> Request {
    Request::typed(&qapi::qmp::migrate_cancel {})
}
