//! A lab: a pair of QEMUs with a guest between them; with the micro-guest no root, no KVM, no kernel image needed.
//!
//! Takes a scenario; gives running QEMUs with sessions, sampling connections, heartbeats and the guest's console. Tears all of
//! it down on every way out: [`Lab::stop`], drop (error, panic), and by the `janitor` when this process is killed. Knows
//! nothing of analysis.
//!
//! Map: here the pair · `vm` one VM, all that is connected to it · `process` its QEMU · `command_line` its arguments · `boot` what they boot, by the kind of guest ·
//! `overlay` of a disk of the user's · `accel` which accelerator really works · `probe` a guest for a moment, to find that out · `console` talking to a guest of ours ·
//! `serial` listening to one of the user's · `last_words` of either · `network` namespaces.

mod accel;
mod boot;
mod command_line;
mod console;
#[cfg(feature = "credentials")]
pub mod credentials;
mod last_words;
pub mod link;
mod network;
mod overlay;
mod probe;
mod process;
mod serial;
mod vm;

pub use accel::{Accelerator, choose as choose_accelerator};
pub use console::{Console, GuestCheck, GuestStatus, LoadStatus};
pub use network::{Route, Watch, try_namespaces};
pub use process::Exited;
pub use vm::Vm;

use base::Side;
use base::clock::monotonic_ns;
use base::janitor::{Janitor, create_private_directory};
use boot::Boot;
use command_line::{Place, Role};
use network::Network;
use process::Process;
use qmp::QmpError;
use record::{Sink, vm_name};
use scenario::{GuestKind, LinkKind, Scenario};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::JoinHandle;
use vm::{Listeners, Starting};

/// The guest has filled its working set, for each GiB of it.
const READY_DEADLINE_PER_GIB: Duration = Duration::from_secs(60);
/// Fresh QEMUs of a series that are started at once: some 45 MB each while they wait.
const START_TOGETHER: u32 = 8;

/// The first heartbeat: some 0.1 s after the start of a micro-guest, some seconds after that of a Linux under TCG.
const BEAT_DEADLINE: Duration = Duration::from_secs(20);
const LINUX_DEADLINE: Duration = Duration::from_secs(120);
/// Whatever says that a guest of the user's is up.
const OWN_DEADLINE: Duration = Duration::from_secs(300);

/// Why there is no lab. Nothing is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// The program is not there.
    #[error(
        "cannot start {program}: install QEMU (Debian: apt-get install qemu-system-x86), name another program with --qemu, or run \
         qemu-scripts/qemu 10.0, which unpacks one without root"
    )]
    NoQemu {
        /// What was to be started.
        program: String,
        /// Why it could not be.
        source: io::Error,
    },
    /// It ended before it was of use.
    #[error("{side}: {reason}")]
    Died {
        /// Which side.
        side: Side,
        /// How it ended and what it said.
        reason: String,
    },
    /// It runs, and does not speak.
    #[error("{side}: QEMU does not speak QMP")]
    Qmp {
        /// Which side.
        side: Side,
        /// What happened.
        source: QmpError,
    },
    /// The guest does not come up.
    #[error("the guest {problem}; it said: {said}")]
    Guest {
        /// What is wrong.
        problem: String,
        /// Its last words on its console.
        said: String,
    },
    /// The Linux guest was not built.
    #[error(
        "there is no Linux guest at {path}: qemu-scripts/linux-guest builds one without root (it needs Debian's apt-get); name its \
         directory with guest.linux where it is not target/linux-guest"
    )]
    NoLinux {
        /// What was looked for.
        path: PathBuf,
        /// Why it could not be read.
        source: io::Error,
    },
    /// A file of the user's guest.
    #[error("{key}: {path} cannot be read")]
    NoFile {
        /// The scenario's key.
        key: &'static str,
        /// What it names.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A disk that would be damaged.
    #[error("guest.disk: {path} is not used: {reason}")]
    Disk {
        /// Its image.
        path: PathBuf,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// KVM was asked for and no guest runs under it.
    #[error("--accel kvm: {reason}. Use --accel tcg, or auto")]
    Kvm {
        /// What was tried and seen.
        reason: String,
    },
    /// `link.kind = "netns"` cannot be made.
    #[error(
        "link.kind = \"netns\": the namespaces cannot be set up; it needs root, and netem in the kernel for a delay. link.kind = \"emulated\" needs neither"
    )]
    Network {
        /// Which command, and its word.
        source: io::Error,
    },
    /// The TLS credentials of the lab cannot be made.
    #[cfg(feature = "credentials")]
    #[error("the lab's TLS credentials cannot be made")]
    Credentials {
        /// What failed.
        source: crate::credentials::CredentialsError,
    },
    /// The scenario asks for TLS, and this program cannot make credentials.
    #[cfg(not(feature = "credentials"))]
    #[error(
        "this program was built without the feature `credentials`; set tls.dir to a directory \
         with credentials"
    )]
    NoCredentials,
    /// The private directory, its sockets, or our own processes.
    #[error("cannot set up {what}")]
    System {
        /// What.
        what: String,
        /// Why.
        source: io::Error,
    },
}

fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> LabError {
    let what = what.into();
    move |source| LabError::System { what, source }
}

/// A running pair.
#[derive(Debug)]
pub struct Lab {
    /// The QEMU that the guest runs on.
    pub source: Vm,
    /// The QEMU that waits.
    pub destination: Vm,
    /// What the guests' instructions run on, and why.
    pub accelerator: Accelerator,
    /// From the start of the first QEMU to the first heartbeat, of a guest that beats.
    pub boot: Option<Duration>,
    /// Started ahead for the migrations to come.
    fresh: VecDeque<Vm>,
    retiring: Vec<JoinHandle<()>>,
    ground: Ground,
}

/// What the VMs of a lab stand on.
#[derive(Debug)]
struct Ground {
    scenario: Scenario,
    accelerator: Accelerator,
    sink: Sink,
    logs: PathBuf,
    transcript: bool,
    boot: Boot,
    /// How many VMs were started.
    vms: u32,
    network: Option<Network>,
    // Dropped after the VMs: the directory goes first, then the janitor has nothing left to do.
    directory: tempfile::TempDir,
    janitor: Janitor,
}

impl Ground {
    async fn lay(
        scenario: &Scenario,
        accelerator: &Accelerator,
        sink: &Sink,
        logs: &Path,
        transcript: bool,
    ) -> Result<Ground, LabError> {
        let directory = create_private_directory()
            .map_err(system("a private directory for the lab's sockets"))?;
        let network = match scenario.link.kind {
            LinkKind::Emulated => None,
            LinkKind::Netns => {
                Some(Network::lay(&scenario.link).map_err(|source| LabError::Network { source })?)
            }
        };
        let names = network.as_ref().map(|network| network.names().as_slice()).unwrap_or_default();
        let janitor =
            Janitor::start(directory.path(), names).map_err(system("the janitor process (sh)"))?;
        let boot = Boot::prepare(scenario, accelerator.kind, directory.path()).await?;
        let (scenario, accelerator, sink, logs) =
            (scenario.clone(), accelerator.clone(), sink.clone(), logs.to_owned());
        Ok(Ground {
            scenario,
            accelerator,
            sink,
            logs,
            transcript,
            boot,
            vms: 0,
            network,
            directory,
            janitor,
        })
    }

    /// Starts the next VM; it has not spoken yet.
    fn start_vm(&mut self, side: Side) -> Result<Starting, LabError> {
        let program = match side {
            Side::Source => self.scenario.qemu.source.as_str(),
            Side::Destination => self.scenario.destination_qemu(),
        };
        let place = Place::new(self.directory.path(), self.vms);
        let listeners =
            Listeners::bind(&place, &self.scenario.guest).map_err(system("the lab's sockets"))?;
        let name = vm_name(self.vms);
        let trace = self.scenario.record.trace.then(|| self.logs.join(format!("trace.{name}.log")));
        let role = Role { incoming: side == Side::Destination, trace };
        let arguments = command_line::arguments(
            &self.scenario,
            self.accelerator.kind,
            &role,
            &place,
            &self.boot,
        );
        let namespace = self.network.as_ref().map(|network| network.name(self.vms));
        let process = Process::start(
            program,
            &arguments,
            namespace,
            &self.logs.join(format!("qemu.{name}.log")),
        )?;
        self.janitor.watch(process.pid()).map_err(system("the janitor process (sh)"))?;
        self.vms += 1;
        Ok(Starting { side, vm: self.vms - 1, process, listeners })
    }
}

