//! `brownout` in run.json: the guest runs, but slower.

use super::Stalls;
use serde::{Deserialize, Serialize};

/// How the guest fared outside of the blackout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Brownout {
    /// Times between beats as they arrived, by phase.
    pub beats: Phases,
    /// The same with the beats that a stall kept from being due put in (no coordinated omission):
    /// what somebody who asks at any moment would have to wait.
    pub beats_corrected: Phases,
    /// The guest's own memory accesses, by its own clock. Those between `migrate` and the end are
    /// all in `precopy` or, if post-copy happened, in `postcopy`: the guest is not asked in
    /// between.
    pub accesses: Phases,
    /// How fast the guest wrote; empty for a series (see guest.*.log).
    pub write_rate: Vec<WriteRate>,
}

/// By phase of the migration; the blackout is in none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Phases {
    /// Before `migrate`.
    pub before: Stalls,
    /// From `migrate` to STOP.
    pub precopy: Stalls,
    /// From RESUME to the end of post-copy.
    pub postcopy: Stalls,
    /// After it.
    pub after: Stalls,
}

/// The write rate at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteRate {
    /// µs since `migrate` was sent; the middle of the time over which it was taken.
    pub at_us: i64,
    /// Bytes a second (writes × page size, on the host's clock).
    pub bps: u64,
}
