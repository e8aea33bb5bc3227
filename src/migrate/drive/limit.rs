//! The `downtime-limit` of a source that is told to finish: it is raised for this migration, and is as before afterwards.
//!
//! Takes a plan and the source's session; gives words on what could not be put back. Knows nothing of when it is raised.

use crate::plan::Plan;
use model::policy::SwitchWhen;
use qmp::{Request, Session};
use record::Outcome;
use scenario::MAX_DOWNTIME;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(5);

/// As far as it matters here.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Parameters {
    /// In ms.
    downtime_limit: u64,
}

/// The source's limit before the migration, where the plan may raise it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit(Option<Parameters>);

impl Limit {
    /// Asks for it, when all settings are made.
    pub(super) async fn before(plan: &Plan, source: &Session) -> Limit {
        if plan.finish == SwitchWhen::Never {
            return Limit(None);
        }
        let asked = source.ask("query-migrate-parameters", Value::Null, DEADLINE).await;
        Limit(asked.inspect_err(|error| tracing::warn!(%error, "downtime-limit will not be put back, as it is not known")).ok())
    }

    /// Raises it as high as it goes.
    pub(super) fn raise() -> Request {
        Request::raw(
            "migrate-set-parameters",
            json!({ "downtime-limit": MAX_DOWNTIME.as_millis() }),
        )
    }

    /// After a migration that ended so. What was not put back, if anything. A VM that completed may be migrated again by whoever has it next.
    pub(super) async fn put_back_after(self, outcome: Outcome, source: &Session) -> Option<String> {
        let Parameters { downtime_limit } = self.0?;
        let why = match outcome {
            // It may be under way still, and shall finish.
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
