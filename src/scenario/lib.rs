//! A scenario: everything that the user can configure for one migration, with defaults.
//!
//! A [`Loader`] merges TOML files, `table.key=value` settings and flags into a checked
//! [`Scenario`]. Whether a given QEMU can carry it out is checked later, by `plan`.
//!
//! This file has the main types and their defaults. `guest` describes the guest and its load,
//! `link` the network, `stream` transports and sockets, `tls` the encryption. `load` parses and
//! checks, `keys` lists the keys.

mod guest;
mod keys;
mod link;
mod load;
mod stream;
mod tls;

pub use guest::{
    Content, DiskAccess, DiskFormat, Guest, GuestKind, Load, OwnGuest, Pattern, Touch,
};
pub use link::{Figures, Link, LinkDirection, LinkKind, LinkPreset, Outage};
pub use load::{Loader, MAX_SCENARIO_BYTES, ScenarioError};
pub use stream::{Socket, Transport};
pub use tls::{Credentials, PSK_USER, Tls};

use base::units::{Bytes, Limit, Micros, SampleRate};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The configuration of one migration. `--print-scenario` prints it as TOML, and
/// `docs/reference/scenario.md` describes every key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scenario {
    /// How guest memory is transferred.
    pub mode: Mode,
    /// The transport of the migration stream.
    pub transport: Transport,
    /// The migration URI, instead of one made for `transport`. Needed for QEMUs on two hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// The destination's URI if it differs from the source's (`tcp:0.0.0.0:4444` instead of
    /// `tcp:host:4444`, or `exec:`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incoming_uri: Option<String>,
    /// The `channels` argument of `migrate` instead of a URI (since QEMU 8.2), in QAPI's form, for
    /// what a URI cannot express.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<toml::Value>,
    /// The destination's `channels` if they differ from the source's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub incoming_channels: Vec<toml::Value>,
    /// Time from the command `migrate` until the migration is cancelled.
    pub timeout: Micros,
    /// When the destination starts the guest.
    pub handover: Handover,
    /// The number of consecutive migrations of one running guest, each to a new destination.
    pub repeat: u32,
    /// The QEMU processes of a lab.
    pub qemu: Qemu,
    /// The guest of a lab and its workload.
    pub guest: Guest,
    /// Downtime and bandwidth limits for QEMU.
    pub limits: Limits,
    /// When hybrid starts post-copy.
    pub switch: Switch,
    /// When pre-copy is made to finish, however long the blackout becomes.
    pub finish: Switch,
    /// When a migration that does not converge is cancelled.
    pub give_up: GiveUp,
    /// User commands around the switchover.
    pub hooks: Hooks,
    /// How a broken post-copy migration is recovered.
    pub recovery: Recovery,
    /// Options of the sockets that we open for the transport `owned`.
    pub socket: Socket,
    /// Encryption of the migration stream.
    pub tls: Tls,
    /// The network between the two QEMUs.
    pub link: Link,
    /// How often each side is sampled.
    pub sampling: Sampling,
    /// Optional files of the run directory.
    pub record: Record,
    /// Migration capabilities by QEMU's names. Each is set on the side or sides that need it.
    pub capabilities: BTreeMap<String, bool>,
    /// Migration parameters by QEMU's names. QEMU's own schema gives their types.
    pub parameters: BTreeMap<String, toml::Value>,
}

/// How guest memory is transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// All memory is sent before the switchover.
    Precopy,
    /// The switchover happens at once, and memory follows.
    Postcopy,
    /// Post-copy starts after one or more pre-copy passes.
    Hybrid,
}

impl Mode {
    /// Whether this mode can start post-copy.
    #[must_use]
    pub fn allows_postcopy(self) -> bool {
        self != Mode::Precopy
    }
}

/// When the destination starts the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Handover {
    /// As soon as the destination has loaded everything. This is QEMU's default and gives the
    /// shortest blackout. If the stream breaks at that moment, the source resumes the guest too,
    /// and both copies run until the source is stopped.
    #[default]
    AtOnce,
    /// After the source has reported completion. Two copies never run, but the blackout is longer
    /// by the time of that report and of our command. Post-copy has no such moment: there the
    /// destination starts the guest as soon as the source cannot.
    Confirmed,
}

/// The QEMU processes of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Qemu {
    /// The program of the source.
    pub source: String,
    /// The program of the destination. `None` means the source's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// The machine type.
    pub machine: Machine,
    /// The accelerator.
    pub accel: Accel,
    /// More arguments for both QEMU processes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
}

/// A machine type that the lab's guests can run on: `microvm`, `q35` or `pc`, or a version of the
/// latter two, such as `pc-i440fx-7.2`. A migration between QEMU versions needs a versioned type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Machine(String);

impl Machine {
    /// The name that QEMU takes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Machine {
    type Error = String;

    fn try_from(name: String) -> Result<Machine, String> {
        let versioned = ["pc-q35-", "pc-i440fx-"].iter().any(|family| name.starts_with(family));
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
        if plain && (versioned || matches!(name.as_str(), "microvm" | "q35" | "pc")) {
            Ok(Machine(name))
        } else {
            Err(format!(
                "the lab's guest cannot run on machine type `{name}`; use microvm, q35, pc or a \
                 versioned type like pc-q35-7.2"
            ))
        }
    }
}

impl From<Machine> for String {
    fn from(machine: Machine) -> String {
        machine.0
    }
}

