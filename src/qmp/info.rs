//! The answer of `query-migrate`, for every QEMU from 7.2 on: all members optional, enums open, the
//! unknown kept.
//!
//! Members and units are those of MigrationInfo in QEMU's qapi/migration.json. Most members exist
//! only in some states (docs/qemu-notes.md, "The answer of `query-migrate`").

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;

/// `MigrationStatus`, with room for what newer QEMUs add.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Never migrated.
    None,
    /// Connecting, setting up.
    Setup,
    /// QueuedNotices for devices to be unplugged.
    WaitUnplug,
    /// Copying while the guest runs.
    Active,
    /// Stopped before switchover, waits for `migrate-continue` (capability
    /// pause-before-switchover).
    PreSwitchover,
    /// Stopped, saving devices. In every migration since 10.0; before, only after pre-switchover.
    Device,
    /// The post-copy package is being loaded (since 10.2).
    PostcopyDevice,
    /// The guest runs on the destination, pages follow.
    PostcopyActive,
    /// Post-copy lost its channel.
    PostcopyPaused,
    /// Recovery connects (since 9.1).
    PostcopyRecoverSetup,
    /// Recovery handshake.
    PostcopyRecover,
    /// Done.
    Completed,
    /// Cancellation under way.
    Cancelling,
    /// Cancelled.
    Cancelled,
    /// About to fail (since 11.0).
    Failing,
    /// Failed.
    Failed,
    /// COLO replication.
    Colo,
    /// A state that we don't know: treated as "in progress".
    Other(String),
}

const STATUSES: &[(&str, Status)] = &[
    ("none", Status::None),
    ("setup", Status::Setup),
    ("wait-unplug", Status::WaitUnplug),
    ("active", Status::Active),
    ("pre-switchover", Status::PreSwitchover),
    ("device", Status::Device),
    ("postcopy-device", Status::PostcopyDevice),
    ("postcopy-active", Status::PostcopyActive),
    ("postcopy-paused", Status::PostcopyPaused),
    ("postcopy-recover-setup", Status::PostcopyRecoverSetup),
    ("postcopy-recover", Status::PostcopyRecover),
    ("completed", Status::Completed),
    ("cancelling", Status::Cancelling),
    ("cancelled", Status::Cancelled),
    ("failing", Status::Failing),
    ("failed", Status::Failed),
    ("colo", Status::Colo),
];

impl Status {
    /// QEMU's spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Status::Other(text) => text,
            known => {
                STATUSES.iter().find(|(_, status)| status == known).map_or("", |(text, _)| text)
            }
        }
    }

    /// Whether the migration is over, one way or another.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Status::Completed | Status::Cancelled | Status::Failed)
    }

    /// Whether post-copy has begun: the source's memory is no longer the whole guest, so nothing
    /// may be cancelled.
    #[must_use]
    pub fn is_postcopy(&self) -> bool {
        self.as_str().starts_with("postcopy")
    }
}

impl From<&str> for Status {
    fn from(text: &str) -> Status {
        STATUSES
            .iter()
            .find(|(name, _)| *name == text)
            .map_or_else(|| Status::Other(text.to_owned()), |(_, status)| status.clone())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Status::from(Cow::<str>::deserialize(deserializer)?.as_ref()))
    }
}

/// A value of a member that we know is not as long as this (bytes of JSON); a longer one goes to
/// `other`, so that no text of a peer gets long elsewhere.
const MAX_MEMBER_BYTES: usize = 32 << 10;

/// A struct all of whose members are optional. A member that is unknown, or whose value is not of
/// its type, goes to `other`.
macro_rules! tolerant {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty = $key:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: Option<$type>,)*
            /// Members that we don't know, or whose type is not the one we know.
            pub other: Map<String, Value>,
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Members;
                impl<'de> Visitor<'de> for Members {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let mut answer = $name::default();
                        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                            let raw: &'de RawValue = map.next_value()?;
                            let known = match key.as_ref() {
                                $($key if raw.get().len() <= MAX_MEMBER_BYTES => {
                                    answer.$field = serde_json::from_str(raw.get()).ok();
                                    answer.$field.is_some()
                                })*
                                _ => false,
                            };
                            if !known {
                                let value = serde_json::from_str(raw.get()).unwrap_or(Value::Null);
                                answer.other.insert(key.into_owned(), value);
                            }
                        }
                        Ok(answer)
                    }
                }
                deserializer.deserialize_map(Members)
            }
        }
    };
}

