//! What tells of convergence in a sample, and no more: a run with a million samples is read in a
//! second, not in ten.

use super::{RecordError, SampleRow, samples};
use base::Side;
use qmp::Status;
use serde::Deserialize;
use std::borrow::Cow;
use std::path::Path;

/// QEMU's word for [`Status::Active`].
pub(super) const ACTIVE: &str = "active";

/// The columns of the source while it is active; what QEMU did not say is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConvergenceSample {
    /// When QEMU had answered, ns on the monotonic clock.
    pub received_ns: u64,
    /// `ram.transferred`.
    pub transferred: Option<u64>,
    /// `ram.remaining`.
    pub remaining: Option<u64>,
    /// `ram.total`.
    pub total: Option<u64>,
    /// `ram.dirty-sync-count`.
    pub syncs: Option<u64>,
    /// `expected-downtime`, ms.
    pub expected_downtime: Option<u64>,
    /// `cpu-throttle-percentage`.
    pub throttle: Option<u64>,
}

impl ConvergenceSample {
    /// Of a sample; `None` if it is not of a source that is active.
    #[must_use]
    pub fn of(row: &SampleRow) -> Option<ConvergenceSample> {
        let ram = row.info.ram.as_ref();
        (row.side == Side::Source && row.info.status == Some(Status::Active)).then(|| {
            ConvergenceSample {
                received_ns: row.received_ns,
                transferred: ram.and_then(|ram| ram.transferred),
                remaining: ram.and_then(|ram| ram.remaining),
                total: ram.and_then(|ram| ram.total),
                syncs: ram.and_then(|ram| ram.dirty_sync_count),
                expected_downtime: row.info.expected_downtime,
                throttle: row.info.cpu_throttle_percentage,
            }
        })
    }
}

/// Only what is looked at, so that the rest of a line is passed over.
#[derive(Deserialize)]
struct Line<'a> {
    side: &'a str,
    received_ns: u64,
    answer: Answer<'a>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, rename = "return")]
    info: Option<Info<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Info<'a> {
    status: Option<Cow<'a, str>>,
    expected_downtime: Option<u64>,
    cpu_throttle_percentage: Option<u64>,
    ram: Option<Ram>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Ram {
    transferred: Option<u64>,
    remaining: Option<u64>,
    total: Option<u64>,
    dirty_sync_count: Option<u64>,
}

/// Calls `each` for every sample of an active source, from the stream of a run that goes on or was
/// cut off.
pub(super) fn read_stream(
    path: &Path,
    mut each: impl FnMut(ConvergenceSample),
) -> Result<(), RecordError> {
    samples::lines(path, |line| of_line(line).into_iter().for_each(&mut each))
}

fn of_line(line: &str) -> Option<ConvergenceSample> {
    let Line { side, received_ns, answer } = serde_json::from_str(line).ok()?;
    let info = answer.info?;
    let ram = info.ram.unwrap_or_default();
    (side == Side::Source.name() && info.status.as_deref() == Some(ACTIVE)).then_some(
        ConvergenceSample {
            received_ns,
            transferred: ram.transferred,
            remaining: ram.remaining,
            total: ram.total,
            syncs: ram.dirty_sync_count,
            expected_downtime: info.expected_downtime,
            throttle: info.cpu_throttle_percentage,
        },
    )
}

#[cfg(test)]
#[cfg(feature = "parquet")]
mod tests {
    use super::*;
    use crate::append_line;
    use crate::convergence_parquet::read_parquet;
    use crate::samples_parquet;
    use std::fs::File;
    use std::io::Write;

    /// A row has the same sample from its Parquet file as by itself, whatever else QEMU says in it.
    #[test]
    fn the_columns_say_what_the_rows_say() {
        let directory = tempfile::tempdir().unwrap();
        let (stream, parquet) =
            (directory.path().join("s.zst"), directory.path().join("s.parquet"));
        let mut lines = Vec::new();
        let mut sample = |side, at, answer: &str| {
            append_line(&mut lines, side, at, at + 1, 1, answer.as_bytes());
        };
        sample(Side::Source, 1, r#"{"return": {"status": "setup"}}"#);
        for at in 2..20_000 {
            let answer = format!(
                r#"{{"return": {{"status": "active", "expected-downtime": {at}, "brand-new": [1], "ram": {{"transferred": {at}, "remaining": 5, "total": 9, "dirty-sync-count": 2, "newer": "x"}}}}}}"#
            );
            sample(Side::Source, at, &answer);
        }
        sample(Side::Destination, 20_001, r#"{"return": {"status": "active"}}"#);
        sample(Side::Source, 20_002, r#"{"return": {"status": "active"}}"#);
        sample(
            Side::Source,
            20_003,
            r#"{"return": {"status": "a-new-state", "ram": {"transferred": 1}}}"#,
        );
        let mut encoder = zstd::Encoder::new(File::create(&stream).unwrap(), 1).unwrap();
        encoder.write_all(&lines).unwrap();
        encoder.finish().unwrap();
        let mut rows = Vec::new();
        samples_parquet::to_parquet(&stream, &parquet, |row| {
            rows.extend(ConvergenceSample::of(row));
        })
        .unwrap();
        let mut columns = Vec::new();
        read_parquet(&parquet, |sample| columns.push(sample)).unwrap();
        let mut streamed = Vec::new();
        read_stream(&stream, |sample| streamed.push(sample)).unwrap();
        assert_eq!(columns.len(), 19_999);
        assert_eq!((&columns, &streamed), (&rows, &rows));
        assert_eq!(
            columns[19_998],
            ConvergenceSample { received_ns: 20_003, ..ConvergenceSample::default() }
        );
    }
}
