//! Which accelerator really works. A guest that beats is the only proof: there are machines where /dev/kvm opens and no guest
//! ever starts (facts/models.md, "Environment facts").

use super::LabError;
use super::probe::Probe;
use record::REQUESTED_ACCELERATOR;
use scenario::{Accel, Scenario};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

/// A guest under a KVM that works beats in less than 100 ms.
const BEATS_WITHIN: Duration = Duration::from_millis(600);
const BEATS: usize = 20;
/// The heartbeat socket of a QEMU that ends closes a moment before its end is known.
const EXIT_GRACE: Duration = Duration::from_millis(50);

/// An accelerator, and why that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accelerator {
    /// `Tcg` or `Kvm`, never `Auto`.
    pub kind: Accel,
    /// In a sentence.
    pub reason: String,
}

/// Resolves the scenario's accelerator: `auto` means KVM only if a micro-guest really beats under it, else TCG.
///
/// # Errors
/// [`LabError::Kvm`] where KVM was asked for by name, and what starting a QEMU may give.
pub async fn choose(scenario: &Scenario) -> Result<Accelerator, LabError> {
    match scenario.qemu.accel {
        Accel::Tcg => {
            Ok(Accelerator { kind: Accel::Tcg, reason: REQUESTED_ACCELERATOR.to_owned() })
        }
        Accel::Kvm => match probe(scenario).await? {
            Ok(()) => Ok(Accelerator {
                kind: Accel::Kvm,
                reason: "asked for, and a guest beats under it".to_owned(),
            }),
            Err(reason) => Err(LabError::Kvm { reason }),
        },
        Accel::Auto => Ok(match probe(scenario).await? {
            Ok(()) => {
                Accelerator { kind: Accel::Kvm, reason: "a guest beats under KVM".to_owned() }
            }
            Err(reason) => Accelerator { kind: Accel::Tcg, reason },
        }),
    }
}

/// Whether a micro-guest beats under KVM; the inner error says why not.
async fn probe(scenario: &Scenario) -> Result<Result<(), String>, LabError> {
    if let Err(error) = std::fs::File::options().read(true).write(true).open("/dev/kvm") {
        return Ok(Err(format!("no KVM here: /dev/kvm: {error}")));
    }
    let probe = Probe::start(scenario, Accel::Kvm)?;
    let beating = async {
        let (mut stream, _) = probe.beats.accept().await.map_err(|error| error.to_string())?;
        let mut seen = [0; BEATS];
        stream.read_exact(&mut seen).await.map_err(|error| error.to_string()).map(drop)
    };
    let beating = match timeout(BEATS_WITHIN, beating).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("the heartbeat could not be read: {error}")),
        Err(_) => Err(format!(
            "/dev/kvm opens, but no guest beat {BEATS} times under it within {BEATS_WITHIN:?}"
        )),
    };
    // A QEMU that ended says best why there was no beat.
    let verdict = match (beating, timeout(EXIT_GRACE, probe.process.exited().wait()).await) {
        (Err(_), Ok(reason)) => Err(format!("KVM does not work here: {reason}")),
        (beating, _) => beating,
    };
    probe.process.stop().await;
    Ok(verdict)
}
