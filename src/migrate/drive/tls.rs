//! The credentials objects of both sides: made before a migration, taken back after it.
//!
//! Takes a plan's [`Tls`] and sessions; leaves a VM as it was. Knows nothing of files: each QEMU reads its own.

use super::DriveError;
use crate::plan::{OBJECT, Tls};
use base::Side;
use qmp::{QmpError, Request, Session};
use record::Outcome;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(5);
/// A server without dh-params.pem makes Diffie-Hellman parameters first: up to a second and more on 7.2 and 10.0, none on 11.1
/// (`qcrypto_tls_creds_get_dh_params_file`).
const MAKING: Duration = Duration::from_secs(60);

/// The parameters of a side that a migration with TLS changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Parameters {
    tls_creds: Option<String>,
    tls_hostname: Option<String>,
}

impl Parameters {
    async fn of(session: &Session) -> Result<Parameters, QmpError> {
        session.ask("query-migrate-parameters", Value::Null, DEADLINE).await
    }

    fn are_ours(&self) -> bool {
        self.tls_creds.as_deref() == Some(OBJECT)
    }
}

/// What was given to the two sides, and how they were before.
#[derive(Clone, Debug, Default)]
pub struct Given([Option<Parameters>; 2]);

impl Given {
    /// Makes a side's object. What it was before is noted first: whoever drops this has it taken back.
    pub(super) async fn give(
        &mut self,
        tls: &Tls,
        side: Side,
        session: &Session,
    ) -> Result<(), DriveError> {
        let failed = |what| move |source| DriveError::Prepare { side, what, source };
        let mut before =
            Parameters::of(session).await.map_err(failed("TLS (query-migrate-parameters)"))?;
        if before.are_ours() {
            before = Parameters::default();
        }
        self.0[index(side)] = Some(before);
        // One of a driver that died. Mostly there is none, which QEMU says.
        let _ = session.execute(delete(), DEADLINE).await;
        session
            .execute(tls.object(side), MAKING)
            .await
            .map_err(failed("its TLS credentials (object-add)"))?;
        Ok(())
    }

    /// What a driver that died gave them, as far as can be seen.
    pub(super) async fn found(sessions: &[Session; 2]) -> Given {
        let mut found = Given::default();
        for (slot, session) in found.0.iter_mut().zip(sessions) {
            *slot = Parameters::of(session)
                .await
                .ok()
                .filter(Parameters::are_ours)
                .map(|_| Parameters::default());
        }
        found
    }

    /// After a migration that ended so. What could not be taken back, if anything.
    pub(super) async fn take_back_after(
        &self,
        outcome: Outcome,
        sessions: &[Session; 2],
    ) -> Option<String> {
        if self.0 == [None, None] {
            return None;
        }
        if matches!(outcome, Outcome::Lost | Outcome::Unknown) {
            return Some(format!(
                "the TLS credentials `{OBJECT}` are still in both QEMUs: going on with this migration would need them"
            ));
        }
        self.take_back(sessions).await;
        None
    }

    /// Sets the parameters as they were, and deletes the objects. A QEMU that is gone has none.
    pub(super) async fn take_back(&self, sessions: &[Session; 2]) {
        for (before, session) in self.0.iter().zip(sessions) {
            let Some(before) = before else { continue };
            // Their default is "", and null is not taken by all versions.
            let value = |text: &Option<String>| text.clone().unwrap_or_default().into();
            let names = [("tls-creds", &before.tls_creds), ("tls-hostname", &before.tls_hostname)];
            let parameters =
                Map::from_iter(names.map(|(name, text)| (name.to_owned(), value(text))));
            for request in [Request::raw("migrate-set-parameters", parameters.into()), delete()] {
                if let Err(error) = session.execute(request, DEADLINE).await {
                    tracing::debug!(side = session.side(), %error, "TLS credentials not taken back");
                }
            }
        }
    }
}

fn index(side: Side) -> usize {
    usize::from(side == Side::Destination)
}

fn delete() -> Request {
    Request::raw("object-del", json!({ "id": OBJECT }))
}