/// The accelerator that runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accel {
    /// KVM if a test guest sends its heartbeat under it, else TCG.
    Auto,
    /// Emulation by QEMU.
    Tcg,
    /// Hardware virtualization by the kernel.
    Kvm,
}

/// Limits for QEMU. A limit that is `None` keeps QEMU's value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// `downtime-limit` (QEMU's default: 300 ms).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downtime: Option<Micros>,
    /// `max-bandwidth` (QEMU's default: 128 MiB/s).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Limit>,
    /// `max-postcopy-bandwidth` (QEMU's default: unlimited).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postcopy_bandwidth: Option<Limit>,
}

/// The highest `downtime-limit` that QEMU accepts (`migrate_params_check`).
pub const MAX_DOWNTIME: Micros = Micros(2_000_000_000);

/// A moment during pre-copy: when `hybrid` starts post-copy, or when pre-copy is made to finish.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Switch {
    /// The number of passes over RAM: the moment is the first MIGRATION_PASS with a higher number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_pass: Option<u64>,
    /// The time since the source became active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Micros>,
}

/// When pre-copy is cancelled, because it does not converge. The guest keeps running on the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GiveUp {
    /// The number of passes over RAM after which the migration is cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passes: Option<u64>,
    /// The bytes sent after which the migration is cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Bytes>,
    /// The time since `migrate` after which the migration is cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Micros>,
}

/// User commands, each run by `sh -c`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hooks {
    /// Runs when the guest is stopped on the source and QEMU waits in `pre-switchover`. If it
    /// fails, the migration is cancelled and the guest keeps running on the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_switchover: Option<String>,
    /// Runs when the guest runs on the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_switchover: Option<String>,
    /// Runs at the end if the guest is not on the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<String>,
    /// The timeout of each command. A command that takes longer is killed and counts as failed.
    pub deadline: Micros,
}

impl Default for Hooks {
    fn default() -> Hooks {
        Hooks {
            before_switchover: None,
            after_switchover: None,
            on_failure: None,
            deadline: Micros(10_000_000),
        }
    }
}

/// How a broken post-copy migration is recovered over a new channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recovery {
    /// The maximum number of attempts until one succeeds; 0 disables recovery.
    pub attempts: u32,
    /// The wait after a failed attempt. It doubles each time, up to 2 s.
    pub backoff: Micros,
    /// Post-copy that sends nothing for this time counts as broken.
    pub stalled_after: Micros,
    /// The migration URI of the new channel, on which the destination listens. `None` chooses one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

/// How often each side is queried with `query-migrate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// The sampling rate of the source.
    pub source: SampleRate,
    /// The sampling rate of the destination.
    pub destination: SampleRate,
}

/// Optional files of the run directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Whether to record every QMP line in both directions, in transcript.jsonl.zst.
    pub transcript: bool,
    /// Whether a lab records QEMU's downtime trace points, in trace.*.log.
    pub trace: bool,
    /// Whether to record every page that post-copy requests, in the same files. This gives the
    /// latencies of page faults where QEMU does not count them itself (before 10.1). It writes two
    /// lines for each fault.
    pub fault_trace: bool,
}

impl Default for Record {
    fn default() -> Record {
        Record { transcript: false, trace: true, fault_trace: false }
    }
}

impl Default for Scenario {
    /// The built-in scenario: pre-copy of a guest that writes at a moderate rate.
    fn default() -> Scenario {
        Scenario {
            mode: Mode::Precopy,
            transport: Transport::Auto,
            uri: None,
            incoming_uri: None,
            channels: Vec::new(),
            incoming_channels: Vec::new(),
            timeout: Micros(60_000_000),
            handover: Handover::AtOnce,
            repeat: 1,
            qemu: Qemu::default(),
            guest: Guest::default(),
            limits: Limits::default(),
            switch: Switch::default(),
            finish: Switch::default(),
            give_up: GiveUp::default(),
            hooks: Hooks::default(),
            recovery: Recovery::default(),
            socket: Socket::default(),
            tls: Tls::default(),
            link: Link::default(),
            sampling: Sampling::default(),
            record: Record::default(),
            capabilities: BTreeMap::new(),
            parameters: BTreeMap::new(),
        }
    }
}

impl Default for Qemu {
    fn default() -> Qemu {
        Qemu {
            source: "qemu-system-x86_64".to_owned(),
            destination: None,
            machine: Machine("microvm".to_owned()),
            accel: Accel::Auto,
            arguments: Vec::new(),
        }
    }
}

impl Default for Recovery {
    fn default() -> Recovery {
        Recovery {
            attempts: 30,
            backoff: Micros(500_000),
            stalled_after: Micros(60_000_000),
            uri: None,
        }
    }
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling { source: SampleRate::Hertz(1000), destination: SampleRate::Hertz(100) }
    }
}

/// The name of an enum's value as it is written in a scenario, for any enum of this module.
#[must_use]
pub fn serialized_name<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        other => unreachable!("only enums without fields are passed here, not {other:?}"),
    }
}

impl Scenario {
    /// Formats the scenario as TOML, which loads to the same scenario.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a scenario has only tables, text, numbers and booleans")
    }

    /// The program of the destination: the source's unless the scenario names another.
    #[must_use]
    pub fn destination_qemu(&self) -> &str {
        self.qemu.destination.as_deref().unwrap_or(&self.qemu.source)
    }
}
