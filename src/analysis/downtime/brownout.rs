//! Stalls outside of the blackout, and the guest's write rate over time.
//!
//! Takes beats as they arrived, when each migration began, stopped, resumed and ended, and what the
//! guest said of its writes; gives stall histograms by phase. Knows nothing of QMP.

use base::units::PAGE_BYTES;
use hdrhistogram::Histogram;
use record::{Beat, Phases, Stalls, WriteRate};
use std::collections::BTreeMap;

/// Longer stalls are counted as this long.
const MAX_STALL_NS: u64 = 3_600_000_000_000;
/// When one migration was where, ns on our clock. `None`: it did not come so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// `migrate` was sent.
    pub started_ns: u64,
    /// STOP on the source.
    pub stop_ns: Option<u64>,
    /// RESUME on the destination.
    pub resume_ns: Option<u64>,
    /// Both sides were done, or it was given up.
    pub ended_ns: u64,
    /// In between the guest ran without all of its memory.
    pub postcopy: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Before,
    Precopy,
    Blackout,
    Postcopy,
    After,
}

/// In which phase a stall lies that ended at `to_ns` and began at `from_ns`.
fn phase(marks: &[Marks], from_ns: u64, to_ns: u64) -> Phase {
    let began = marks.partition_point(|mark| mark.started_ns <= to_ns);
    let Some(mark) = began.checked_sub(1).and_then(|at| marks.get(at)) else {
        return Phase::Before;
    };
    let before = |mark: Option<u64>| mark.is_none_or(|at| to_ns <= at);
    match mark {
        // Whatever takes in any of the blackout is no stall of a running guest.
        mark if mark.stop_ns.is_some_and(|stop| stop < to_ns)
            && mark.resume_ns.is_some_and(|resume| from_ns < resume) =>
        {
            Phase::Blackout
        }
        mark if to_ns > mark.ended_ns => Phase::After,
        mark if before(mark.stop_ns) => Phase::Precopy,
        mark if mark.postcopy => Phase::Postcopy,
        // The source has not heard yet that all is done: nothing to the guest.
        _ => Phase::After,
    }
}

/// Times between beats, raw and corrected for the beats that a stall kept from being due.
#[must_use]
pub fn between_beats(
    beats: &BTreeMap<u32, Vec<Beat>>,
    marks: &[Marks],
    period_us: u64,
) -> (Phases, Phases) {
    let mut arrivals: Vec<u64> = beats.values().flatten().map(|beat| beat.arrived_ns).collect();
    arrivals.sort_unstable();
    let (mut raw, mut corrected) = (ByPhase::new(), ByPhase::new());
    for pair in arrivals.windows(2) {
        let [from_ns, to_ns] = *pair else { continue };
        let phase = phase(marks, from_ns, to_ns);
        raw.record(phase, to_ns - from_ns, None);
        corrected.record(phase, to_ns - from_ns, Some(period_us.saturating_mul(1000)));
    }
    (raw.phases(), corrected.phases())
}

struct ByPhase([Option<Histogram<u64>>; 4], [u64; 4]);

impl ByPhase {
    fn new() -> ByPhase {
        ByPhase(std::array::from_fn(|_| new_histogram()), [0; 4])
    }

    fn record(&mut self, phase: Phase, ns: u64, expected_ns: Option<u64>) {
        let at = match phase {
            Phase::Before => 0,
            Phase::Precopy => 1,
            Phase::Postcopy => 2,
            Phase::After => 3,
            Phase::Blackout => return,
        };
        self.1[at] = self.1[at].saturating_add(ns);
        let Some(histogram) = &mut self.0[at] else { return };
        let ns = ns.clamp(1, MAX_STALL_NS);
        // Within the bounds, so neither fails.
        let _ = match expected_ns.filter(|expected| *expected > 0) {
            Some(expected) => histogram.record_correct(ns, expected),
            None => histogram.record(ns),
        };
    }

    fn phases(&self) -> Phases {
        let at = |index: usize| {
            self.0[index]
                .as_ref()
                .map_or_else(Stalls::default, |histogram| stalls_of(histogram, self.1[index]))
        };
        Phases { before: at(0), precopy: at(1), postcopy: at(2), after: at(3) }
    }
}

fn new_histogram() -> Option<Histogram<u64>> {
    // With bounds: a histogram that grows by itself clamps in `saturating_record` instead of
    // growing.
    Histogram::new_with_bounds(1, MAX_STALL_NS, 3).ok()
}

/// Quantiles of a histogram of ns.
fn stalls_of(histogram: &Histogram<u64>, total_ns: u64) -> Stalls {
    if histogram.is_empty() {
        return Stalls::default();
    }
    let quantile = |q| Some(histogram.value_at_quantile(q) / 1000);
    Stalls {
        count: Some(histogram.len()),
        p50_us: quantile(0.5),
        p90_us: quantile(0.9),
        p99_us: quantile(0.99),
        p999_us: quantile(0.999),
        max_us: Some(histogram.max() / 1000),
        total_us: Some(total_ns / 1000),
    }
}

