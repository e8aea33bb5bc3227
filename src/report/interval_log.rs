//! histograms.hlog: HdrHistogram's interval log with V2 compressed histograms, for HdrHistogram's own tools.
//!
//! Values are µs; the column for the greatest is in ms, as those tools expect (their divisor of 1,000). One line for each view, tagged
//! with its name.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

/// 1 µs to an hour, three digits. All memory is there from the start: recording allocates nothing.
const LONGEST_US: u64 = 3_600_000_000;

/// A histogram of values in µs.
#[must_use]
pub fn histogram_of(values_us: &[u64]) -> Option<Histogram<u64>> {
    let mut histogram = Histogram::new_with_bounds(1, LONGEST_US, 3).ok()?;
    for value in values_us {
        histogram.saturating_record(*value);
    }
    Some(histogram)
}

/// Writes the log: when it began, how long it was, and each tag with its values.
///
/// # Errors
/// What `out` gives.
pub fn interval_log(
    out: &mut impl Write,
    started_wall_ns: u64,
    duration: Duration,
    views: &[(&str, Vec<u64>)],
) -> io::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    let started = UNIX_EPOCH + Duration::from_nanos(started_wall_ns);
    builder.add_comment("switchover: blackouts in us, one tag a view").with_start_time(started).with_max_value_divisor(1000.0);
    let mut log = builder.begin_log_with(out, &mut serializer)?;
    for (view, values_us) in views.iter().filter(|(_, values_us)| !values_us.is_empty()) {
        let Some(histogram) = histogram_of(values_us) else { continue };
        let written = log.write_histogram(&histogram, Duration::ZERO, duration, Tag::new(view));
        written.map_err(|error| io::Error::other(format!("{error:?}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    #[test]
    fn what_is_written_reads_back() {
        let mut log = Vec::new();
        let views = [("heartbeat", vec![1500, 2500, 43_000]), ("trace", Vec::new()), ("events", vec![1400])];
        interval_log(&mut log, 1_700_000_000_123_000_000, Duration::from_secs(9), &views).unwrap();
        let mut read = Vec::new();
        for entry in IntervalLogIterator::new(&log) {
            if let LogEntry::Interval(interval) = entry.unwrap() {
                let bytes = data_encoding(interval.encoded_histogram());
                let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
                let tag = interval.tag().unwrap().as_str().to_owned();
                read.push((tag, histogram.len(), histogram.max() / 100));
            }
        }
        assert_eq!(read, [("heartbeat".to_owned(), 3, 430), ("events".to_owned(), 1, 14)]);
    }

    #[test]
    fn recording_needs_no_memory_that_was_not_there() {
        let mut histogram = histogram_of(&[]).unwrap();
        let before = histogram.distinct_values();
        for value in [0, 1, 70, 1_000_000, LONGEST_US, u64::MAX] {
            histogram.saturating_record(value);
        }
        assert_eq!((histogram.distinct_values(), histogram.len()), (before, 6));
    }

    /// Base64, as the log holds histograms.
    fn data_encoding(text: &str) -> Vec<u8> {
        let value = |c: u8| match c {
            b'A'..=b'Z' => u32::from(c - b'A'),
            b'a'..=b'z' => u32::from(c - b'a') + 26,
            b'0'..=b'9' => u32::from(c - b'0') + 52,
            b'+' => 62,
            b'/' => 63,
            _ => 0,
        };
        let padding = text.bytes().filter(|c| *c == b'=').count();
        let mut bytes: Vec<u8> = text
            .as_bytes()
            .chunks(4)
            .flat_map(|four| {
                let bits = four.iter().fold(0, |bits, c| bits << 6 | value(*c));
                bits.to_be_bytes()[1..].to_vec()
            })
            .collect();
        bytes.truncate(bytes.len() - padding);
        bytes
    }
}
