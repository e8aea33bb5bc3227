//! Histograms as an HdrHistogram interval log, which the tools of that family read (HistogramLogProcessor, the plotters, Python's
//! `hdrh`).
//!
//! Takes histograms of values in µs, each with the name of what it counts, and when all of it was measured; gives the log's text,
//! one tagged line for each histogram, deflated (V2). Knows nothing of what the values mean, nor where the log is kept.
//!
//! The histograms stay in µs. Only the column of the largest value is divided, by 1000: that column is for people and in ms by
//! custom. HistogramLogProcessor takes values for nanoseconds unless told otherwise: `-outputValueUnitRatio 1000` shows ms.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{
    IntervalLogWriterBuilder, IntervalLogWriterError, Tag,
};
use std::io;
use std::time::{Duration, SystemTime};

const MICROS_IN_A_MILLI: f64 = 1000.0;

/// Writes one line for each of `histograms`, all of them of the same time: `duration` from `started_wall_ns` (since 1970) on.
///
/// # Errors
/// What `out` says, and `InvalidInput` before anything is written if a name holds a comma, a space or the end of a line.
pub fn write_interval_log(
    out: &mut impl io::Write,
    started_wall_ns: u64,
    duration: Duration,
    histograms: &[(&str, &Histogram<u64>)],
) -> io::Result<()> {
    let tagged = histograms
        .iter()
        .map(|(name, histogram)| Ok((tag(name)?, *histogram)))
        .collect::<io::Result<Vec<_>>>()?;
    let started = SystemTime::UNIX_EPOCH + Duration::from_nanos(started_wall_ns);
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment(
            "[Values are in microseconds, Interval_Max in milliseconds; for HistogramLogProcessor: -outputValueUnitRatio 1000]",
        )
        // Both: else readers guess whether the lines' own times are absolute.
        .with_start_time(started)
        .with_base_time(started)
        .with_max_value_divisor(MICROS_IN_A_MILLI)
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

fn tag(name: &str) -> io::Result<Tag<'_>> {
    let refused = || {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{name}` cannot be the name of a histogram in a log"),
        )
    };
    Tag::new(name).ok_or_else(refused)
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

    /// Base64 without a crate of our own for it: hdrhistogram does not give its own away.
    fn unbase64(text: &str) -> Vec<u8> {
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
    fn what_was_written_is_read_back() {
        let events = recorder(&[3900, 4000, 4100, 43_000]);
        let heartbeat = recorder(&[]);
        let log = written(&[("events", &events), ("heartbeat", &heartbeat)]);
        let mut read = Vec::new();
        let mut times = Vec::new();
        for entry in IntervalLogIterator::new(log.as_bytes()) {
            match entry.unwrap() {
                LogEntry::StartTime(time) | LogEntry::BaseTime(time) => times.push(time),
                LogEntry::Interval(line) => {
                    let bytes = unbase64(line.encoded_histogram());
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
    fn the_head_of_a_log() {
        insta::assert_snapshot!(written(&[]), @r#"
            #[Histogram log format version 1.3]
            #[Values are in microseconds, Interval_Max in milliseconds; for HistogramLogProcessor: -outputValueUnitRatio 1000]
            #[StartTime: 1750000000.250 (seconds since epoch)]
            #[BaseTime: 1750000000.250 (seconds since epoch)]
            #[MaxValueDivisor: 1000.000]
            "#);
    }

    #[test]
    fn a_name_that_would_break_the_line_is_refused() {
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
    fn no_time_is_too_late() {
        let mut log = Vec::new();
        write_interval_log(&mut log, u64::MAX, Duration::MAX, &[("all", &recorder(&[u64::MAX]))])
            .unwrap();
        assert!(log.ends_with(b"\n"));
    }
}
