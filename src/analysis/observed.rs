//! What a run shows of itself: what was pending after each sync, how fast it was sent. And the
//! workload that would do the same.
//!
//! `ram.remaining` is a saw-tooth: between two syncs QEMU subtracts what it sends and does not know
//! what is dirtied. Only the first sample after each sync is read, and what was sent since the one
//! before is added. A sync is told by `dirty-sync-count`, which counts from 1 up to 10.0 and from 2
//! in 11.1.

use model::fit;
use model::{Class, PAGE, Workload};
use record::{ConvergenceSample, RecordError, Run};

/// Of the last passes, so that what the guest does now counts.
const LOOK_BACK: usize = 40;
/// A first sample with less sent than this share of RAM was there at the beginning.
const FROM_THE_BEGINNING: f64 = 0.05;

/// A sync.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pass {
    /// Since the first sample that was active, s.
    pub at: f64,
    /// `ram.remaining` right after it, bytes.
    pub pending: f64,
    /// `ram.transferred` by then.
    pub sent: f64,
}

/// What was seen of a migration from its source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// In the order of time. The first is the beginning.
    pub passes: Vec<Pass>,
    /// Samples that were looked at.
    pub samples: u64,
    /// Bytes a second, over all passes.
    pub bandwidth: Option<f64>,
    /// QEMU's last `expected-downtime`, s.
    pub expected_downtime: Option<f64>,
    /// The last throttle, a share.
    pub throttle: f64,
    /// Guest RAM, bytes.
    pub ram: f64,
    /// The last sample: since the first, s, and bytes sent.
    pub last: Option<(f64, f64)>,
}

/// Looks at all samples of a run. One that was cut off is read as far as it goes.
///
/// # Errors
/// [`RecordError`] if there are none to be read.
pub fn observed(run: &Run) -> Result<Observed, RecordError> {
    let mut watch = Watch::default();
    run.convergence_samples(|sample| watch.look(&sample))?;
    Ok(watch.end())
}

/// Looks at samples, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    seen: Observed,
    count: Option<u64>,
    first_ns: Option<u64>,
}

impl Watch {
    /// Looks at the next.
    pub fn look(&mut self, sample: &ConvergenceSample) {
        let (Some(remaining), Some(sent), Some(syncs)) =
            (sample.remaining, sample.transferred, sample.syncs)
        else {
            return;
        };
        let at = sample.received_ns.saturating_sub(*self.first_ns.get_or_insert(sample.received_ns))
            as f64
            / 1e9;
        let seen = &mut self.seen;
        seen.samples += 1;
        let sent_before = seen.last.map_or(sent as f64, |(_, sent)| sent);
        seen.ram = sample.total.unwrap_or(0) as f64;
        seen.throttle = sample.throttle.unwrap_or(0) as f64 / 100.0;
        seen.expected_downtime = sample.expected_downtime.map(|ms| ms as f64 / 1000.0);
        seen.last = Some((at, sent as f64));
        if self.count != Some(syncs) {
            self.count = Some(syncs);
            // It was sent since the sync: where max-bandwidth binds, QEMU sends a window's budget
            // at once, and then sleeps.
            let since = (sent as f64 - sent_before) * PAGE / (PAGE + 8.0);
            seen.passes.push(Pass { at, pending: remaining as f64 + since, sent: sent_before });
        }
    }

    /// What was seen so far; the bandwidth is only known at the end.
    #[must_use]
    pub fn seen(&self) -> &Observed {
        &self.seen
    }

    /// All of it.
    #[must_use]
    pub fn end(mut self) -> Observed {
        let (first, last) = (self.seen.passes.get(1), self.seen.passes.last());
        self.seen.bandwidth = match (first, last) {
            (Some(first), Some(last)) if last.at > first.at => {
                Some((last.sent - first.sent) / (last.at - first.at))
            }
            _ => self.seen.last.filter(|(at, _)| *at > 0.0).map(|(at, sent)| sent / at),
        };
        self.seen
    }
}

impl Observed {
    /// Passes after the first.
    #[must_use]
    pub fn later(&self) -> usize {
        self.passes.len().saturating_sub(1)
    }

