//! One migration of a run: a line of switchovers.jsonl.

use super::{Downtime, Faults, Host, LinkView, Outcome, TimeUs, Transfer};
use serde::{Deserialize, Serialize};

/// One migration of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Switchover {
    /// Which, from 1.
    pub number: u32,
    /// RFC 3339, UTC.
    pub started: String,
    /// When `migrate` was sent, on the monotonic clock of the other records, ns.
    pub started_mono_ns: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in a sentence.
    pub reason: String,
    /// Whether post-copy really happened.
    pub postcopy_happened: bool,
    /// How long each part took.
    pub time_us: TimeUs,
    /// The blackout.
    pub downtime: Downtime,
    /// Post-copy page faults.
    pub faults: Faults,
    /// What was sent.
    pub transfer: Transfer,
    /// What passed over the link, where there is one.
    #[serde(default)]
    pub link: Option<LinkView>,
    /// What else the machine did, where that is known.
    #[serde(default)]
    pub host: Host,
}
