//! The textbook model, for comparison: each round sends all pages that were dirtied during the
//! round before, and the guest is stopped when the dirty pages can be sent within the
//! downtime-limit (Clark et al. 2005; Liu et al. 2011, counting unique pages).

use super::setup::Setup;
use super::workload::PAGE;

const ROUNDS: u32 = 10_000;

/// What it says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Textbook {
    /// Whether it converges.
    pub converges: bool,
    /// From active to completed, or to the time-out, s.
    pub total: f64,
    /// Bytes sent.
    pub bytes: f64,
    /// What is left for the blackout, or what it comes down to, over the bandwidth, s.
    pub expected_downtime: f64,
}

/// Runs it.
#[must_use]
pub fn textbook(setup: &Setup) -> Textbook {
    let bandwidth = setup.bandwidth().0 * PAGE / (PAGE + 8.0);
    let threshold = setup.threshold();
    let (mut total, mut bytes) = (0.0, 0.0);
    let mut left = setup.filled.max(setup.workload.working_set());
    for _ in 0..ROUNDS {
        let seconds = left / bandwidth;
        if left <= threshold {
            return Textbook {
                converges: true,
                total: total + seconds,
                bytes: bytes + left,
                expected_downtime: seconds,
            };
        }
        total += seconds;
        bytes += left;
        let next = setup.workload.dirtied(seconds);
        if total >= setup.timeout || (next - left).abs() < left * 1e-6 {
            let expected_downtime = next / bandwidth;
            return Textbook {
                converges: false,
                total: setup.timeout,
                bytes: setup.timeout * bandwidth,
                expected_downtime,
            };
        }
        left = next;
    }
    Textbook { converges: false, total: setup.timeout, bytes, expected_downtime: left / bandwidth }
}
