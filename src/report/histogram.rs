//! A histogram in text: rows on a logarithmic scale, empty ones too, so that several modes are seen as such.

use crate::units::human_micros;
use std::fmt::Write;

/// Rows at most; fewer where the values lie close together.
const ROWS: u32 = 14;
/// Rows to each doubling, from coarse to fine.
const PER_OCTAVE: [u32; 3] = [1, 2, 4];

/// `values_us` as rows of bars at most `width` wide. Empty for no values.
#[must_use]
pub fn histogram(values_us: &[u64], width: usize) -> String {
    let (Some(least), Some(greatest)) = (values_us.iter().min(), values_us.iter().max()) else { return String::new() };
    let rows_at = |per_octave| row(*greatest, per_octave) - row(*least, per_octave) + 1;
    let per_octave = PER_OCTAVE.into_iter().rev().find(|fine| rows_at(*fine) <= ROWS).unwrap_or(1);
    let first = row(*least, per_octave);
    let mut counts = vec![0usize; rows_at(per_octave) as usize];
    for value in values_us {
        if let Some(count) = counts.get_mut((row(*value, per_octave) - first) as usize) {
            *count += 1;
        }
    }
    let most = counts.iter().max().copied().unwrap_or(1).max(1);
    let mut text = String::new();
    for (count, row) in counts.iter().zip(first..) {
        // A count is never drawn as nothing.
        let bar = if *count == 0 { 0 } else { (count * width / most).max(1) };
        let from = human_micros(lower(row, per_octave));
        let line = format!("{from:>8} {count:>6} {}", "█".repeat(bar));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// The row of a value: each doubling has `per_octave` rows of equal width.
fn row(value_us: u64, per_octave: u32) -> u32 {
    let octave = value_us.max(1).ilog2();
    let within = (u128::from(value_us.max(1)) * u128::from(per_octave)) >> octave;
    octave * per_octave + u32::try_from(within).unwrap_or(0).saturating_sub(per_octave)
}

/// The least value of a row.
fn lower(row: u32, per_octave: u32) -> u64 {
    let (octave, part) = (row / per_octave, u128::from(row % per_octave));
    let value = ((u128::from(per_octave) + part) << octave).div_ceil(u128::from(per_octave));
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_in_the_row_that_begins_at_or_below_it() {
        for per_octave in PER_OCTAVE {
            for value in (1..5000).chain([u64::MAX / 2, u64::MAX]) {
                let row = row(value, per_octave);
                assert!(lower(row, per_octave) <= value, "{value}");
                assert!(value == u64::MAX || value < lower(row + 1, per_octave), "{value}");
            }
        }
    }

    #[test]
    fn two_modes_are_seen_and_what_lies_between_them() {
        let values: Vec<u64> = (0..40).map(|i| 4000 + i * 10).chain((0..10).map(|i| 43_000 + i * 100)).collect();
        insta::assert_snapshot!(histogram(&values, 30), @r"
        3.07 ms     10 ██████████
        4.10 ms     30 ██████████████████████████████
        6.14 ms      0
        8.19 ms      0
        12.3 ms      0
        16.4 ms      0
        24.6 ms      0
        32.8 ms     10 ██████████
        ");
        assert_eq!(histogram(&[7], 3), "    7 µs      1 ███\n");
        assert_eq!(histogram(&[], 30), "");
    }
}
