//! A micro-guest that is started for a moment, to learn something about this machine by it.

use super::boot::Boot;
use super::command_line::{Place, Role, arguments};
use super::process::Process;
use super::{LabError, system};
use base::janitor::{Janitor, create_private_directory};
use base::units::Bytes;
use scenario::{Accel, Guest, GuestKind, Scenario};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixListener;
use tokio::time::timeout;

/// The image of fixtures/guest, part of the program so that it runs from anywhere.
pub(super) const GUEST_IMAGE: &[u8] = include_bytes!("../../fixtures/guest/micro-guest.elf");
/// It says so some 60 ms after its start.
const SAYS_WITHIN: Duration = Duration::from_secs(20);
const TSC: &str = " tsc_khz=";

/// A small guest on the scenario's source QEMU.
pub(super) struct Probe {
    pub(super) process: Process,
    pub(super) beats: UnixListener,
    pub(super) console: UnixListener,
    _others: [UnixListener; 2],
    // Dropped last, the directory before the janitor.
    _directory: tempfile::TempDir,
    _janitor: Janitor,
}

impl Probe {
    pub(super) fn start(scenario: &Scenario, accel: Accel) -> Result<Probe, LabError> {
        let directory = create_private_directory().map_err(system("a private directory"))?;
        let mut janitor =
            Janitor::start(directory.path(), &[]).map_err(system("the janitor process (sh)"))?;
        let boot = Boot::micro(directory.path())?;
        let place = Place::new(directory.path(), 0);
        let bind = |path| UnixListener::bind(path).map_err(system("the probe's sockets"));
        let (beats, console) = (bind(place.heartbeat())?, bind(place.console())?);
        let others = [bind(place.control())?, bind(place.sampling())?];

        let mut small = scenario.clone();
        small.guest =
            Guest { memory: Bytes(64 << 20), working_set: Bytes(1 << 20), ..Guest::default() };
        debug_assert_eq!(small.guest.kind, GuestKind::Micro);
        small.qemu.arguments.clear();
        let words = arguments(&small, accel, &Role { incoming: false, trace: None }, &place, &boot);
        let process = Process::start(
            &scenario.qemu.source,
            &words,
            None,
            &directory.path().join("qemu.log"),
        )?;
        janitor.watch(process.pid()).map_err(system("the janitor process (sh)"))?;
        Ok(Probe {
            process,
            beats,
            console,
            _others: others,
            _directory: directory,
            _janitor: janitor,
        })
    }
}

/// How fast a TCG guest's TSC runs: as the host's, which no host tells without being asked by an instruction of its own.
pub(super) async fn tsc_khz(scenario: &Scenario) -> Result<u64, LabError> {
    let probe = Probe::start(scenario, Accel::Tcg)?;
    let mut exited = probe.process.exited();
    let announced = async {
        let (stream, _) = probe.console.accept().await.map_err(system("the probe's console"))?;
        let mut lines = BufReader::new(stream).lines();
        while let Some(line) = lines.next_line().await.map_err(system("the probe's console"))? {
            let khz =
                line.split_once(TSC).and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
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
        found = timeout(SAYS_WITHIN, announced) => found.unwrap_or_else(|_| {
            Err(LabError::Guest { problem: format!("did not measure its TSC within {SAYS_WITHIN:?}"), said: "nothing".to_owned() })
        }),
    };
    probe.process.stop().await;
    found
}
