//! The progress line of a running migration. Reads no clock and prints nothing.

use base::units::{human_bytes, human_micros};
use migrate::drive::{Phase, Progress};
use std::fmt::Write;

/// A pass makes progress if it leaves less than this share of the bytes that the previous one left.
const MAX_REMAINING_SHARE: f64 = 0.95;
/// After this many passes without progress the line says "not converging".
const MAX_PASSES_WITHOUT_PROGRESS: u32 = 3;

/// Formats the progress line, and keeps what it needs of earlier updates.
#[derive(Clone, Debug, Default)]
pub struct ProgressLine {
    pass: u64,
    remaining_at_pass: Option<u64>,
    passes_without_progress: u32,
    remaining: Option<u64>,
    bytes_per_second: Option<f64>,
    throttle: Option<u64>,
}

impl ProgressLine {
    /// Returns the line for the current progress.
    pub fn update(&mut self, now: &Progress) -> String {
        self.record(now);
        let elapsed = human_micros(now.elapsed_us);
        match now.phase {
            Phase::Precopy => {
                format!("pre-copy    {elapsed:>8}  pass {}{}", now.pass, self.format_transfer())
            }
            Phase::Switchover => format!("switchover  {elapsed:>8}  the guest is stopped"),
            Phase::Postcopy => format!(
                "post-copy   {elapsed:>8}  the guest runs on the destination{}",
                self.format_transfer()
            ),
            Phase::Cancelling => format!("cancelling  {elapsed:>8}  the guest stays on the source"),
            Phase::AwaitingPeer => format!("completing  {elapsed:>8}  one side has finished"),
            Phase::PeerUnreachable => {
                format!("completing  {elapsed:>8}  the source does not answer")
            }
            Phase::SplitBrain => format!(
                "checking    {elapsed:>8}  the source failed; asking both sides who has the guest"
            ),
            Phase::Ended => format!("ended       {elapsed:>8}"),
        }
    }

    fn record(&mut self, now: &Progress) {
        let Some(info) = &now.source else { return };
        self.throttle = info.cpu_throttle_percentage.filter(|percent| *percent > 0);
        let Some(ram) = &info.ram else { return };
        self.remaining = ram.remaining;
        self.bytes_per_second = ram.mbps.filter(|mbps| *mbps > 0.0).map(|mbps| mbps * 125_000.0);
        // `remaining` is exact only just after the boundary of a pass, so passes are compared
        // there.
        if now.pass > self.pass {
            self.pass = now.pass;
            #[expect(clippy::cast_precision_loss, reason = "bytes of RAM fit into 53 bits")]
            let has_progress = match (self.remaining_at_pass, ram.remaining) {
                (Some(before), Some(now)) => (now as f64) < before as f64 * MAX_REMAINING_SHARE,
                _ => true,
            };
            self.passes_without_progress =
                if has_progress { 0 } else { self.passes_without_progress + 1 };
            self.remaining_at_pass = ram.remaining;
        }
    }

    fn format_transfer(&self) -> String {
        let mut text = String::new();
        if let Some(remaining) = self.remaining {
            let _ = write!(text, "  {} left", human_bytes(remaining));
        }
        if let Some(rate) = self.bytes_per_second {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a positive rate of far less than 2^64"
            )]
            let bytes_per_second = rate as u64;
            let _ = write!(text, "  {}/s", human_bytes(bytes_per_second));
        }
        if let Some(percent) = self.throttle {
            let _ = write!(text, "  guest throttled by {percent} %");
        }
        text.push_str(&self.format_outlook());
        text
    }

    fn format_outlook(&self) -> String {
        if self.passes_without_progress >= MAX_PASSES_WITHOUT_PROGRESS {
            return "  not converging".to_owned();
        }
        match (self.remaining, self.bytes_per_second) {
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "an estimate for display; `as` saturates"
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
    use qmp::{MigrationInfo, RamStats};

    fn at(pass: u64, remaining: u64) -> Progress {
        let ram = RamStats { remaining: Some(remaining), mbps: Some(800.0), ..RamStats::default() };
        let source = Some(MigrationInfo { ram: Some(ram), ..MigrationInfo::default() });
        Progress { phase: Phase::Precopy, elapsed_us: 1_200_000, pass, source }
    }

    #[test]
    fn shows_an_estimate_while_it_converges_and_says_if_it_does_not() {
        let mut line = ProgressLine::default();
        assert_eq!(
            line.update(&at(1, 100 << 20)),
            "pre-copy      1.20 s  pass 1  100 MiB left  95.4 MiB/s  ETA 1.05 s"
        );
        for pass in 2..5 {
            line.update(&at(pass, 99 << 20));
        }
        assert_eq!(
            line.update(&at(5, 99 << 20)),
            "pre-copy      1.20 s  pass 5  99.0 MiB left  95.4 MiB/s  not converging"
        );
        assert!(line.update(&at(6, 50 << 20)).contains("ETA"), "one pass with progress is enough");
    }
}
