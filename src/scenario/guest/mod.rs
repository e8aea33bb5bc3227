//! The guest of a lab, and what it does, as asked for.
//!
//! Map: here the types and their defaults · `own` a guest of the user's · `check` what cannot be.

mod check;
mod own;

pub use own::{DiskAccess, DiskFormat, OwnGuest};

use base::units::{Bytes, Micros, Rate, WriteRate};
use serde::{Deserialize, Serialize};

/// The guest of a lab, and its workload. facts/guest.md; fixtures/guest/README.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Guest {
    /// Which guest.
    pub kind: GuestKind,
    /// RAM of the VM.
    pub memory: Bytes,
    /// Memory that the guest writes.
    pub working_set: Bytes,
    /// Pages dirtied a second × 4 KiB.
    pub rate: WriteRate,
    /// Order of writes.
    pub pattern: Pattern,
    /// What is in a page.
    pub content: Content,
    /// How much of a page a write touches.
    pub touch: Touch,
    /// Share of operations that read, %.
    pub reads_percent: u8,
    /// Period of the heartbeat; 0 for a guest of the user's that has none.
    pub heartbeat: Micros,
    /// Seed of all that is random in it.
    pub seed: u64,
    /// hot-cold: share of memory that is hot, %.
    pub hot_memory_percent: u8,
    /// hot-cold: share of writes that go there, %.
    pub hot_writes_percent: u8,
    /// zipf: exponent.
    pub zipf: f64,
    /// Negative control: damage the guest's memory on purpose, so that the check must find it.
    pub inject_fault: bool,
    /// linux: what runs beside.
    pub load: Load,
    /// linux: memory that the load takes.
    pub load_memory: Bytes,
    /// linux: more arguments of the load's program.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub load_arguments: String,
    /// linux: where qemu-scripts/linux-guest put it.
    pub linux: String,
    /// own: what it boots, and when it is ready.
    #[serde(flatten)]
    pub own: OwnGuest,
}

impl Guest {
    /// Whether it says at regular intervals that it runs.
    #[must_use]
    pub fn has_heartbeat(&self) -> bool {
        self.heartbeat.0 > 0
    }
}

/// Which guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestKind {
    /// The bare-metal micro-guest of fixtures/guest.
    Micro,
    /// A small Linux whose only program of ours is the same guest, with a load beside it (qemu-scripts/linux-guest).
    Linux,
    /// The user's: nobody knows what it does.
    Own,
}

impl GuestKind {
    /// Whether it beats, answers commands on its console, and can check its memory: fixtures/guest/README.md.
    #[must_use]
    pub fn is_ours(self) -> bool {
        self != GuestKind::Own
    }
}

/// What runs in the Linux guest beside the guest program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// Nothing.
    None,
    /// `stress --vm 1 --vm-keep`: the paper's.
    Stress,
    /// `stress-ng --vm 1 --vm-keep`.
    StressNg,
    /// A memcached, and a client that keeps it busy.
    Memcached,
    /// A Redis, and a client that keeps it busy.
    Redis,
}

impl Load {
    /// Whether it answers requests.
    #[must_use]
    pub fn is_application(self) -> bool {
        matches!(self, Load::Memcached | Load::Redis)
    }
}

/// Order of the guest's writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// Page after page, round and round.
    Sequential,
    /// Uniform.
    Random,
    /// Most writes go to a small part.
    HotCold,
    /// Zipf's law over the pages.
    Zipf,
}

/// What the guest's pages hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Zeros. Finds corruption, not lost updates.
    Zero,
    /// Incompressible.
    Random,
    /// About 4:1.
    Compressible,
    /// Each write changes a few bytes: XBZRLE's friend.
    Delta,
}

/// How much of a page a write touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Touch {
    /// A few words: enough to dirty it.
    Words,
    /// All of it.
    Page,
}

impl Default for Guest {
    fn default() -> Guest {
        Guest {
            kind: GuestKind::Micro,
            memory: Bytes(256 << 20),
            working_set: Bytes(64 << 20),
            rate: WriteRate::At(Rate(50 << 20)),
            pattern: Pattern::Random,
            content: Content::Random,
            touch: Touch::Words,
            reads_percent: 0,
            heartbeat: Micros(1000),
            seed: 1,
            hot_memory_percent: 10,
            hot_writes_percent: 90,
            zipf: 0.99,
            inject_fault: false,
            load: Load::None,
            load_memory: Bytes(64 << 20),
            load_arguments: String::new(),
            linux: "target/linux-guest".to_owned(),
            own: OwnGuest::default(),
        }
    }
}
