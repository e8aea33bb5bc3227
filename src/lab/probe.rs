//! Starts a short-lived micro-guest to test a property of this machine.

use super::boot::Boot;
use super::command_line::{SocketPaths, VmRole, arguments};
use super::process::Process;
use super::{LabError, system};
use base::janitor::{Janitor, create_private_directory};
use base::units::Bytes;
use scenario::{Accel, Guest, GuestKind, Scenario};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixListener;
use tokio::time::timeout;

/// Image built from fixtures/guest. It is part of the program, so that the program needs no files.
pub(super) const GUEST_IMAGE: &[u8] = include_bytes!("../../fixtures/guest/micro-guest.elf");
/// Time for the guest to report its TSC frequency, which usually takes 60 ms.
const TSC_TIMEOUT: Duration = Duration::from_secs(20);
const TSC_KEY: &str = " tsc_khz=";

/// A small guest in the scenario's source QEMU.
pub(super) struct Probe {
    pub(super) process: Process,
    pub(super) heartbeats: UnixListener,
    pub(super) console: UnixListener,
    _others: [UnixListener; 2],
    // Fields drop in order: the directory must go before the janitor.
    _directory: tempfile::TempDir,
    _janitor: Janitor,
}

impl Probe {
    pub(super) fn start(scenario: &Scenario, accel: Accel) -> Result<Probe, LabError> {
        let directory = create_private_directory().map_err(system("a private directory"))?;
        let mut janitor =
            Janitor::start(directory.path(), &[]).map_err(system("the janitor process (sh)"))?;
        let boot = Boot::write_micro_guest(directory.path())?;
        let paths = SocketPaths::new(directory.path(), 0);
        let bind = |path| UnixListener::bind(path).map_err(system("the probe's sockets"));
        let (heartbeats, console) = (bind(paths.heartbeat())?, bind(paths.console())?);
        let others = [bind(paths.control())?, bind(paths.sampling())?];

        let mut small = scenario.clone();
        small.guest =
            Guest { memory: Bytes(64 << 20), working_set: Bytes(1 << 20), ..Guest::default() };
        debug_assert_eq!(small.guest.kind, GuestKind::Micro);
        small.qemu.arguments.clear();
        let arguments_list =
            arguments(&small, accel, &VmRole { incoming: false, trace: None }, &paths, &boot);
        let process = Process::start(
            &scenario.qemu.source,
            &arguments_list,
            None,
            &directory.path().join("qemu.log"),
        )?;
        janitor.watch(process.pid()).map_err(system("the janitor process (sh)"))?;
        Ok(Probe {
            process,
            heartbeats,
            console,
            _others: others,
            _directory: directory,
            _janitor: janitor,
        })
    }
}

/// Measures the frequency of a TCG guest's TSC in kHz. It equals the host's, which the host does
/// not report reliably, so a guest measures it.
pub(super) async fn measure_tsc_khz(scenario: &Scenario) -> Result<u64, LabError> {
    let probe = Probe::start(scenario, Accel::Tcg)?;
    let mut exited = probe.process.exited();
    let announced = async {
        let (stream, _) = probe.console.accept().await.map_err(system("the probe's console"))?;
        let mut lines = BufReader::new(stream).lines();
        while let Some(line) = lines.next_line().await.map_err(system("the probe's console"))? {
            let khz =
                line.split_once(TSC_KEY).and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
            if let Some(khz) = khz {
                return Ok(khz);
            }
        }
        Err(system("the probe's console")(std::io::ErrorKind::UnexpectedEof.into()))
    };
    let side = base::Side::Source;
    let found = tokio::select! {
        biased;
        reason = exited.wait() => Err(LabError::Died { side, reason }),
        found = timeout(TSC_TIMEOUT, announced) => found.unwrap_or_else(|_| {
            Err(LabError::Guest {
                problem: format!("did not measure its TSC within {TSC_TIMEOUT:?}"),
                said: "nothing".to_owned(),
            })
        }),
    };
    probe.process.stop().await;
    found
}
