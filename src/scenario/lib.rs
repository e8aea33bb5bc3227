//! What the user asked for: a scenario, complete, with defaults filled in.
//!
//! Takes TOML and `table.key=value` settings (every flag of the command line is one of those); gives a checked [`Scenario`].
//! Knows nothing of what a QEMU answers: whether this QEMU can do it is `plan`'s question.
//!
//! Map: here the types and their defaults · `guest` the guest and its load · `link` the network · `stream` transports and sockets · `tls` its encryption · `load` text to a scenario, checks · `keys` which there are.

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

/// One migration, as asked for. Printed as TOML by `--print-scenario`; every key has a line in `docs/reference/scenario.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scenario {
    /// How memory moves.
    pub mode: Mode,
    /// How the stream goes.
    pub transport: Transport,
    /// Migration URI, instead of one made for `transport`. Needed for QEMUs on two hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// The destination's URI where it differs from the source's (`tcp:0.0.0.0:4444` against `tcp:host:4444`, `exec:`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incoming_uri: Option<String>,
    /// `migrate`'s `channels` instead of a URI (since 8.2), in QEMU's own form, for what no URI can say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<toml::Value>,
    /// The destination's, where they differ from the source's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub incoming_channels: Vec<toml::Value>,
    /// From `migrate` on; then give up, safely.
    pub timeout: Micros,
    /// When the destination starts the guest.
    pub handover: Handover,
    /// How many migrations, one after the other, of one guest that keeps running; each goes on to a fresh destination.
    pub repeat: u32,
    /// The QEMUs of a lab.
    pub qemu: Qemu,
    /// The guest of a lab.
    pub guest: Guest,
    /// Bounds given to QEMU.
    pub limits: Limits,
    /// When hybrid starts post-copy.
    pub switch: Switch,
    /// When pre-copy shall finish, whatever the blackout.
    pub finish: Switch,
    /// When pre-copy is given up.
    pub give_up: GiveUp,
    /// Commands at the moments when the guest changes hosts.
    pub hooks: Hooks,
    /// What is done about a post-copy that breaks.
    pub recovery: Recovery,
    /// Sockets of ours, for the transport `owned`.
    pub socket: Socket,
    /// Encryption of the stream.
    pub tls: Tls,
    /// The network between the two QEMUs.
    pub link: Link,
    /// How often each side is asked.
    pub sampling: Sampling,
    /// What is kept.
    pub record: Record,
    /// Any capability by QEMU's name; put on the side or sides where it belongs.
    pub capabilities: BTreeMap<String, bool>,
    /// Any parameter by QEMU's name; typed by the QEMU's own schema.
    pub parameters: BTreeMap<String, toml::Value>,
}

/// How memory moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// All memory before switchover.
    Precopy,
    /// Switch over at once, memory follows.
    Postcopy,
    /// Post-copy after one or more pre-copy passes.
    Hybrid,
}

impl Mode {
    /// Whether post-copy may happen.
    #[must_use]
    pub fn allows_postcopy(self) -> bool {
        self != Mode::Precopy
    }
}

/// When the destination starts the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Handover {
    /// As soon as it has everything: QEMU's own way, and the shortest blackout. Should the stream break just then, the source starts it too,
    /// and both run until the source is stopped.
    #[default]
    AtOnce,
    /// When the source has said that it is done: never two, for a blackout that is longer by the way back and our word. Post-copy has no
    /// such moment: there the destination starts it as soon as the source cannot.
    Confirmed,
}

/// The QEMUs of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Qemu {
    /// Program of the source.
    pub source: String,
    /// Program of the destination; the source's unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Machine type.
    pub machine: Machine,
    /// Accelerator.
    pub accel: Accel,
    /// More arguments of both QEMUs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
}

/// A machine type that the lab's guests run on: `microvm`, `q35` or `pc`, or a version of the latter two, such as
/// `pc-i440fx-7.2`, which a migration from one QEMU version to another needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Machine(String);

impl Machine {
    /// As QEMU spells it.
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
                "`{name}` is not a machine type that the guest runs on: microvm, q35, pc, or a version like pc-q35-7.2"
            ))
        }
    }
}

impl From<Machine> for String {
    fn from(machine: Machine) -> String {
        machine.0
    }
}

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accel {
    /// KVM if a micro-guest really beats under it, else TCG.
    Auto,
    /// Emulation.
    Tcg,
    /// Hardware.
    Kvm,
}

/// Bounds given to QEMU; what is not given stays as QEMU has it.
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

/// QEMU takes no higher `downtime-limit` (migrate_params_check).
pub const MAX_DOWNTIME: Micros = Micros(2_000_000_000);

/// When hybrid starts post-copy (pure post-copy starts at once), and when pre-copy shall finish.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Switch {
    /// After so many passes over RAM: on the first MIGRATION_PASS with a higher number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_pass: Option<u64>,
    /// So long after the source became active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Micros>,
}

/// When pre-copy is given up: the migration is cancelled and the VM runs on, on the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GiveUp {
    /// After so many passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passes: Option<u64>,
    /// After so many bytes sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Bytes>,
    /// So long after `migrate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Micros>,
}

/// Commands of the user's, by `sh -c`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hooks {
    /// When the guest is stopped on the source (QEMU waits in pre-switchover). If it fails, the migration is cancelled and the guest runs on there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_switchover: Option<String>,
    /// When the guest runs on the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_switchover: Option<String>,
    /// At the end, if the guest is not on the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<String>,
    /// Of each; then it is killed, and has failed.
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

/// What is done about a post-copy that breaks: it goes on over a new channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recovery {
    /// So often at most, until it goes on; 0: not at all.
    pub attempts: u32,
    /// After a failed attempt; doubled each time, up to 2 s.
    pub backoff: Micros,
    /// Post-copy that sends nothing for so long is broken too.
    pub stalled_after: Micros,
    /// Migration URI of the new channel, where the destination shall listen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

/// How often each side is asked `query-migrate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// The source.
    pub source: SampleRate,
    /// The destination.
    pub destination: SampleRate,
}

/// What is kept in the run directory beyond the usual.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Every QMP line both ways, in transcript.jsonl.zst.
    pub transcript: bool,
    /// QEMU's downtime trace points, of a lab, in trace.*.log.
    pub trace: bool,
    /// Every page that post-copy asks for, in the same files: the latencies of faults where QEMU does not count them itself
    /// (before 10.1). Costs two lines a fault.
    pub fault_trace: bool,
}

impl Default for Record {
    fn default() -> Record {
        Record { transcript: false, trace: true, fault_trace: false }
    }
}

impl Default for Scenario {
    /// The built-in scenario: a guest that writes, pre-copy, nothing exotic.
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

/// The name of a value as a scenario spells it, for any of the enums above.
#[must_use]
pub fn serialized_name<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|v| v.as_str().map(ToOwned::to_owned))
        .unwrap_or_default()
}

impl Scenario {
    /// The TOML that gives this scenario again.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // Plain tables of text, numbers and booleans: there is nothing in it that TOML cannot say.
        toml::to_string(self).unwrap_or_default()
    }

    /// Program of the destination.
    #[must_use]
    pub fn destination_qemu(&self) -> &str {
        self.qemu.destination.as_deref().unwrap_or(&self.qemu.source)
    }
}
