//! Starts a lab: two QEMU processes, one running a guest and one waiting for it to arrive.
//!
//! With the micro-guest, a lab needs neither root, nor KVM, nor a kernel image. A lab gives its
//! caller QMP sessions, sampling connections, heartbeats and the guest's console. It is cleaned up
//! by [`Lab::stop`], on drop (after an error or a panic), and by the janitor process when this
//! process is killed. This crate does not analyze results.
//!
//! | module | content |
//! |---|---|
//! | `vm` | one VM and all its connections |
//! | `process` | the QEMU process of a VM |
//! | `command_line` | the arguments of QEMU |
//! | `boot` | kernel, initrd and disk for each kind of guest |
//! | `overlay` | qcow2 overlay for the user's disk image |
//! | `accel` | choice of a working accelerator |
//! | `probe` | short-lived micro-guest that tests this machine |
//! | `console` | command console of the micro-guest and the Linux guest |
//! | `serial` | serial console of the user's own guest |
//! | `last_output` | last line that a guest printed |
//! | `network` | network namespaces |
//! | `link` | emulated link |

mod accel;
mod boot;
mod command_line;
mod console;
#[cfg(feature = "credentials")]
pub mod credentials;
mod last_output;
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
use command_line::{SocketPaths, VmRole};
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
use vm::{Listeners, StartingVm};

/// Time that a guest may take to fill its working set, per GiB.
const READY_TIMEOUT_PER_GIB: Duration = Duration::from_secs(60);
/// Number of spare QEMUs started at the same time. Each uses about 45 MB while it waits.
const MAX_CONCURRENT_STARTS: u32 = 8;

/// Time until the first heartbeat of a micro-guest, which usually takes 0.1 s. Linux under TCG
/// takes several seconds.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(20);
const LINUX_TIMEOUT: Duration = Duration::from_secs(120);
/// Time until the user's own guest is ready, by `guest.ready`.
const OWN_GUEST_TIMEOUT: Duration = Duration::from_secs(300);

/// The lab could not be started. No process is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// The QEMU program could not be started.
    #[error(
        "cannot start {program}: install QEMU (Debian: apt-get install qemu-system-x86), name \
         another program with --qemu, or run qemu-scripts/qemu 10.0, which unpacks one without root"
    )]
    NoQemu {
        /// Name or path of the program.
        program: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// QEMU exited before the lab was ready.
    #[error("{side}: {reason}")]
    Died {
        /// Side of the QEMU process.
        side: Side,
        /// Exit status and last output of QEMU.
        reason: String,
    },
    /// QEMU is running, but its QMP connection could not be set up.
    #[error(
        "{side}: cannot set up the QMP connection to QEMU; see qemu.*.log in the run directory"
    )]
    Qmp {
        /// Side of the QEMU process.
        side: Side,
        /// The error of the QMP session.
        source: QmpError,
    },
    /// The guest did not start or did not answer.
    #[error("the guest {problem}; its last output: {said}")]
    Guest {
        /// Verb phrase that completes "the guest …".
        problem: String,
        /// Last line on the guest's console.
        said: String,
    },
    /// The files of the Linux guest do not exist.
    #[error(
        "cannot read {path} of the Linux guest: build the guest with qemu-scripts/linux-guest \
         (without root, but with Debian's apt-get), and set guest.linux if its directory is not \
         target/linux-guest"
    )]
    NoLinux {
        /// Path of the missing file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file of the user's own guest cannot be read.
    #[error("{key}: cannot read {path}")]
    NoFile {
        /// Scenario key that names the file.
        key: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The disk image could be damaged with the given settings.
    #[error("guest.disk: {path} is refused: {reason}")]
    Disk {
        /// Path of the image.
        path: PathBuf,
        /// The problem and the setting that solves it.
        reason: String,
    },
    /// KVM was requested, but no guest runs under it.
    #[error("--accel kvm: {reason}. Use --accel tcg, or auto")]
    Kvm {
        /// Result of the test.
        reason: String,
    },
    /// The network namespaces of `link.kind = "netns"` cannot be created.
    #[error(
        "link.kind = \"netns\": cannot set up the namespaces, which needs root, and netem in the \
         kernel for a delay; link.kind = \"emulated\" needs neither"
    )]
    Network {
        /// The command that failed and its error output.
        source: io::Error,
    },
    /// The TLS credentials of the lab could not be created.
    #[cfg(feature = "credentials")]
    #[error("cannot create the lab's TLS credentials")]
    Credentials {
        /// The error of the credentials module.
        source: crate::credentials::CredentialsError,
    },
    /// The scenario requires TLS, but this program was built without support for credentials.
    #[cfg(not(feature = "credentials"))]
    #[error(
        "this program was built without the feature `credentials`; set tls.dir to a directory \
         with credentials"
    )]
    NoCredentials,
    /// The private directory, a socket or a helper process could not be created.
    #[error("cannot set up {what}")]
    System {
        /// Name of the resource.
        what: String,
        /// The error of the operating system.
        source: io::Error,
    },
}

fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> LabError {
    let what = what.into();
    move |source| LabError::System { what, source }
}

/// A running pair of VMs.
#[derive(Debug)]
pub struct Lab {
    /// VM that runs the guest.
    pub source: Vm,
    /// VM that waits for the migration.
    pub destination: Vm,
    /// Accelerator of both VMs and the reason for its choice.
    pub accelerator: Accelerator,
    /// Time from the start of the first QEMU to the guest's first heartbeat; `None` for a guest
    /// without heartbeats.
    pub boot: Option<Duration>,
    /// VMs started in advance for later migrations.
    spare: VecDeque<Vm>,
    retiring: Vec<JoinHandle<()>>,
    resources: LabResources,
}

/// What all VMs of a lab share.
#[derive(Debug)]
struct LabResources {
    scenario: Scenario,
    accelerator: Accelerator,
    sink: Sink,
    logs: PathBuf,
    transcript: bool,
    boot: Boot,
    /// Number of VMs started so far.
    vms: u32,
    network: Option<Network>,
    // Fields drop in order: the VMs, then the directory. The janitor then has nothing left to do.
    directory: tempfile::TempDir,
    janitor: Janitor,
}

impl LabResources {
    async fn create(
        scenario: &Scenario,
        accelerator: &Accelerator,
        sink: &Sink,
        logs: &Path,
        transcript: bool,
    ) -> Result<LabResources, LabError> {
        let directory = create_private_directory()
            .map_err(system("a private directory for the lab's sockets"))?;
        let network = match scenario.link.kind {
            LinkKind::Emulated => None,
            LinkKind::Netns => Some(
                Network::create(&scenario.link).map_err(|source| LabError::Network { source })?,
            ),
        };
        let names = network.as_ref().map(|network| network.names().as_slice()).unwrap_or_default();
        let janitor =
            Janitor::start(directory.path(), names).map_err(system("the janitor process (sh)"))?;
        let boot = Boot::prepare(scenario, accelerator.kind, directory.path()).await?;
        let (scenario, accelerator, sink, logs) =
            (scenario.clone(), accelerator.clone(), sink.clone(), logs.to_owned());
        Ok(LabResources {
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

    /// Starts the next VM. Its connections are not open yet.
    fn start_vm(&mut self, side: Side) -> Result<StartingVm, LabError> {
        let program = match side {
            Side::Source => self.scenario.qemu.source.as_str(),
            Side::Destination => self.scenario.destination_qemu(),
        };
        let paths = SocketPaths::new(self.directory.path(), self.vms);
        let listeners =
            Listeners::bind(&paths, &self.scenario.guest).map_err(system("the lab's sockets"))?;
        let name = vm_name(self.vms);
        let trace = self.scenario.record.trace.then(|| self.logs.join(format!("trace.{name}.log")));
        let role = VmRole { incoming: side == Side::Destination, trace };
        let arguments = command_line::arguments(
            &self.scenario,
            self.accelerator.kind,
            &role,
            &paths,
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
        Ok(StartingVm { side, vm: self.vms - 1, process, listeners })
    }
}

impl Lab {
    /// Starts both VMs and waits until the guest sends heartbeats and has filled its working set.
    ///
    /// QEMU's output goes to `qemu.{vm}.log` in `logs`, its traces to `trace.{vm}.log`.
    ///
    /// # Errors
    /// [`LabError`]. Every process that was started is stopped again.
    pub async fn start(
        scenario: &Scenario,
        accelerator: Accelerator,
        sink: &Sink,
        logs: &Path,
        transcript: bool,
    ) -> Result<Lab, LabError> {
        let mut resources =
            LabResources::create(scenario, &accelerator, sink, logs, transcript).await?;
        let began_ns = monotonic_ns();
        let source = resources.start_vm(Side::Source)?;
        let destination = resources.start_vm(Side::Destination)?;
        let mut source = source.connect(sink, transcript).await?;
        let destination = destination.connect(sink, transcript).await?;
        let guest = &scenario.guest;
        let gib = u32::try_from(guest.working_set.0 >> 30).unwrap_or(u32::MAX) + 1;
        let (beats, ready) = match guest.kind {
            GuestKind::Micro => (HEARTBEAT_TIMEOUT, READY_TIMEOUT_PER_GIB * gib),
            GuestKind::Linux => (LINUX_TIMEOUT, LINUX_TIMEOUT + READY_TIMEOUT_PER_GIB * gib),
            GuestKind::Own => (OWN_GUEST_TIMEOUT, OWN_GUEST_TIMEOUT),
        };
        let boot = source.first_beat(began_ns, beats).await?;
        source.ready(guest, ready).await?;
        Ok(Lab {
            source,
            destination,
            accelerator,
            boot,
            spare: VecDeque::new(),
            retiring: Vec::new(),
            resources,
        })
    }

    /// Prepares the next migration: the destination becomes the source, a new VM becomes the
    /// destination, and the old source is stopped.
    ///
    /// New VMs are started in groups, at most as many as `further` migrations need. A group uses
    /// all processors, and no VM starts while a migration is measured.
    ///
    /// # Errors
    /// [`LabError`] if no new VM can be started. The guest keeps running on its current VM.
    pub async fn advance(&mut self, further: u32) -> Result<(), LabError> {
        if self.spare.is_empty() {
            let starting: Result<Vec<StartingVm>, LabError> = (0..further
                .clamp(1, MAX_CONCURRENT_STARTS))
                .map(|_| self.resources.start_vm(Side::Destination))
                .collect();
            for starting in starting? {
                self.spare.push_back(
                    starting.connect(&self.resources.sink, self.resources.transcript).await?,
                );
            }
        }
        let none = || system("a spare VM")(io::ErrorKind::NotFound.into());
        let spare = self.spare.pop_front().ok_or_else(none)?;
        let source = std::mem::replace(&mut self.destination, spare);
        // The kernel needs time to free the memory of a QEMU process. Do not wait for it here.
        self.retiring.push(tokio::spawn(std::mem::replace(&mut self.source, source).stop()));
        Ok(())
    }

    /// Path prefix for the files of migration `number`.
    #[must_use]
    pub fn stream_files(&self, number: u32) -> PathBuf {
        self.resources.directory.path().join(format!("migrate.{number}"))
    }

    /// Network route of migration `number`, or `None` if it uses the network of this host.
    #[must_use]
    pub fn route(&self, number: u32) -> Option<Route> {
        self.resources.network.as_ref().map(|network| network.route(number - 1))
    }

    /// Private directory of the lab, with mode 0700.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.resources.directory.path()
    }

    /// Stops all VMs and removes every file.
    pub async fn stop(self) {
        self.source.stop().await;
        self.destination.stop().await;
        for unused in self.spare {
            unused.stop().await;
        }
        for retiring in self.retiring {
            let _ = retiring.await;
        }
        if let Err(error) = self.resources.directory.close() {
            tracing::warn!(%error, "the lab's private directory could not be removed");
        }
    }
}
