//! What passed over the link, by the link itself: a part of `run.json` and of each line of
//! switchovers.jsonl.

use serde::{Deserialize, Serialize};

/// What passed over the link in one migration, independent of what QEMU says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkView {
    /// Connections.
    pub channels: Option<u64>,
    /// Bytes delivered to the destination.
    pub bytes: Option<u64>,
    /// Bytes delivered to the source.
    pub back_bytes: Option<u64>,
    /// Bytes a second to the destination, from the first byte to the last.
    pub mean_bps: Option<u64>,
    /// Bytes a second to the destination in the busiest 100 ms.
    pub peak_bps: Option<u64>,
    /// What QEMU says for the whole (`mbps`), in bytes a second.
    pub qemu_bps: Option<u64>,
    /// The most that one channel had taken in and not yet delivered to the destination.
    pub held_max_bytes: Option<u64>,
}
