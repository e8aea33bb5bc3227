//! Which side a capability or a parameter belongs to (docs/qemu-notes.md, "Which side a capability
//! belongs to").

use base::Side;
use std::collections::BTreeMap;

/// Capabilities that only the source acts on; setting them on the destination would only add
/// reasons to refuse.
const SOURCE_CAPABILITIES: &[&str] = &[
    "auto-converge",
    "dirty-limit",
    "pause-before-switchover",
    "zero-copy-send",
    "validate-uuid",
    "background-snapshot",
    "release-ram",
];
/// Capabilities that only the destination acts on.
const DESTINATION_CAPABILITIES: &[&str] = &["postcopy-blocktime"];

/// Parameters that only the source reads.
const SOURCE_PARAMETERS: &[&str] = &[
    "max-bandwidth",
    "avail-switchover-bandwidth",
    "downtime-limit",
    "max-postcopy-bandwidth",
    "throttle-trigger-threshold",
    "cpu-throttle-initial",
    "cpu-throttle-increment",
    "cpu-throttle-tailslow",
    "max-cpu-throttle",
    "x-vcpu-dirty-limit-period",
    "vcpu-dirty-limit",
    "xbzrle-cache-size",
    "zero-page-detection",
    "block-bitmap-mapping",
];
/// Parameters that only the destination reads: it announces the guest on the network.
const DESTINATION_PARAMETERS: &[&str] =
    &["announce-initial", "announce-max", "announce-rounds", "announce-step"];

/// The wanted capabilities that `side` gets. One that is neither side's alone goes to both, as do
/// those we don't know.
pub(super) fn capabilities_for(
    side: Side,
    wanted: &BTreeMap<String, bool>,
) -> BTreeMap<String, bool> {
    wanted
        .iter()
        .filter(|(name, _)| belongs(side, name, SOURCE_CAPABILITIES, DESTINATION_CAPABILITIES))
        .map(|(name, on)| (name.clone(), *on))
        .collect()
}

/// Whether a parameter is set on `side`.
pub(super) fn parameter_belongs(side: Side, name: &str) -> bool {
    belongs(side, name, SOURCE_PARAMETERS, DESTINATION_PARAMETERS)
}

fn belongs(side: Side, name: &str, source: &[&str], destination: &[&str]) -> bool {
    match side {
        Side::Source => !destination.contains(&name),
        Side::Destination => !source.contains(&name),
    }
}
