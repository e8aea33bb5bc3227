//! Figures that are gathered while the samples of a run go by once.

use analysis::Watch;
use base::Side;
use qmp::RamStats;
use record::{ConvergenceSample, SampleRow};

/// Two samples must be this far apart to give a rate: QEMU's own quantum is 100 ms, and over less,
/// bursts look like rates.
const RATE_SPAN_NS: u64 = 50_000_000;

/// What was gathered.
#[derive(Clone, Debug, Default)]
pub(super) struct Digest {
    /// QEMU's `downtime`, ms, as first seen: QEMU may overwrite it later
    /// (docs/qemu-notes.md, "What QEMU reports as downtime").
    pub(super) reported_ms: Option<u64>,
    /// A first value was not believed, because it exceeded the whole migration (7.2: the host's
    /// uptime, 2 of 20 runs).
    pub(super) reported_absurd: Option<u64>,
    /// The last statistics of the source's RAM.
    pub(super) ram: Option<RamStats>,
    /// `postcopy-blocktime` of the destination, ms.
    pub(super) blocktime_ms: Option<u64>,
    /// The highest rate, bytes a second.
    pub(super) peak_bps: Option<u64>,
    /// The syncs of the dirty bitmap.
    pub(super) watch: Watch,
    from: Option<(u64, u64)>,
}

impl Digest {
    /// Looks at the next sample.
    pub(super) fn look(&mut self, row: &SampleRow) {
        ConvergenceSample::of(row).iter().for_each(|sample| self.watch.look(sample));
        match row.side {
            Side::Source => self.look_at_source(row),
            Side::Destination => {
                self.blocktime_ms = row.info.postcopy_blocktime.or(self.blocktime_ms);
            }
        }
    }

    fn look_at_source(&mut self, row: &SampleRow) {
        self.reported(row.info.downtime, row.info.total_time);
        let Some(ram) = &row.info.ram else { return };
        if let Some(bytes) = ram.transferred {
            match self.from {
                Some((at_ns, before)) if row.received_ns - at_ns >= RATE_SPAN_NS => {
                    let nanos = u128::from(row.received_ns - at_ns);
                    let rate = u128::from(bytes.saturating_sub(before)) * 1_000_000_000 / nanos;
                    self.peak_bps = self.peak_bps.max(u64::try_from(rate).ok());
                    self.from = Some((row.received_ns, bytes));
                }
                None => self.from = Some((row.received_ns, bytes)),
                Some(_) => {}
            }
        }
        self.ram = Some(ram.clone());
    }

    /// Takes QEMU's `downtime` unless it is longer than the whole migration, which cannot be.
    pub(super) fn reported(&mut self, downtime_ms: Option<u64>, total_ms: Option<u64>) {
        match (downtime_ms, total_ms) {
            (Some(downtime), Some(total)) if downtime > total => {
                self.reported_absurd.get_or_insert(downtime);
            }
            (Some(downtime), _) if self.reported_absurd.is_none() => {
                self.reported_ms.get_or_insert(downtime);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qmp::MigrationInfo;

    fn row(at_ms: u64, downtime: Option<u64>, transferred: u64) -> SampleRow {
        let ram = RamStats { transferred: Some(transferred), ..RamStats::default() };
        let info = MigrationInfo {
            downtime,
            total_time: Some(at_ms),
            ram: Some(ram),
            ..MigrationInfo::default()
        };
        SampleRow { side: Side::Source, sent_ns: 0, received_ns: at_ms * 1_000_000, pass: 1, info }
    }

    #[test]
    fn the_first_downtime_counts_and_not_what_overwrites_it() {
        let mut digest = Digest::default();
        for sample in [row(10, None, 0), row(20, Some(0), 0), row(1200, Some(1101), 0)] {
            digest.look(&sample);
        }
        assert_eq!((digest.reported_ms, digest.reported_absurd), (Some(0), None));
    }

    #[test]
    fn a_downtime_longer_than_the_migration_is_not_believed() {
        let mut digest = Digest::default();
        digest.look(&row(20, Some(1_385_513), 0));
        digest.look(&row(30, Some(5), 0));
        assert_eq!((digest.reported_ms, digest.reported_absurd), (None, Some(1_385_513)));
    }

    #[test]
    fn the_peak_is_over_50_ms_at_least() {
        let mut digest = Digest::default();
        for sample in [
            row(0, None, 0),
            row(1, None, 1_000_000),
            row(100, None, 1_000_000),
            row(200, None, 6_000_000),
        ] {
            digest.look(&sample);
        }
        assert_eq!(digest.peak_bps, Some(50_000_000));
    }
}
