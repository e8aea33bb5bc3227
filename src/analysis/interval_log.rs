//! Histograms as an HdrHistogram interval log, which HistogramLogProcessor, the HdrHistogram
//! plotters and Python's `hdrh` read.
//!
//! The log has one tagged line for each histogram, compressed (V2). The histograms are in µs. Only
//! the column of the largest value is divided by 1000, because that column is in ms by convention.
//! HistogramLogProcessor assumes nanoseconds by default; `-outputValueUnitRatio 1000` shows ms.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{
    IntervalLogWriterBuilder, IntervalLogWriterError, Tag,
};
use std::io;
use std::time::{Duration, SystemTime};

const MICROS_PER_MILLI: f64 = 1000.0;

/// Writes one line for each of `histograms`. All of them cover the same time: `duration` from
/// `started_wall_ns` (since 1970) on.
///
/// # Errors
/// The error of `out`; `InvalidInput`, before anything is written, if a name contains a comma, a
/// space or a line feed.
pub fn write_interval_log(
    out: &mut impl io::Write,
    started_wall_ns: u64,
    duration: Duration,
    histograms: &[(&str, &Histogram<u64>)],
) -> io::Result<()> {
    let tagged = histograms
        .iter()
        .map(|(name, histogram)| Ok((parse_tag(name)?, *histogram)))
        .collect::<io::Result<Vec<_>>>()?;
    let started = SystemTime::UNIX_EPOCH + Duration::from_nanos(started_wall_ns);
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment(
            "[Values are in microseconds, Interval_Max in milliseconds; \
             for HistogramLogProcessor: -outputValueUnitRatio 1000]",
        )
        // With only one of the two, readers guess whether the times of the lines are absolute.
        .with_start_time(started)
        .with_base_time(started)
        .with_max_value_divisor(MICROS_PER_MILLI)
        .begin_log_with(out, &mut serializer)?;
    for (tag, histogram) in tagged {
        log.write_histogram(histogram, Duration::ZERO, duration, Some(tag)).map_err(|error| {
            match error {
                IntervalLogWriterError::IoError(error) => error,
                IntervalLogWriterError::SerializeError(error) => io::Error::other(error),
            }
        })?;
    }
    Ok(())
}

fn parse_tag(name: &str) -> io::Result<Tag<'_>> {
    let invalid_name = || {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{name}` cannot be the name of a histogram in a log"),
        )
    };
    Tag::new(name).ok_or_else(invalid_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    const STARTED_NS: u64 = 1_750_000_000_250_000_000;

    fn recorder(values_us: &[u64]) -> Histogram<u64> {
        crate::downtime::histogram_of(values_us).unwrap()
    }

    fn written(histograms: &[(&str, &Histogram<u64>)]) -> String {
        let mut log = Vec::new();
        write_interval_log(&mut log, STARTED_NS, Duration::from_millis(61_500), histograms)
            .unwrap();
        String::from_utf8(log).unwrap()
    }

    /// Decodes base64. hdrhistogram does not export its decoder, and no other crate here has one.
    fn decode_base64(text: &str) -> Vec<u8> {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let sextet = |byte: u8| ALPHABET.iter().position(|letter| *letter == byte).unwrap();
        let (mut bytes, mut bits, mut held) = (Vec::new(), 0usize, 0);
        for byte in text.bytes().filter(|byte| *byte != b'=') {
            bits = (bits << 6 | sextet(byte)) & 0xffff;
            held += 6;
            if held >= 8 {
                held -= 8;
                bytes.push(u8::try_from(bits >> held & 0xff).unwrap());
            }
        }
        bytes
    }

    #[test]
    fn a_written_log_can_be_read_back() {
        let events = recorder(&[3900, 4000, 4100, 43_000]);
        let heartbeat = recorder(&[]);
        let log = written(&[("events", &events), ("heartbeat", &heartbeat)]);
        let mut read = Vec::new();
        let mut times = Vec::new();
        for entry in IntervalLogIterator::new(log.as_bytes()) {
            match entry.unwrap() {
                LogEntry::StartTime(time) | LogEntry::BaseTime(time) => times.push(time),
                LogEntry::Interval(line) => {
                    let bytes = decode_base64(line.encoded_histogram());
                    let histogram: Histogram<u64> =
                        Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
                    assert_eq!(
                        (line.start_timestamp(), line.duration()),
                        (Duration::ZERO, Duration::from_millis(61_500))
                    );
                    read.push((line.tag().unwrap().as_str().to_owned(), line.max(), histogram));
                }
            }
        }
        assert_eq!(times, [Duration::from_nanos(STARTED_NS); 2]);
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].0.as_str(), &read[0].2), ("events", &events));
        assert!((43.0..43.1).contains(&read[0].1), "ms, to three digits: {}", read[0].1);
        assert_eq!((read[1].0.as_str(), &read[1].2), ("heartbeat", &heartbeat));
    }

    #[test]
    fn the_header_says_which_units_are_used() {
        let comments = [
            "#[Histogram log format version 1.3]",
            "#[Values are in microseconds, Interval_Max in milliseconds; \
             for HistogramLogProcessor: -outputValueUnitRatio 1000]",
            "#[StartTime: 1750000000.250 (seconds since epoch)]",
            "#[BaseTime: 1750000000.250 (seconds since epoch)]",
            "#[MaxValueDivisor: 1000.000]",
        ];
        let text = written(&[]);
        assert_eq!(text.lines().take(comments.len()).collect::<Vec<_>>(), comments, "{text}");
    }

    #[test]
    fn refuses_a_name_that_would_break_the_line() {
        let empty = recorder(&[]);
        let mut log = Vec::new();
        for name in ["a,b", "a b", "a\nb"] {
            let error = write_interval_log(
                &mut log,
                0,
                Duration::ZERO,
                &[("events", &empty), (name, &empty)],
            );
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        }
        assert!(log.is_empty());
    }

    #[test]
    fn accepts_the_latest_possible_time() {
        let mut log = Vec::new();
        write_interval_log(&mut log, u64::MAX, Duration::MAX, &[("all", &recorder(&[u64::MAX]))])
            .unwrap();
        assert!(log.ends_with(b"\n"));
    }
}