tolerant! {
    /// `MigrationInfo`. Read it from JSON text (`serde_json::from_str`), not from a `Value`.
    MigrationInfo {
        /// State; absent before the first migration.
        status: Status = "status",
        /// RAM statistics; source only, and only while migrating or completed.
        ram: RamStats = "ram",
        /// XBZRLE statistics, with the capability on.
        xbzrle_cache: XbzrleStats = "xbzrle-cache",
        /// RAM and devices still to send, bytes (since 11.1).
        remaining: u64 = "remaining",
        /// Since the start, ms.
        total_time: u64 = "total-time",
        /// QEMU's estimate, ms, until the downtime is known.
        expected_downtime: u64 = "expected-downtime",
        /// QEMU's downtime, ms: the source's view, later overwritten in some cases
        /// (docs/qemu-notes.md, "What QEMU reports as downtime").
        downtime: u64 = "downtime",
        /// Set-up, ms.
        setup_time: u64 = "setup-time",
        /// Throttle of auto-converge, %.
        cpu_throttle_percentage: u64 = "cpu-throttle-percentage",
        /// Why it failed, for people.
        error_desc: String = "error-desc",
        /// Time all vCPUs were blocked on missing pages, ms (destination).
        postcopy_blocktime: u64 = "postcopy-blocktime",
        /// The same per vCPU, ms.
        postcopy_vcpu_blocktime: Vec<u64> = "postcopy-vcpu-blocktime",
        /// Mean latency of a remote page fault, ns (since 10.1).
        postcopy_latency: u64 = "postcopy-latency",
        /// Histogram: bucket n counts faults of [2^n, 2^(n+1)) µs (since 10.1).
        postcopy_latency_dist: Vec<u64> = "postcopy-latency-dist",
        /// Where the destination listens, as QEMU writes it.
        socket_address: Vec<Value> = "socket-address",
        /// Why this VM cannot migrate.
        blocked_reasons: Vec<String> = "blocked-reasons",
        /// dirty-limit: throttle time in the round, µs.
        dirty_limit_throttle_time_per_round: u64 = "dirty-limit-throttle-time-per-round",
        /// dirty-limit: estimated time to fill a dirty ring, µs.
        dirty_limit_ring_full_time: u64 = "dirty-limit-ring-full-time",
    }
}

tolerant! {
    /// `MigrationStats` (`MigrationRAMStats` in 11.x) of RAM.
    RamStats {
        /// Bytes sent.
        transferred: u64 = "transferred",
        /// Bytes still to send; only exact just after a pass boundary.
        remaining: u64 = "remaining",
        /// Bytes of guest RAM.
        total: u64 = "total",
        /// Zero pages.
        duplicate: u64 = "duplicate",
        /// Normal pages.
        normal: u64 = "normal",
        /// Bytes of normal pages.
        normal_bytes: u64 = "normal-bytes",
        /// Pages dirtied a second, renewed at syncs more than 1 s apart.
        dirty_pages_rate: u64 = "dirty-pages-rate",
        /// Throughput, Mbit/s, renewed every 100 ms (`BUFFER_DELAY`).
        mbps: f64 = "mbps",
        /// Dirty bitmap syncs so far; not the same as passes in 11.x.
        dirty_sync_count: u64 = "dirty-sync-count",
        /// Page requests of the destination in post-copy.
        postcopy_requests: u64 = "postcopy-requests",
        /// Bytes a page.
        page_size: u64 = "page-size",
        /// Bytes sent over multifd channels.
        multifd_bytes: u64 = "multifd-bytes",
        /// Pages sent a second.
        pages_per_second: u64 = "pages-per-second",
        /// Bytes sent before switchover.
        precopy_bytes: u64 = "precopy-bytes",
        /// Bytes sent while the guest was stopped.
        downtime_bytes: u64 = "downtime-bytes",
        /// Bytes sent in post-copy.
        postcopy_bytes: u64 = "postcopy-bytes",
        /// Zero-copy sends that fell back to a copy.
        dirty_sync_missed_zero_copy: u64 = "dirty-sync-missed-zero-copy",
    }
}

tolerant! {
    /// `XBZRLECacheStats`.
    XbzrleStats {
        /// Cache size, bytes.
        cache_size: u64 = "cache-size",
        /// Bytes sent as deltas.
        bytes: u64 = "bytes",
        /// Pages sent as deltas.
        pages: u64 = "pages",
        /// Pages not in the cache.
        cache_miss: u64 = "cache-miss",
        /// Their share.
        cache_miss_rate: f64 = "cache-miss-rate",
        /// Delta size against page size.
        encoding_rate: f64 = "encoding-rate",
        /// Deltas that were no smaller than the page.
        overflow: u64 = "overflow",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_prints_as_it_was_read_and_unknown_ones_are_kept() {
        for (text, _) in STATUSES {
            assert_eq!(Status::from(*text).as_str(), *text);
        }
        let new = Status::from("teleporting");
        assert_eq!((new.as_str(), new.is_final()), ("teleporting", false));
    }

    #[test]
    fn an_unknown_member_and_a_changed_type_go_to_other_and_the_rest_is_read() {
        let info: MigrationInfo = serde_json::from_str(
            r#"{"status":"active","ram":{"transferred":5,"skipped":0,"mbps":1.5},"total-time":"soon","warp":{"factor":9}}"#,
        )
        .unwrap();
        let ram = info.ram.unwrap();
        assert_eq!((info.status, info.total_time), (Some(Status::Active), None));
        assert_eq!(
            (ram.transferred, ram.mbps, ram.other["skipped"].as_u64()),
            (Some(5), Some(1.5), Some(0))
        );
        assert_eq!(
            (info.other["total-time"].as_str(), info.other["warp"]["factor"].as_u64()),
            (Some("soon"), Some(9))
        );
    }
}
