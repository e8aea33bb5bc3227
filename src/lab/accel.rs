//! Chooses a working accelerator. Only a guest that sends heartbeats proves that KVM works: on some
//! machines /dev/kvm opens, but no guest instruction ever runs.

use super::LabError;
use super::probe::Probe;
use record::REQUESTED_ACCELERATOR;
use scenario::{Accel, Scenario};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

/// Time for the required heartbeats. With a working KVM they take less than 100 ms.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(600);
const MIN_HEARTBEATS: usize = 20;
/// Time to wait for the exit status: the heartbeat socket of a QEMU that exits closes shortly
/// before the status is known.
const EXIT_GRACE: Duration = Duration::from_millis(50);

/// An accelerator and the reason for its choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accelerator {
    /// `Tcg` or `Kvm`, never `Auto`.
    pub kind: Accel,
    /// The reason, for the user.
    pub reason: String,
}

/// Resolves the scenario's accelerator. `auto` selects KVM if a micro-guest sends heartbeats under
/// it, and TCG otherwise.
///
/// # Errors
/// [`LabError::Kvm`] if KVM was requested but does not work; other errors if QEMU does not start.
pub async fn choose(scenario: &Scenario) -> Result<Accelerator, LabError> {
    match scenario.qemu.accel {
        Accel::Tcg => {
            Ok(Accelerator { kind: Accel::Tcg, reason: REQUESTED_ACCELERATOR.to_owned() })
        }
        Accel::Kvm => match probe(scenario).await? {
            Ok(()) => Ok(Accelerator {
                kind: Accel::Kvm,
                reason: "requested, and a guest sends heartbeats under it".to_owned(),
            }),
            Err(reason) => Err(LabError::Kvm { reason }),
        },
        Accel::Auto => Ok(match probe(scenario).await? {
            Ok(()) => Accelerator {
                kind: Accel::Kvm,
                reason: "a guest sends heartbeats under KVM".to_owned(),
            },
            Err(reason) => Accelerator { kind: Accel::Tcg, reason },
        }),
    }
}

/// Tests whether a micro-guest sends heartbeats under KVM. The inner error gives the reason if not.
async fn probe(scenario: &Scenario) -> Result<Result<(), String>, LabError> {
    if let Err(error) = std::fs::File::options().read(true).write(true).open("/dev/kvm") {
        return Ok(Err(format!("cannot open /dev/kvm: {error}")));
    }
    let probe = Probe::start(scenario, Accel::Kvm)?;
    let heartbeat = async {
        let (mut stream, _) = probe.heartbeats.accept().await.map_err(|error| error.to_string())?;
        let mut seen = [0; MIN_HEARTBEATS];
        stream.read_exact(&mut seen).await.map_err(|error| error.to_string()).map(drop)
    };
    let heartbeat = match timeout(HEARTBEAT_TIMEOUT, heartbeat).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("the heartbeat could not be read: {error}")),
        Err(_) => Err(format!(
            "/dev/kvm opens, but no guest sent {MIN_HEARTBEATS} heartbeats under it within \
             {HEARTBEAT_TIMEOUT:?}"
        )),
    };
    // If QEMU exited, its exit reason explains the missing heartbeats best.
    let verdict = match (heartbeat, timeout(EXIT_GRACE, probe.process.exited().wait()).await) {
        (Err(_), Ok(reason)) => Err(format!("KVM does not work on this machine: {reason}")),
        (heartbeat, _) => heartbeat,
    };
    probe.process.stop().await;
    Ok(verdict)
}
