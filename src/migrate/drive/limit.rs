//! Raises the `downtime-limit` of a source that must finish pre-copy, and restores it afterwards.
//!
//! Takes a plan and the session of the source. Returns a warning if the limit was not restored. The
//! machine decides when the limit is raised.

use crate::plan::Plan;
use model::policy::SwitchWhen;
use qmp::{Request, Session};
use record::Outcome;
use scenario::MAX_DOWNTIME;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(5);

/// The part of `query-migrate-parameters` that is used here.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Parameters {
    /// In milliseconds.
    downtime_limit: u64,
}

/// The limit of the source before the migration; `None` if the plan never raises it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit(Option<Parameters>);

impl Limit {
    /// Reads the limit after all settings are applied.
    pub(super) async fn before(plan: &Plan, source: &Session) -> Limit {
        if plan.finish == SwitchWhen::Never {
            return Limit(None);
        }
        let asked = source.ask("query-migrate-parameters", Value::Null, DEADLINE).await;
        Limit(asked.inspect_err(|error| tracing::warn!(%error, "downtime-limit cannot be read and will not be restored")).ok())
    }

    /// The request that raises the limit to QEMU's maximum.
    pub(super) fn raise() -> Request {
        Request::raw(
            "migrate-set-parameters",
            json!({ "downtime-limit": MAX_DOWNTIME.as_millis() }),
        )
    }

    /// Restores the limit after a migration with this outcome. Returns a warning if that failed. It
    /// is restored after `completed` too, because the VM may be migrated again.
    pub(super) async fn restore_after(self, outcome: Outcome, source: &Session) -> Option<String> {
        let Parameters { downtime_limit } = self.0?;
        let why = match outcome {
            // The migration may still run, and must be able to finish.
            Outcome::Unknown => "it is not known whether the migration is over".to_owned(),
            Outcome::Lost => return None,
            _ => {
                let request = Request::raw(
                    "migrate-set-parameters",
                    json!({ "downtime-limit": downtime_limit }),
                );
                source.execute(request, DEADLINE).await.err()?.to_string()
            }
        };
        Some(format!(
            "source: downtime-limit may still be {MAX_DOWNTIME}, to which it was raised to let pre-copy finish ({why}); before it was {downtime_limit} ms"
        ))
    }
}
