//! Configuration of a lab's guest and of its workload.
//!
//! This file has the types and their defaults, `own` the user's own guest, `check` the checks.

mod check;
mod own;

pub use own::{DiskAccess, DiskFormat, OwnGuest};

use base::units::{Bytes, Micros, Rate, WriteRate};
use serde::{Deserialize, Serialize};

/// The guest of a lab and its workload. fixtures/guest/README.md describes the test guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Guest {
    /// The kind of guest.
    pub kind: GuestKind,
    /// The RAM of the VM.
    pub memory: Bytes,
    /// The memory that the guest writes to.
    pub working_set: Bytes,
    /// The write rate: pages dirtied per second, multiplied by 4 KiB.
    pub rate: WriteRate,
    /// The order in which pages are written.
    pub pattern: Pattern,
    /// The content of the pages.
    pub content: Content,
    /// How much of a page one write changes.
    pub touch: Touch,
    /// The percentage of operations that read instead of write.
    pub reads_percent: u8,
    /// The period of the heartbeat; 0 for an own guest without one.
    pub heartbeat: Micros,
    /// The seed of everything random in the guest.
    pub seed: u64,
    /// For `hot-cold`: the percentage of the working set that is hot.
    pub hot_memory_percent: u8,
    /// For `hot-cold`: the percentage of writes that go to the hot part.
    pub hot_writes_percent: u8,
    /// For `zipf`: the exponent of the distribution.
    pub zipf: f64,
    /// Whether to damage the guest's memory on purpose, to prove that the check finds it.
    pub inject_fault: bool,
    /// For `linux`: the load that runs beside the guest program.
    pub load: Load,
    /// For `linux`: the memory that the load uses.
    pub load_memory: Bytes,
    /// For `linux`: more arguments for the load's program.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub load_arguments: String,
    /// For `linux`: the directory that qemu-scripts/linux-guest created.
    pub linux: String,
    /// For `own`: what it boots, and when it is ready.
    #[serde(flatten)]
    pub own: OwnGuest,
}

impl Guest {
    /// Whether the guest sends a heartbeat.
    #[must_use]
    pub fn has_heartbeat(&self) -> bool {
        self.heartbeat.0 > 0
    }
}

/// The kind of guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestKind {
    /// The bare-metal micro-guest of fixtures/guest.
    Micro,
    /// A small Linux that runs the same guest program, with a load beside it
    /// (qemu-scripts/linux-guest).
    Linux,
    /// The user's own guest, about whose behaviour nothing is known.
    Own,
}

impl GuestKind {
    /// Whether this is a test guest of this project: it sends a heartbeat, answers commands on its
    /// console and can check its memory (fixtures/guest/README.md).
    #[must_use]
    pub fn is_ours(self) -> bool {
        self != GuestKind::Own
    }
}

/// What runs in the Linux guest beside the guest program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// No load.
    None,
    /// `stress --vm 1 --vm-keep`, the load of the paper.
    Stress,
    /// `stress-ng --vm 1 --vm-keep`.
    StressNg,
    /// memcached, and a client that keeps it busy.
    Memcached,
    /// Redis, and a client that keeps it busy.
    Redis,
}

impl Load {
    /// Whether the load is a server that answers requests.
    #[must_use]
    pub fn is_application(self) -> bool {
        matches!(self, Load::Memcached | Load::Redis)
    }
}

/// The order in which the guest writes pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// One page after the other, again and again.
    Sequential,
    /// Uniformly distributed over the pages.
    Random,
    /// Most writes go to a small part of the working set.
    HotCold,
    /// Distributed by Zipf's law over the pages.
    Zipf,
}

/// What the guest's pages hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Zeros. The memory check then finds corruption, but not lost updates.
    Zero,
    /// Random bytes, which cannot be compressed.
    Random,
    /// Bytes that compress to about a quarter.
    Compressible,
    /// Each write changes a few bytes, which XBZRLE compresses well.
    Delta,
}

/// How much of a page one write changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Touch {
    /// A few words, enough to dirty the page.
    Words,
    /// The whole page.
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
