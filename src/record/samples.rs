//! Samples of `query-migrate`: one line each while the run goes on.
//!
//! The line holds QEMU's answer as it came, so that nothing that we don't understand is lost and
//! nothing is parsed in the sampler's way; the row has a column for every member that we know, and
//! `other` for the rest.

use super::{RecordError, reader};
use base::Side;
use base::text::{MAX_LINE_BYTES, for_each_line};
use qmp::MigrationInfo;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::{BufReader, Write};
use std::path::Path;

/// One answer, with when it was asked and when it came.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleRow {
    /// Whose.
    pub side: Side,
    /// Asked, ns on the monotonic clock.
    pub sent_ns: u64,
    /// Answered.
    pub received_ns: u64,
    /// The last MIGRATION_PASS before the answer, in QEMU's order; 0 before the first.
    /// `ram.remaining` is only exact just after this changes.
    pub pass: u64,
    /// What QEMU said.
    pub info: MigrationInfo,
}

/// Adds the line of one sample to `buffer`. `answer` is QEMU's line: `{"return": {...}}`.
pub fn append_line(
    buffer: &mut Vec<u8>,
    side: Side,
    sent_ns: u64,
    received_ns: u64,
    pass: u64,
    answer: &[u8],
) {
    // Writing to a Vec does not fail.
    let _ = write!(
        buffer,
        "{{\"side\":\"{side}\",\"sent_ns\":{sent_ns},\"received_ns\":{received_ns},\"pass\":{pass},\"answer\":"
    );
    buffer.extend_from_slice(answer);
    buffer.extend_from_slice(b"}\n");
}

#[derive(Deserialize)]
struct Line<'a> {
    side: Side,
    sent_ns: u64,
    received_ns: u64,
    pass: u64,
    #[serde(borrow)]
    answer: Answer<'a>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, rename = "return")]
    value: Option<&'a RawValue>,
}

/// Calls `each` with every whole sample of a stream, also of one that was cut off.
///
/// # Errors
/// Only when the file cannot be opened: a torn end is the end.
pub(super) fn read_stream(path: &Path, mut each: impl FnMut(SampleRow)) -> Result<(), RecordError> {
    lines(path, |line| parse_line(line).into_iter().for_each(&mut each))
}

/// Calls `each` with every line of a stream, the last of which may be torn.
///
/// # Errors
/// As [`read_stream`].
pub(super) fn lines(path: &Path, mut each: impl FnMut(&str)) -> Result<(), RecordError> {
    let lines = BufReader::with_capacity(256 << 10, reader::unpack(path)?);
    let take = |line: &[u8]| std::str::from_utf8(line).into_iter().for_each(&mut each);
    for_each_line(lines, MAX_LINE_BYTES, take).map_err(|error| reader::too_long(path, &error))
}

fn parse_line(text: &str) -> Option<SampleRow> {
    let Line { side, sent_ns, received_ns, pass, answer } = serde_json::from_str(text).ok()?;
    let info = serde_json::from_str(answer.value?.get()).ok()?;
    Some(SampleRow { side, sent_ns, received_ns, pass, info })
}

#[cfg(test)]
#[cfg(feature = "parquet")]
mod tests {
    use super::*;
    use crate::samples_parquet::{read_parquet, to_parquet};
    use parquet::file::reader::FileReader as _;
    use parquet::record::Field;
    use std::fs;
    use std::fs::File;

    fn stream(dir: &Path, samples: u64) -> std::path::PathBuf {
        let path = dir.join("s.zst");
        let mut encoder = zstd::Encoder::new(File::create(&path).unwrap(), 1).unwrap();
        for n in 0..samples {
            let mut lines = Vec::new();
            let answer = format!(
                r#"{{"return": {{"status": "active", "ram": {{"transferred": {n}, "new": 1}}}}}}"#
            );
            append_line(&mut lines, Side::Source, n, n + 1, 3, answer.as_bytes());
            encoder.write_all(&lines).unwrap();
            encoder.flush().unwrap();
        }
        encoder.finish().unwrap();
        path
    }

    #[test]
    fn a_stream_cut_off_anywhere_can_be_read_up_to_there() {
        let dir = tempfile::tempdir().unwrap();
        let whole = stream(dir.path(), 50);
        let bytes = fs::read(&whole).unwrap();
        let count = |bytes: &[u8]| {
            let path = dir.path().join("cut.zst");
            fs::write(&path, bytes).unwrap();
            let mut rows = 0;
            read_stream(&path, |_| rows += 1).unwrap();
            rows
        };
        assert_eq!(count(&bytes), 50);
        for cut in (0..bytes.len()).step_by(7) {
            assert!(count(&bytes[..cut]) <= 50);
        }
        assert!(
            count(&bytes[..bytes.len() - 20]) >= 40,
            "only what is near the cut may be missing"
        );
    }

    #[test]
    fn parquet_holds_every_row_and_what_was_not_understood() {
        let dir = tempfile::tempdir().unwrap();
        let stream = stream(dir.path(), 20_000);
        let parquet = dir.path().join("s.parquet");
        let mut seen = 0;
        to_parquet(&stream, &parquet, |_| seen += 1).unwrap();
        let reader =
            parquet::file::reader::SerializedFileReader::new(File::open(&parquet).unwrap())
                .unwrap();
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!((seen, rows.len()), (20_000, 20_000));
        let field = |row: usize, name: &str| {
            rows[row].get_column_iter().find(|(n, _)| *n == name).unwrap().1.clone()
        };
        assert_eq!(field(19_999, "ram.transferred"), Field::Long(19_999));
        assert_eq!(field(0, "other"), Field::Str(r#"{"ram.new":1}"#.into()));
        assert_eq!(field(0, "downtime"), Field::Null);
    }

    #[test]
    fn a_row_comes_back_from_parquet_as_qemu_said_it() {
        let dir = tempfile::tempdir().unwrap();
        let answer = r#"{"return": {"status": "postcopy-active", "downtime": 3, "postcopy-latency-dist": [1, 2], "new": {"deep": [true]},
            "ram": {"transferred": 7, "mbps": 2.5, "newer": "x"}, "xbzrle-cache": {"bytes": 9, "cache-miss-rate": 0.5}}}"#;
        let mut lines = Vec::new();
        append_line(&mut lines, Side::Destination, 5, 6, 2, answer.replace('\n', "").as_bytes());
        let stream = dir.path().join("s.zst");
        fs::write(&stream, zstd::encode_all(lines.as_slice(), 1).unwrap()).unwrap();
        let parquet = dir.path().join("s.parquet");
        let (mut before, mut after) = (Vec::new(), Vec::new());
        to_parquet(&stream, &parquet, |row| before.push(row.clone())).unwrap();
        read_parquet(&parquet, |row| after.push(row)).unwrap();
        assert_eq!((before.len(), &before), (1, &after));
    }
}
