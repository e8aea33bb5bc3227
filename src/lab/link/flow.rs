//! Counts traffic over time, for the live view of the link.

use record::Flow;

/// Length of the period that one value covers.
const BUCKET_NS: u64 = 10_000_000;

/// Counts the bytes delivered in one direction of one channel.
#[derive(Debug)]
pub(super) struct Meter {
    channel: u32,
    back: bool,
    bucket: u64,
    bytes: u64,
    held: u64,
    /// Bytes since the start.
    total: u64,
}

impl Meter {
    pub(super) fn new(channel: u32, back: bool) -> Meter {
        Meter { channel, back, bucket: 0, bytes: 0, held: 0, total: 0 }
    }

    /// Counts delivered bytes, and notes how many are held. Returns the previous bucket when a new
    /// one begins.
    pub(super) fn add(&mut self, bytes: u64, held: u64, now_ns: u64) -> Option<Flow> {
        let bucket = now_ns / BUCKET_NS;
        let done = if bucket == self.bucket { None } else { self.take() };
        self.bucket = bucket;
        self.bytes += bytes;
        self.total += bytes;
        self.held = self.held.max(held);
        done
    }

    /// Returns the current bucket and clears it.
    pub(super) fn take(&mut self) -> Option<Flow> {
        let flow = Flow {
            at_ns: self.bucket * BUCKET_NS,
            channel: self.channel,
            back: self.back,
            bytes: std::mem::take(&mut self.bytes),
            held: std::mem::take(&mut self.held),
        };
        (flow.bytes > 0).then_some(flow)
    }

    /// Number of bytes since the start.
    pub(super) fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_the_traffic_of_each_10_ms() {
        let mut meter = Meter::new(3, true);
        assert_eq!(meter.add(5, 2, 10_000_000), None);
        assert_eq!(meter.add(6, 1, 19_999_999), None);
        assert_eq!(
            meter.add(7, 0, 20_000_000),
            Some(Flow { at_ns: 10_000_000, channel: 3, back: true, bytes: 11, held: 2 })
        );
        assert_eq!(
            meter.take(),
            Some(Flow { at_ns: 20_000_000, channel: 3, back: true, bytes: 7, held: 0 })
        );
        assert_eq!((meter.take(), meter.total()), (None, 18));
    }
}
