//! The blackout as the guest's beats show it.
//!
//! Takes the beats of both VMs around a switchover; gives how long the guest's clock stood still,
//! and the gap that was seen. Knows nothing of QMP.
//!
//! A gap between the last beat on the source and the first on the destination is longer than the
//! blackout: the guest ran for a while after the one and before the other, and both were stamped by
//! a thread of ours that had to be woken. Under TCG the guest's TSC stands still in the blackout
//! and runs otherwise, stalls on missing pages included (cpu_disable_ticks and cpu_enable_ticks in
//! system/cpus.c). So the guest's clock is a ruler: arrival minus guest time is one
//! constant on the source and a greater one on the destination, the difference is the blackout, and
//! of many beats the one that was delayed least tells each constant best.

use record::Beat;

/// Beats on each side that are compared: enough that one of them was hardly delayed, also while
/// post-copy keeps the machine busy.
const NEAR: usize = 64;
/// The guest measures its TSC against the PIT, off by 120 to 370 ppm here
/// (fixtures/guest/README.md): over the beats that are compared.
const CALIBRATION_PPM: u64 = 400;
/// Sequence numbers are counted modulo this.
const MODULUS: u8 = 128;
/// A beat is said to be late if it is by more than this part of the period.
const TOLD_IF_LATER_BY: u64 = 16;

/// The blackout by heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeartbeatBlackout {
    /// Its length, µs.
    pub us: u64,
    /// How far off that may be, µs.
    pub uncertainty_us: u64,
    /// The gap as it was seen, µs.
    pub gap_us: u64,
    /// The last beat on the source, ns on our monotonic clock.
    pub from_ns: u64,
    /// The first on the destination.
    pub to_ns: u64,
    /// Beats that were sent and did not arrive.
    pub lost: u64,
    /// Beats that arrived twice.
    pub duplicated: u64,
    /// The guest says that it ran for longer than the gap: it has forgotten which beat it sent
    /// last, which only a guest does whose memory is wrong. Its clock tells nothing then.
    pub impossible: bool,
}

/// A beat in the guest's own time.
struct GuestTimedBeat {
    guest_us: i64,
    arrived_us: i64,
}

/// `stands_still`: the guest's clock stands still in the blackout (TCG). Where nobody knows (KVM),
/// the gap less half a period at both ends together is all that can be said.
#[must_use]
pub fn blackout(
    source: &[Beat],
    destination: &[Beat],
    period_us: u64,
    stands_still: bool,
) -> Option<HeartbeatBlackout> {
    let (last, first) = (source.last()?, destination.first()?);
    let gap_us = first.arrived_ns.checked_sub(last.arrived_ns)? / 1000;
    let before = &source[source.len().saturating_sub(NEAR)..];
    let after = &destination[..destination.len().min(NEAR)];
    let (told, lost, duplicated) = in_guest_time(before, after, period_us);
    let seen = HeartbeatBlackout {
        gap_us,
        from_ns: last.arrived_ns,
        to_ns: first.arrived_ns,
        lost,
        duplicated,
        ..Default::default()
    };
    if !stands_still {
        let half = period_us.div_ceil(2);
        return Some(HeartbeatBlackout {
            us: gap_us.saturating_sub(half),
            uncertainty_us: half,
            ..seen
        });
    }
    let [(from, from_noise), (to, to_noise)] = told.map(|beats| least_delayed(&beats));
    let stood_still = to?.checked_sub(from?)?;
    let drift_us = period_us.saturating_mul(NEAR as u64) * CALIBRATION_PPM / 1_000_000;
    let uncertainty_us = (period_us / TOLD_IF_LATER_BY)
        .saturating_add(drift_us)
        .saturating_add(from_noise)
        .saturating_add(to_noise);
    // The guest's clock may seem to run backwards by noise, never by more; a blackout is not
    // negative.
    let us = u64::try_from(stood_still.max(0)).ok()?.min(gap_us.saturating_add(uncertainty_us));
    let impossible =
        stood_still < 0 && stood_still.unsigned_abs() > uncertainty_us.saturating_add(period_us);
    Some(HeartbeatBlackout { us, uncertainty_us, impossible, ..seen })
}

/// Slots by the sequence numbers, as the guest counts them: after a beat that is late by L, L /
/// period slots are left out.
fn in_guest_time(
    before: &[Beat],
    after: &[Beat],
    period_us: u64,
) -> ([Vec<GuestTimedBeat>; 2], u64, u64) {
    let period = i64::try_from(period_us).unwrap_or(i64::MAX).max(1);
    let (mut lost, mut duplicated) = (0, 0);
    let mut slot: i64 = 0;
    let mut previous: Option<&Beat> = None;
    let mut sides = [Vec::new(), Vec::new()];
    for (side, beat) in
        before.iter().map(|beat| (0, beat)).chain(after.iter().map(|beat| (1, beat)))
    {
        if let Some(previous) = previous {
            let steps = (beat.sequence + MODULUS - previous.sequence % MODULUS) % MODULUS;
            if steps == 0 {
                duplicated += 1;
                continue;
            }
            lost += u64::from(steps - 1);
            slot = slot
                .saturating_add(i64::from(steps))
                .saturating_add(i64::from(previous.late_us) / period);
        }
        previous = Some(beat);
        let guest_us = slot.saturating_mul(period).saturating_add(i64::from(beat.late_us));
        let arrived_us = i64::try_from(beat.arrived_ns / 1000).unwrap_or(i64::MAX);
        sides[side].push(GuestTimedBeat { guest_us, arrived_us });
    }
    (sides, lost, duplicated)
}