/// The guest's own histogram: lower bounds of buckets in ns, and counts.
#[must_use]
pub fn of_buckets(buckets: &[(u64, u64)]) -> Stalls {
    let Some(mut histogram) = new_histogram() else { return Stalls::default() };
    let mut total_ns = 0u64;
    for (lower_ns, count) in buckets {
        histogram.saturating_record_n(*lower_ns, *count);
        total_ns = total_ns.saturating_add(lower_ns.saturating_mul(*count));
    }
    stalls_of(&histogram, total_ns)
}

/// What came to a histogram of the guest between two readings of it.
#[must_use]
pub fn since(earlier: &[(u64, u64)], later: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let before: BTreeMap<u64, u64> = earlier.iter().copied().collect();
    let more = |(lower, count): &(u64, u64)| {
        let added = count.saturating_sub(before.get(lower).copied().unwrap_or(0));
        (added > 0).then_some((*lower, added))
    };
    later.iter().filter_map(more).collect()
}

/// The write rate between each two reports of how much was written: (arrival ns, writes), of all
/// VMs.
#[must_use]
pub fn write_rate(reports: &[(u64, u64)], started_ns: u64) -> Vec<WriteRate> {
    let mut reports = reports.to_vec();
    reports.sort_unstable();
    let rate = |pair: &[(u64, u64)]| {
        let [(from_ns, from), (to_ns, to)] = *pair else { return None };
        let nanos = u128::from(to_ns.checked_sub(from_ns).filter(|ns| *ns > 0)?);
        let bytes = u128::from(to.checked_sub(from)?) * u128::from(PAGE_BYTES);
        let middle = i64::try_from(from_ns.midpoint(to_ns)).ok()?;
        Some(WriteRate {
            at_us: (middle - i64::try_from(started_ns).ok()?) / 1000,
            bps: u64::try_from(bytes * 1_000_000_000 / nanos).ok()?,
        })
    };
    reports.windows(2).filter_map(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks = Marks {
        started_ns: 10_000_000,
        stop_ns: Some(20_500_000),
        resume_ns: Some(25_000_000),
        ended_ns: 40_000_000,
        postcopy: true,
    };

    fn beats(arrivals_ms: &[u64]) -> BTreeMap<u32, Vec<Beat>> {
        let beats = arrivals_ms
            .iter()
            .map(|ms| Beat { sequence: 0, arrived_ns: ms * 1_000_000, late_us: 0 })
            .collect();
        BTreeMap::from([(0, beats)])
    }

    #[test]
    fn each_stall_is_in_the_phase_where_it_ended_and_the_blackout_in_none() {
        let beats = beats(&[5, 6, 7, 8, 11, 12, 20, 26, 36, 41, 42]);
        let (raw, corrected) = between_beats(&beats, &[MARKS], 1000);
        let counts = |phases: &Phases| {
            [phases.before, phases.precopy, phases.postcopy, phases.after]
                .map(|stalls| stalls.count)
        };
        assert_eq!(counts(&raw), [Some(3), Some(3), Some(1), Some(2)]);
        // 3, 1 and 8 ms: 2 and 1, and 7 to 1 ms besides. 10 ms: 9 to 1.
        assert_eq!(counts(&corrected), [Some(3), Some(3 + 2 + 7), Some(1 + 9), Some(2 + 4)]);
        let (precopy, _) = between_beats(&beats, &[Marks { postcopy: false, ..MARKS }], 1000);
        assert_eq!(counts(&precopy), [Some(3), Some(3), None, Some(3)]);
        let near =
            |us: Option<u64>, wanted: u64| us.is_some_and(|us| us.abs_diff(wanted) <= wanted / 500);
        assert!(near(raw.postcopy.max_us, 10_000) && near(raw.precopy.total_us, 12_000), "{raw:?}");
    }

    #[test]
    fn a_histogram_read_twice_gives_what_came_in_between() {
        assert_eq!(
            since(&[(100, 5), (200, 1)], &[(100, 7), (200, 1), (9000, 2)]),
            [(100, 2), (9000, 2)]
        );
        let stalls = of_buckets(&[(300, 98), (5_000_000, 1), (40_000_000, 1)]);
        assert_eq!((stalls.count, stalls.p50_us), (Some(100), Some(0)));
        assert!(stalls.max_us.is_some_and(|max| (40_000..40_040).contains(&max)), "{stalls:?}");
        assert_eq!(of_buckets(&[]), Stalls::default());
    }

    #[test]
    fn the_write_rate_is_taken_between_reports_whatever_their_order() {
        let rates =
            write_rate(&[(200_000_000, 300), (100_000_000, 100), (200_000_000, 300)], 50_000_000);
        assert_eq!(rates, [WriteRate { at_us: 100_000, bps: 200 * 4096 * 10 }]);
    }
}
