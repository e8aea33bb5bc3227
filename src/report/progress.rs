//! The line that a person watches while a migration goes on. Pure.

use crate::drive::{Phase, Progress};
use crate::units::{human_bytes, human_micros};
use std::fmt::Write;

/// A pass must leave at least this much less than the one before, or it does not count as progress.
const FALLS_BY: f64 = 0.95;
/// So many passes without progress are called "not converging".
const PASSES_WITHOUT_PROGRESS: u32 = 3;

/// Remembers what the line needs from one moment to the next.
#[derive(Clone, Debug, Default)]
pub struct ProgressLine {
    pass: u64,
    left_at_pass: Option<u64>,
    without_progress: u32,
    remaining: Option<u64>,
    bytes_per_second: Option<f64>,
    throttle: Option<u64>,
}

impl ProgressLine {
    /// The line for what is known now.
    pub fn update(&mut self, now: &Progress) -> String {
        self.learn(now);
        let elapsed = human_micros(now.elapsed_us);
        match now.phase {
            Phase::Precopy => {
                format!("pre-copy    {elapsed:>8}  pass {}{}", now.pass, self.transfer())
            }
            Phase::Switchover => format!("switchover  {elapsed:>8}  the guest is stopped"),
            Phase::Postcopy => format!(
                "post-copy   {elapsed:>8}  the guest runs on the destination{}",
                self.transfer()
            ),
            Phase::Cancelling => format!("cancelling  {elapsed:>8}  the guest stays on the source"),
            Phase::OtherSide => format!("completing  {elapsed:>8}  one side is done"),
            Phase::Alone => format!("completing  {elapsed:>8}  the source cannot be asked"),
            Phase::Doubt => format!(
                "in doubt    {elapsed:>8}  the source failed; which side has the guest is asked"
            ),
            Phase::Ended => format!("ended       {elapsed:>8}"),
        }
    }

    fn learn(&mut self, now: &Progress) {
        let Some(info) = &now.source else { return };
        self.throttle = info.cpu_throttle_percentage.filter(|percent| *percent > 0);
        let Some(ram) = &info.ram else { return };
        self.remaining = ram.remaining;
        self.bytes_per_second = ram.mbps.filter(|mbps| *mbps > 0.0).map(|mbps| mbps * 125_000.0);
        // `remaining` is exact just after a pass boundary only, so that is where passes are compared.
        if now.pass > self.pass {
            self.pass = now.pass;
            #[expect(clippy::cast_precision_loss, reason = "bytes of RAM fit into 53 bits")]
            let fell = match (self.left_at_pass, ram.remaining) {
                (Some(before), Some(left)) => (left as f64) < before as f64 * FALLS_BY,
                _ => true,
            };
            self.without_progress = if fell { 0 } else { self.without_progress + 1 };
            self.left_at_pass = ram.remaining;
        }
    }

    fn transfer(&self) -> String {
        let mut text = String::new();
        if let Some(remaining) = self.remaining {
            let _ = write!(text, "  {} to go", human_bytes(remaining));
        }
        if let Some(rate) = self.bytes_per_second {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a positive rate of far less than 2^64"
            )]
            let whole = rate as u64;
            let _ = write!(text, "  {}/s", human_bytes(whole));
        }
        if let Some(percent) = self.throttle {
            let _ = write!(text, "  guest throttled by {percent} %");
        }
        text.push_str(&self.outlook());
        text
    }

    fn outlook(&self) -> String {
        if self.without_progress >= PASSES_WITHOUT_PROGRESS {
            return "  not converging".to_owned();
        }
        match (self.remaining, self.bytes_per_second) {
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "an estimate for people; `as` saturates"
            )]
            (Some(remaining), Some(rate)) if remaining > 0 => {
                format!("  ETA {}", human_micros((remaining as f64 / rate * 1e6) as u64))
            }
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qmp::{MigrationInfo, RamStats};

    fn at(pass: u64, remaining: u64) -> Progress {
        let ram = RamStats { remaining: Some(remaining), mbps: Some(800.0), ..RamStats::default() };
        let source = Some(MigrationInfo { ram: Some(ram), ..MigrationInfo::default() });
        Progress { phase: Phase::Precopy, elapsed_us: 1_200_000, pass, source }
    }

    #[test]
    fn an_estimate_while_it_converges_and_the_truth_when_not() {
        let mut line = ProgressLine::default();
        insta::assert_snapshot!(line.update(&at(1, 100 << 20)), @"pre-copy      1.20 s  pass 1  100 MiB to go  95.4 MiB/s  ETA 1.05 s");
        for pass in 2..5 {
            line.update(&at(pass, 99 << 20));
        }
        insta::assert_snapshot!(line.update(&at(5, 99 << 20)), @"pre-copy      1.20 s  pass 5  99.0 MiB to go  95.4 MiB/s  not converging");
        assert!(line.update(&at(6, 50 << 20)).contains("ETA"), "one pass of progress ends it");
    }
}
