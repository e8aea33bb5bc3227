//! How long post-copy's page faults took.
//!
//! Takes QEMU's own buckets (`postcopy-latency-dist`, since 10.1) or page requests from traces
//! (before that); gives quantiles.

use super::trace::PageRequest;
use hdrhistogram::Histogram;
use std::collections::HashMap;

const MAX_RECORDED_US: u64 = 3_600_000_000;
/// BLOCKTIME_LATENCY_BUCKET_N - 1 in postcopy-ram.c: 8.4 s and more.
const LAST_BUCKET: usize = 23;

/// Latencies of faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultLatencies {
    /// Faults whose latency is known.
    pub count: u64,
    /// Median, µs.
    pub p50_us: Option<u64>,
    /// 90th percentile.
    pub p90_us: Option<u64>,
    /// 99th percentile.
    pub p99_us: Option<u64>,
    /// The longest.
    pub max_us: Option<u64>,
    /// Pages that were asked for and did not come while it was traced.
    pub unpaired: u64,
}

/// Bucket N counts faults of 2^N up to 2^(N+1) µs, so each figure is the upper end of its bucket:
/// at most twice too much. The last of QEMU's buckets takes all that is longer
/// (blocktime_latency_account), so it has no upper end, and what lies in it no figure.
#[must_use]
pub fn from_buckets(buckets: &[u64]) -> FaultLatencies {
    let count = buckets.iter().fold(0u64, |sum, count| sum.saturating_add(*count));
    // In hundredths, as shares of a count.
    let upper = |hundredths: u64| {
        let wanted =
            u64::try_from((u128::from(count) * u128::from(hundredths)).div_ceil(100)).ok()?.max(1);
        let mut seen = 0u64;
        let at = buckets.iter().position(|count| {
            seen = seen.saturating_add(*count);
            seen >= wanted
        })?;
        (at < LAST_BUCKET).then(|| 1 << (at + 1))
    };
    FaultLatencies {
        count,
        p50_us: upper(50),
        p90_us: upper(90),
        p99_us: upper(99),
        max_us: upper(100),
        unpaired: 0,
    }
}

/// Pairs each request with the arrival of its page, by address.
#[must_use]
pub fn from_requests(requests: &[PageRequest]) -> FaultLatencies {
    let Ok(mut histogram) = Histogram::<u64>::new_with_bounds(1, MAX_RECORDED_US, 3) else {
        return FaultLatencies::default();
    };
    let mut open: HashMap<u64, u64> = HashMap::new();
    // An arrival sorts before a request of the same µs; a page that is asked for again first has to
    // have come.
    for request in requests {
        if request.added {
            open.entry(request.address).or_insert(request.wall_us);
        } else if let Some(asked_us) = open.remove(&request.address) {
            histogram.saturating_record(request.wall_us.saturating_sub(asked_us));
        }
    }
    let quantile = |q| (!histogram.is_empty()).then(|| histogram.value_at_quantile(q));
    FaultLatencies {
        count: histogram.len(),
        p50_us: quantile(0.5),
        p90_us: quantile(0.9),
        p99_us: quantile(0.99),
        max_us: quantile(1.0),
        unpaired: u64::try_from(open.len()).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_give_the_upper_end_of_the_bucket() {
        let latencies = from_buckets(&[0, 0, 50, 0, 48, 0, 2]);
        assert_eq!((latencies.count, latencies.p50_us, latencies.p90_us), (100, Some(8), Some(32)));
        assert_eq!((latencies.p99_us, latencies.max_us), (Some(128), Some(128)));
        assert_eq!(from_buckets(&[0; 24]), FaultLatencies::default());
        assert_eq!(from_buckets(&[u64::MAX; 70]).count, u64::MAX);
    }

    #[test]
    fn the_last_bucket_has_no_upper_end() {
        let mut buckets = [0; 24];
        (buckets[10], buckets[23]) = (99, 1);
        let latencies = from_buckets(&buckets);
        assert_eq!(
            (latencies.p50_us, latencies.p99_us, latencies.max_us),
            (Some(2048), Some(2048), None)
        );
    }

    #[test]
    fn requests_are_paired_by_address() {
        let request = |wall_us, address, added| PageRequest { wall_us, address, added };
        let requests = [
            request(10, 1, true),
            request(20, 2, true),
            request(110, 1, false),
            request(120, 9, false),
            request(320, 2, false),
            request(400, 3, true),
        ];
        let latencies = from_requests(&requests);
        assert_eq!(
            (latencies.count, latencies.p50_us, latencies.max_us, latencies.unpaired),
            (2, Some(100), Some(300), 1)
        );
    }
}