impl Lab {
    /// Starts the pair and waits until the guest is really up: it beats, and its working set is filled.
    ///
    /// What QEMU prints goes to `qemu.{vm}.log` in `logs`, its traces to `trace.{vm}.log`.
    ///
    /// # Errors
    /// [`LabError`]; everything that was started is ended again.
    pub async fn start(
        scenario: &Scenario,
        accelerator: Accelerator,
        sink: &Sink,
        logs: &Path,
        transcript: bool,
    ) -> Result<Lab, LabError> {
        let mut ground = Ground::lay(scenario, &accelerator, sink, logs, transcript).await?;
        let began_ns = monotonic_ns();
        let source = ground.start_vm(Side::Source)?;
        let destination = ground.start_vm(Side::Destination)?;
        let mut source = source.connect(sink, transcript).await?;
        let destination = destination.connect(sink, transcript).await?;
        let guest = &scenario.guest;
        let gib = u32::try_from(guest.working_set.0 >> 30).unwrap_or(u32::MAX) + 1;
        let (beats, ready) = match guest.kind {
            GuestKind::Micro => (BEAT_DEADLINE, READY_DEADLINE_PER_GIB * gib),
            GuestKind::Linux => (LINUX_DEADLINE, LINUX_DEADLINE + READY_DEADLINE_PER_GIB * gib),
            GuestKind::Own => (OWN_DEADLINE, OWN_DEADLINE),
        };
        let boot = source.first_beat(began_ns, beats).await?;
        source.ready(guest, ready).await?;
        Ok(Lab {
            source,
            destination,
            accelerator,
            boot,
            fresh: VecDeque::new(),
            retiring: Vec::new(),
            ground,
        })
    }

    /// After a migration: the destination becomes the source, a fresh QEMU waits as the destination, the old source is ended.
    ///
    /// Fresh QEMUs are started some at a time, as many as `further` migrations need at most: together they use all processors, and
    /// none starts while a migration is measured.
    ///
    /// # Errors
    /// [`LabError`] if there is no fresh QEMU; the guest runs on where it is.
    pub async fn advance(&mut self, further: u32) -> Result<(), LabError> {
        if self.fresh.is_empty() {
            let starting: Result<Vec<Starting>, LabError> = (0..further.clamp(1, START_TOGETHER))
                .map(|_| self.ground.start_vm(Side::Destination))
                .collect();
            for starting in starting? {
                self.fresh
                    .push_back(starting.connect(&self.ground.sink, self.ground.transcript).await?);
            }
        }
        let none = || system("a fresh QEMU")(io::ErrorKind::NotFound.into());
        let fresh = self.fresh.pop_front().ok_or_else(none)?;
        let source = std::mem::replace(&mut self.destination, fresh);
        // The kernel takes its time to take back the memory of a QEMU; nobody has to wait for that now.
        self.retiring.push(tokio::spawn(std::mem::replace(&mut self.source, source).stop()));
        Ok(())
    }

    /// Where migration `number` of this lab may make its files.
    #[must_use]
    pub fn stream_files(&self, number: u32) -> PathBuf {
        self.ground.directory.path().join(format!("migrate.{number}"))
    }

    /// The way of migration `number`, where it is not this host's own network.
    #[must_use]
    pub fn route(&self, number: u32) -> Option<Route> {
        self.ground.network.as_ref().map(|network| network.route(number - 1))
    }

    /// The private directory, 0700.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.ground.directory.path()
    }

    /// Ends both QEMUs and removes every file.
    pub async fn stop(self) {
        self.source.stop().await;
        self.destination.stop().await;
        for unused in self.fresh {
            unused.stop().await;
        }
        for retiring in self.retiring {
            let _ = retiring.await;
        }
        if let Err(error) = self.ground.directory.close() {
            tracing::warn!(%error, "the lab's private directory could not be removed");
        }
    }
}
