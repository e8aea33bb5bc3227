//! A histogram on the terminal.
//!
//! The rows have a constant ratio from the minimum to the maximum, so that blackouts of 4 ms and of
//! 43 ms show as two peaks even beside one of 2 s. Rows without values are kept, because the gap
//! between two peaks is what one looks for.

use base::units::human_micros;

const ROWS: i32 = 12;
const MIN_BAR_COLUMNS: usize = 8;
const MAX_BAR_COLUMNS: usize = 160;
/// Bars of one to seven eighths of a column.
const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// Formats a histogram of values in µs: for each row its lower edge, the number of values, and a
/// bar. Lines have at most `width` columns, unless that is too narrow for any bar.
#[must_use]
pub fn format_histogram(values_us: &[u64], width: usize) -> String {
    let (Some(min), Some(max)) = (values_us.iter().min(), values_us.iter().max()) else {
        return "no values\n".to_owned();
    };
    let edges = edges(*min, *max);
    let counts = counts(&edges, values_us);
    let largest = counts.iter().copied().max().unwrap_or(0);
    let labels = labels(&edges, *max);
    let label_width =
        labels.iter().map(|label| label.chars().count()).max().unwrap_or(0).max("from".len());
    let count_width = largest.to_string().len().max("count".len());
    let bar_width =
        width.saturating_sub(label_width + count_width + 4).clamp(MIN_BAR_COLUMNS, MAX_BAR_COLUMNS);
    let line = |label: &str, count: &str, bar: &str| {
        format!("{label:>label_width$}  {count:>count_width$}  {bar}").trim_end().to_owned() + "\n"
    };
    let mut text = line("from", "count", "");
    for (label, count) in labels.iter().zip(counts) {
        text.push_str(&line(label, &count.to_string(), &bar(count, largest, bar_width)));
    }
    // The last line is the upper end of the last row. A single row has none.
    if let Some(last) = labels.get(edges.len()) {
        text.push_str(&line(last, "", "maximum"));
    }
    text
}

/// The lower edge of each row. There are fewer than [`ROWS`] if there are fewer whole microseconds.
fn edges(min: u64, max: u64) -> Vec<u64> {
    let from = real(min.max(1));
    let ratio = (real(max) + 1.0) / from;
    let mut edges = vec![min];
    for row in 1..ROWS {
        let edge = whole(from * ratio.powf(f64::from(row) / f64::from(ROWS)));
        // Rounding must neither leave the range of the values nor repeat an edge.
        if edge > edges.last().copied().unwrap_or(0) && edge <= max {
            edges.push(edge);
        }
    }
    edges
}

fn counts(edges: &[u64], values_us: &[u64]) -> Vec<usize> {
    let mut counts = vec![0; edges.len()];
    for value in values_us {
        let row = edges.partition_point(|edge| edge <= value).saturating_sub(1);
        if let Some(count) = counts.get_mut(row) {
            *count += 1;
        }
    }
    counts
}

/// A label for each row, and one for the maximum if there are several rows. The labels are in µs
/// where three digits do not distinguish the rows.
fn labels(edges: &[u64], max: u64) -> Vec<String> {
    let end = (edges.len() > 1).then_some(max);
    let short: Vec<String> = edges.iter().copied().map(human_micros).collect();
    if short.windows(2).any(|pair| pair[0] == pair[1]) {
        return edges.iter().copied().chain(end).map(|us| format!("{us} µs")).collect();
    }
    short.into_iter().chain(end.map(human_micros)).collect()
}

/// A bar in proportion to the largest count. A count of at least 1 is always visible.
fn bar(count: usize, largest: usize, width: usize) -> String {
    if count == 0 || largest == 0 {
        return String::new();
    }
    let eighths = (count.saturating_mul(width * 8) / largest).max(1);
    let part = (eighths % 8).checked_sub(1).and_then(|part| EIGHTHS.get(part));
    "█".repeat(eighths / 8).chars().chain(part.copied()).collect()
}

#[expect(clippy::cast_precision_loss, reason = "an edge may be wrong in its sixteenth digit")]
fn real(us: u64) -> f64 {
    us as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and that is right at both ends"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shows_two_peaks_and_the_gap_between_them() {
        let mut values: Vec<u64> = (0..40).map(|n| 3900 + n * 17).collect();
        values.extend((0..25).map(|n| 42_600 + n * 90));
        values.push(9000);
        insta::assert_snapshot!(format_histogram(&values, 60), @r"
               from  count
            3.90 ms     40  ████████████████████████████████████████████
            4.78 ms      0
            5.86 ms      0
            7.18 ms      0
            8.80 ms      1  █
            10.8 ms      0
            13.2 ms      0
            16.2 ms      0
            19.8 ms      0
            24.3 ms      0
            29.8 ms      0
            36.5 ms     25  ███████████████████████████▌
            44.8 ms         maximum
            ");
    }

    #[test]
    fn shows_a_single_row_for_one_value() {
        insta::assert_snapshot!(format_histogram(&[4000, 4000, 4000], 40), @r"
               from  count
            4.00 ms      3  ████████████████████████
            ");
    }

    #[test]
    fn says_that_there_are_no_values() {
        insta::assert_snapshot!(format_histogram(&[], 40), @"no values");
    }

    #[test]
    fn labels_differ_if_each_row_is_one_microsecond() {
        insta::assert_snapshot!(format_histogram(&[4000, 4001, 4001, 4004], 40), @r"
               from  count
            4000 µs      1  ████████████
            4001 µs      2  ████████████████████████
            4002 µs      0
            4003 µs      0
            4004 µs      1  ████████████
            4004 µs         maximum
            ");
    }

    fn any_value() -> impl Strategy<Value = u64> {
        prop_oneof![any::<u64>(), 0u64..100, 4000u64..50_000]
    }

    proptest! {
        #[test]
        fn counts_all_values_in_lines_of_at_most_the_width(
            values in prop::collection::vec(any_value(), 1..60),
            width in 40usize..200,
        ) {
            let (min, max) = (*values.iter().min().unwrap(), *values.iter().max().unwrap());
            let edges = edges(min, max);
            prop_assert!(edges.len() <= 16, "{:?}", edges);
            prop_assert!(edges.len() >= 8 || max - min < 100, "{:?}", edges);
            prop_assert_eq!(counts(&edges, &values).iter().sum::<usize>(), values.len());
            let text = format_histogram(&values, width);
            prop_assert!(text.lines().all(|line| line.chars().count() <= width), "{}", text);
        }

        #[test]
        fn does_not_panic_at_any_width(
            values in prop::collection::vec(any::<u64>(), 0..5),
            width in any::<usize>(),
        ) {
            let _ = format_histogram(&values, width);
        }
    }
}