    /// What the first pass sent: of a migration that was seen from its beginning, what is not zero.
    #[must_use]
    pub fn filled(&self) -> Option<f64> {
        let began =
            self.passes.first().filter(|first| first.sent < self.ram * FROM_THE_BEGINNING)?;
        self.passes.get(1).map(|pass| (pass.sent - began.sent).min(self.ram))
    }

    /// What it came down to: the least of the last passes.
    #[must_use]
    pub fn floor(&self) -> Option<f64> {
        let later = self.passes.get(1..)?;
        let last = &later[later.len().saturating_sub(LOOK_BACK)..];
        last.iter().map(|pass| pass.pending).min_by(f64::total_cmp)
    }

    /// Uniform writes that would leave as much pending after each pass as was seen: two passes at
    /// least, for there are two unknowns.
    #[must_use]
    pub fn fitted(&self) -> Option<Workload> {
        let steps = self.steps();
        if steps.len() < 2 {
            return None;
        }
        let least = steps.iter().map(|step| step.after).fold(PAGE, f64::max);
        let most = self.ram.max(least * 1.001);
        let error = |set: f64, rate: f64| -> f64 {
            let class = Class { bytes: set, rate };
            steps
                .iter()
                .map(|step| {
                    (class.after(step.left.min(set), step.seconds, 1.0, false)
                        / step.after.max(PAGE))
                    .ln()
                    .powi(2)
                })
                .sum()
        };
        let longest = steps.iter().map(|step| step.seconds).fold(0.0, f64::max);
        let (bytes, rate) = fit(least, most, longest, error)?;
        Some(Workload { classes: vec![Class { bytes, rate }], sequential: false, slack: 1.0 })
    }

    fn steps(&self) -> Vec<Step> {
        let steps = self.passes.windows(2).map(|pair| Step {
            left: (pair[0].pending - (pair[1].sent - pair[0].sent) * PAGE / (PAGE + 8.0)).max(0.0),
            seconds: pair[1].at - pair[0].at,
            after: pair[1].pending,
        });
        // In the first pass what is left is mostly pages that were never written.
        let steps: Vec<Step> = steps
            .enumerate()
            .map(|(index, step)| if index == 0 { Step { left: 0.0, ..step } } else { step })
            .collect();
        let steps: Vec<Step> =
            steps.into_iter().filter(|step| step.seconds > 0.0 && step.after > 0.0).collect();
        steps[steps.len().saturating_sub(LOOK_BACK)..].to_vec()
    }
}

/// From one sync to the next.
#[derive(Clone, Copy)]
struct Step {
    left: f64,
    seconds: f64,
    after: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Syncs of a guest that is known, at 100 MB/s with a threshold of 30 MB.
    fn of(set: f64, rate: f64) -> Observed {
        let class = Class { bytes: set, rate };
        let (mut pending, mut at, mut sent) = (set, 0.0, 0.0);
        let mut passes = vec![Pass { at, pending, sent }];
        for pass in 0..20 {
            let seconds = if pass == 0 {
                1.0
            } else {
                0.1 * ((pending - 30e6) / 10e6).floor().max(0.0) + 0.1
            };
            let gone = (seconds * 100e6).min(pending);
            let left = if pass == 0 { 0.0 } else { pending - gone };
            (pending, at, sent) = (
                class.after(left, seconds, 1.0, false),
                at + seconds,
                sent + gone * (PAGE + 8.0) / PAGE,
            );
            passes.push(Pass { at, pending, sent });
        }
        Observed { passes, ram: 256e6, ..Observed::default() }
    }

    #[test]
    fn the_workload_is_found_again() {
        for (set, rate) in [(100e6, 150e6), (64e6, 300e6), (120e6, 110e6)] {
            let found = of(set, rate).fitted().unwrap();
            assert!((found.working_set() / set - 1.0).abs() < 0.03, "{set} {rate}: {found:?}");
            assert!((found.rate() / rate - 1.0).abs() < 0.06, "{set} {rate}: {found:?}");
        }
    }

    #[test]
    fn one_pass_tells_nothing() {
        let mut seen = of(100e6, 150e6);
        seen.passes.truncate(2);
        assert_eq!(seen.fitted(), None);
        assert_eq!(Observed::default().floor(), None);
    }
}