/// Arrival minus guest time of the beat that was delayed least, and how much more the median of
/// them was delayed: on a busy machine nobody can say that the least was none.
fn least_delayed(beats: &[GuestTimedBeat]) -> (Option<i64>, u64) {
    let mut all: Vec<i64> =
        beats.iter().map(|beat| beat.arrived_us.saturating_sub(beat.guest_us)).collect();
    all.sort_unstable();
    let noise = match all.as_slice() {
        [first, .., last] => all.get(all.len() / 2).unwrap_or(last).abs_diff(*first),
        // One beat alone cannot say how much it was delayed.
        _ => 1000,
    };
    (all.first().copied(), noise)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A guest that beats each `period`, is stopped once for `blackout` and stalls for `stall` of
    /// its own time right after.
    fn story(period: u64, blackout: u64, lead: u64, stall: u64, delays: &[u64]) -> [Vec<Beat>; 2] {
        let mut sides = [Vec::new(), Vec::new()];
        let stop = 20 * period + lead;
        let mut slot = 0u64;
        for (sequence, delay) in (0u8..).zip(delays) {
            let due = slot * period;
            // Nothing is sent while it stalls.
            let sent = if due > stop && due < stop + stall { stop + stall } else { due };
            let late = sent - due;
            let arrived = 1_000_000 + sent + if sent > stop { blackout } else { 0 } + delay;
            let late_us =
                if late * TOLD_IF_LATER_BY > period { u32::try_from(late).unwrap() } else { 0 };
            sides[usize::from(sent > stop)].push(Beat {
                sequence: sequence % 128,
                arrived_ns: arrived * 1000,
                late_us,
            });
            slot += 1 + late / period;
        }
        sides
    }

    #[test]
    fn lead_tail_and_first_faults_are_not_taken_for_blackout() {
        let [source, destination] = story(1000, 5000, 300, 12_345, &[0; 60]);
        let seen = blackout(&source, &destination, 1000, true).unwrap();
        assert_eq!((seen.us, seen.lost, seen.duplicated), (5000, 0, 0));
        assert!(seen.gap_us > 17_000, "{seen:?}");
    }

    #[test]
    fn lost_and_duplicated_beats_are_counted_and_change_nothing() {
        let [mut source, mut destination] = story(1000, 5000, 300, 0, &[0; 60]);
        source.remove(source.len() - 3);
        destination.insert(3, destination[2]);
        let seen = blackout(&source, &destination, 1000, true).unwrap();
        assert_eq!((seen.us, seen.lost, seen.duplicated), (5000, 1, 1));
    }

    #[test]
    fn a_guest_that_claims_to_have_run_for_longer_than_the_gap_is_not_believed() {
        let [source, mut destination] = story(1000, 5000, 300, 0, &[0; 60]);
        assert!(!blackout(&source, &destination, 1000, true).unwrap().impossible);
        destination.iter_mut().for_each(|beat| beat.sequence = (beat.sequence + 41) % MODULUS);
        assert!(blackout(&source, &destination, 1000, true).unwrap().impossible);
    }

    #[test]
    fn where_the_guests_clock_may_run_on_only_the_gap_is_known() {
        let [source, destination] = story(1000, 5000, 300, 0, &[0; 60]);
        let seen = blackout(&source, &destination, 1000, false).unwrap();
        assert_eq!((seen.gap_us, seen.us, seen.uncertainty_us), (6000, 5500, 500));
        assert_eq!(blackout(&[], &destination, 1000, true), None);
    }

    proptest! {
        #[test]
        fn delays_of_our_own_are_within_the_uncertainty(
            blackout_us in 0u64..400_000, lead in 1u64..1000, stall in 0u64..50_000, delays in prop::collection::vec(0u64..900, 80),
        ) {
            let [source, destination] = story(1000, blackout_us, lead, stall, &delays);
            let seen = blackout(&source, &destination, 1000, true).unwrap();
            let least = |beats: &[Beat], of: &[u64]| beats.iter().zip(of).map(|(_, delay)| *delay).min().unwrap_or(0);
            let bound = seen.uncertainty_us + 900 - least(&[], &delays).min(900);
            prop_assert!(seen.us.abs_diff(blackout_us) <= bound, "{seen:?} of {blackout_us}");
        }

        #[test]
        fn no_beats_make_it_panic_or_absurd(
            beats in prop::collection::vec((any::<u8>(), 0u64..u64::MAX / 2, any::<u32>()), 0..40), cut in 0usize..40, period in 0u64..10_000_000,
        ) {
            let mut beats: Vec<Beat> =
                beats.into_iter().map(|(sequence, arrived_ns, late_us)| Beat { sequence: sequence % 128, arrived_ns, late_us }).collect();
            beats.sort_by_key(|beat| beat.arrived_ns);
            let (source, destination) = beats.split_at(cut.min(beats.len()));
            if let Some(seen) = blackout(source, destination, period, true) {
                prop_assert!(seen.us <= seen.gap_us + seen.uncertainty_us);
            }
        }
    }
}
