//! What passed over the link in one migration, from what it told meanwhile.

use super::migration::Migration;
use record::{FlowRecord, LinkView};
use std::collections::BTreeMap;

/// A figure of the link stands for so much time.
const BUCKET_NS: u64 = 10_000_000;
/// QEMU's own quantum, and what a figure of throughput is usually over.
const PEAK_BUCKETS: u64 = 10;

/// `flows` are of this migration.
pub(super) fn view(migration: &Migration, flows: &[FlowRecord]) -> Option<LinkView> {
    let passed = migration.passed?;
    let there = by_bucket(flows);
    let last = migration.report.last[0].as_ref().and_then(|info| info.ram.as_ref());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate; what is no number becomes 0"
    )]
    let qemu_bps = last.and_then(|ram| ram.mbps).map(|mbps| (mbps * 125_000.0) as u64);
    Some(LinkView {
        channels: Some(passed.channels.into()),
        bytes: Some(passed.there.bytes),
        back_bytes: Some(passed.back.bytes),
        mean_bps: mean(&there),
        peak_bps: peak(&there),
        qemu_bps: qemu_bps.filter(|bps| *bps > 0),
        held_max_bytes: Some(passed.there.max_held).filter(|held| *held > 0),
    })
}

/// Bytes to the destination by 10 ms.
fn by_bucket(flows: &[FlowRecord]) -> BTreeMap<u64, u64> {
    let mut there = BTreeMap::new();
    for record in flows.iter().filter(|record| !record.flow.back) {
        *there.entry(record.flow.at_ns / BUCKET_NS).or_default() += record.flow.bytes;
    }
    there
}

fn mean(there: &BTreeMap<u64, u64>) -> Option<u64> {
    let (first, last) = (there.first_key_value()?.0, there.last_key_value()?.0);
    Some(there.values().sum::<u64>().saturating_mul(100) / (last - first + 1))
}

fn peak(there: &BTreeMap<u64, u64>) -> Option<u64> {
    let sum =
        |from: u64| there.range(from..from + PEAK_BUCKETS).map(|(_, bytes)| bytes).sum::<u64>();
    there.keys().map(|from| sum(*from).saturating_mul(10)).max()
}

/// When, µs after `from_ns`, and bytes a second to the destination.
pub(super) fn curve(flows: &[FlowRecord], from_ns: u64) -> Vec<(u64, u64)> {
    let rate = |(bucket, bytes): (u64, u64)| {
        let at_ns = (bucket * BUCKET_NS).max(from_ns);
        ((at_ns - from_ns) / 1000, bytes.saturating_mul(100))
    };
    by_bucket(flows).into_iter().map(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::Flow;

    #[test]
    fn mean_is_over_all_of_it_and_peak_over_the_busiest_tenth() {
        let flow = |bucket: u64, back, bytes| FlowRecord {
            migration: 1,
            flow: Flow { at_ns: bucket * BUCKET_NS, channel: 0, back, bytes, held: 0 },
        };
        let mut flows: Vec<_> = (100..200).map(|bucket| flow(bucket, false, 1000)).collect();
        flows.push(flow(150, false, 9000));
        flows.push(flow(120, true, 1 << 40));
        let there = by_bucket(&flows);
        assert_eq!(mean(&there), Some(109_000));
        assert_eq!(peak(&there), Some(190_000));
        assert_eq!((mean(&BTreeMap::new()), peak(&BTreeMap::new())), (None, None));
        assert_eq!(curve(&flows, 1_000_000_000)[50], (500_000, 1_000_000));
    }
}
