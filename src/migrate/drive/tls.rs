//! Installs the TLS credentials objects on both sides before a migration and removes them after it.
//!
//! Takes the [`Tls`] of a plan and the sessions. Leaves each VM as it was. Each QEMU reads its own
//! credential files; this module does not.

use super::DriveError;
use crate::plan::{OBJECT, Tls};
use base::Side;
use qmp::{QmpError, Request, Session};
use record::Outcome;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(5);
/// A server without dh-params.pem first generates Diffie-Hellman parameters. That takes a second or
/// more on 7.2 and 10.0, and nothing on 11.1 (`qcrypto_tls_creds_get_dh_params_file`).
const CREATE_TIMEOUT: Duration = Duration::from_secs(60);

/// The migration parameters that a migration with TLS changes.
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

/// The sides on which credentials were installed, with their parameters before that.
#[derive(Clone, Debug, Default)]
pub struct InstalledTls([Option<Parameters>; 2]);

impl InstalledTls {
    /// Creates the credentials object on one side. The old parameters are stored before that, so
    /// that `remove` can restore them even if this future is dropped.
    pub(super) async fn install(
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
        // Delete the object of a driver that died. Usually there is none, and QEMU refuses.
        let _ = session.execute(delete(), DEADLINE).await;
        session
            .execute(tls.object(side), CREATE_TIMEOUT)
            .await
            .map_err(failed("its TLS credentials (object-add)"))?;
        Ok(())
    }

    /// Finds credentials that a driver that died installed, by the object that `tls-creds` names.
    pub(super) async fn find(sessions: &[Session; 2]) -> InstalledTls {
        let mut found = InstalledTls::default();
        for (slot, session) in found.0.iter_mut().zip(sessions) {
            *slot = Parameters::of(session)
                .await
                .ok()
                .filter(Parameters::are_ours)
                .map(|_| Parameters::default());
        }
        found
    }

    /// Removes the credentials after a migration with this outcome. Returns a warning if they
    /// remain.
    pub(super) async fn remove_after(
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
        self.remove(sessions).await;
        None
    }

    /// Restores the parameters and deletes the objects. Failures are only logged, because a QEMU
    /// that has exited has neither.
    pub(super) async fn remove(&self, sessions: &[Session; 2]) {
        for (before, session) in self.0.iter().zip(sessions) {
            let Some(before) = before else { continue };
            // Their default is "", and not every version accepts null.
            let value = |text: &Option<String>| text.clone().unwrap_or_default().into();
            let names = [("tls-creds", &before.tls_creds), ("tls-hostname", &before.tls_hostname)];
            let parameters =
                Map::from_iter(names.map(|(name, text)| (name.to_owned(), value(text))));
            for request in [Request::raw("migrate-set-parameters", parameters.into()), delete()] {
                if let Err(error) = session.execute(request, DEADLINE).await {
                    tracing::debug!(side = session.side(), %error, "the TLS credentials were not removed");
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
