//! `guest.application` in run.json: what an application's client saw of the migration.

use serde::{Deserialize, Serialize};

/// An application in the Linux guest, as its one client in the same guest sees it: it asks, waits
/// for the answer, and asks again. "During" is from `migrate` to the end of the migration, the
/// blackout included; in a series, from the first to the last. A wait of which any part lies there
/// belongs there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Application {
    /// `memcached` or `redis`.
    pub name: String,
    /// Answers of the whole run, since all keys were stored once; by the client's own count.
    pub requests: Option<u64>,
    /// Answers a second before `migrate`, on the host's clock.
    pub rps_before: Option<u64>,
    /// During the migration.
    pub rps_during: Option<u64>,
    /// After it.
    pub rps_after: Option<u64>,
    /// The longest time without an answer before `migrate`, on the host's clock; up to 1 ms of it
    /// is the client's, which tells its answers a millisecond's together.
    pub longest_gap_before_us: Option<u64>,
    /// During the migration.
    pub longest_gap_during_us: Option<u64>,
    /// After it.
    pub longest_gap_after_us: Option<u64>,
    /// Answers with another value than was stored last: the guest's memory is corrupt.
    pub wrong_answers: Option<u64>,
    /// Keys that were stored and not found any more; memcached may let some go.
    pub missing: Option<u64>,
}
