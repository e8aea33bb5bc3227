//! Values, changes and intervals as text. A value is not more precise than its interval, so the
//! interval's width decides how many decimals are shown.

use analysis::MetricUnit;
use analysis::compare::Change;
use analysis::statistics::{Estimate, Proportion};
use base::units::{human_bytes, human_micros};

/// From this ratio on, a change is shown as "3.4 times", which reads better than "by 240 %".
const MIN_RATIO_IN_TIMES: f64 = 3.0;

/// Formats a value in its unit: `4.20 ms`.
pub(super) fn format_value(value: f64, unit: MetricUnit) -> String {
    let sign = if value < 0.0 { "−" } else { "" };
    let magnitude = round_to_integer(value.abs());
    let text = match unit {
        MetricUnit::Us => human_micros(magnitude),
        MetricUnit::Bytes => human_bytes(magnitude),
        MetricUnit::BytesPerSecond => format!("{}/s", human_bytes(magnitude)),
        // A median of counts may be half-way between two of them.
        MetricUnit::Count => format_number(value.abs(), if value.fract() == 0.0 { 0 } else { 1 }),
    };
    format!("{sign}{text}")
}

/// Formats a value with its interval: `4.20 ms [4.01 ms, 4.44 ms]`, or `4.20 ms [too few]` if there
/// are too few values for an interval.
pub(crate) fn format_estimate(estimate: &Estimate, unit: MetricUnit) -> String {
    let ends = interval_ends(estimate)
        .map(|(low, high)| format!("[{}, {}]", format_value(low, unit), format_value(high, unit)));
    format!(
        "{} {}",
        format_value(estimate.value, unit),
        ends.unwrap_or_else(|| "[too few]".to_owned())
    )
}

/// Formats a change with its interval: `−61 % [−66, −55]`. Where there is no ratio (A is zero),
/// formats the difference in the metric's unit.
pub(crate) fn format_change(change: &Change, unit: MetricUnit) -> String {
    match &change.ratio {
        Some(ratio) if is_shown_in_times(ratio) => {
            let all = Rounded::new(ratio, |ratio| ratio);
            format_with_interval(&all, &|figure, decimals| format_number(figure, decimals), " ×")
        }
        Some(ratio) => format_with_interval(&Rounded::new(ratio, percent), &format_signed, " %"),
        None => {
            let difference = &change.difference;
            let plus = if difference.value > 0.0 { "+" } else { "" };
            format!("{plus}{}", format_estimate(difference, unit))
        }
    }
}

/// Formats a change without its interval: `−61 %`.
pub(super) fn format_change_only(change: &Change, unit: MetricUnit) -> String {
    match &change.ratio {
        Some(ratio) if is_shown_in_times(ratio) => format!("{} ×", format_number(ratio.value, 1)),
        Some(ratio) => {
            format!(
                "{} %",
                format_signed(percent(ratio.value), Rounded::new(ratio, percent).decimals)
            )
        }
        None => format_value(change.difference.value, unit),
    }
}

/// Formats a change for a sentence with a verb: `by 61 % (55 to 66 %)`, `to 3.4 times (3.1 to 3.8)
/// as much`.
pub(super) fn format_change_after_verb(change: &Change, unit: MetricUnit) -> String {
    match &change.ratio {
        Some(ratio) if is_shown_in_times(ratio) => {
            let all = Rounded::new(ratio, |ratio| ratio);
            format!(
                "to {} times ({}) as much",
                format_number(all.value, all.decimals),
                all.format_range(format_number, "")
            )
        }
        Some(ratio) => {
            let all = Rounded::new(ratio, |ratio| percent(ratio).abs());
            format!(
                "by {} % ({})",
                format_number(all.value, all.decimals),
                all.format_range(format_number, " %")
            )
        }
        None => {
            let amount = |figure: f64| format_value(figure.abs(), unit);
            let (mut low, mut high) = interval_ends(&change.difference)
                .unwrap_or((change.difference.value, change.difference.value));
            if high <= 0.0 {
                (low, high) = (high, low);
            }
            format!("by {} ({} to {})", amount(change.difference.value), amount(low), amount(high))
        }
    }
}

/// Formats the interval of a change, that is, how large the difference may still be: `−2.1 to +3.0
/// %`.
pub(super) fn format_change_interval(change: &Change, unit: MetricUnit) -> String {
    match &change.ratio {
        Some(ratio) if is_shown_in_times(ratio) => {
            format!("{} ×", Rounded::new(ratio, |ratio| ratio).format_range(format_number, ""))
        }
        Some(ratio) => Rounded::new(ratio, percent).format_range(format_signed, " %"),
        None => {
            let (low, high) = interval_ends(&change.difference)
                .unwrap_or((change.difference.value, change.difference.value));
            format!("{} to {}", format_value(low, unit), format_value(high, unit))
        }
    }
}

/// Formats a proportion with its interval: `70 %, 55 to 82 %`.
pub(crate) fn format_proportion(share: &Proportion) -> String {
    let percent = |share: f64| format_number(share * 100.0, 0);
    format!("{} %, {} to {} %", percent(share.share), percent(share.low), percent(share.high))
}

/// Formats a p value: `0.0021`, `< 0.0001`.
pub(super) fn format_p_value(p: f64) -> String {
    match p {
        less if less < 0.0001 => "< 0.0001".to_owned(),
        less if less < 0.001 => format!("{less:.4}"),
        less if less < 0.1 => format!("{less:.3}"),
        more => format!("{more:.2}"),
    }
}

/// A ratio of B to A as a change in percent of A.
fn percent(ratio: f64) -> f64 {
    (ratio - 1.0) * 100.0
}

/// A value, the ends of its interval in ascending order, and the number of decimals of all three.
struct Rounded {
    value: f64,
    ends: Option<(f64, f64)>,
    decimals: usize,
}

impl Rounded {
    fn new(estimate: &Estimate, form: impl Fn(f64) -> f64) -> Rounded {
        let ends = interval_ends(estimate).map(|(low, high)| (form(low), form(high)));
        let ends = ends.map(|(one, other)| (one.min(other), one.max(other)));
        let value = form(estimate.value);
        let width = ends
            .map_or(value.abs(), |(low, high)| if high > low { high - low } else { value.abs() });
        let decimals = match width {
            0.0 => 0,
            fine if fine < 1.0 => 2,
            fine if fine < 10.0 => 1,
            _ => 0,
        };
        Rounded { value, ends, decimals }
    }

    fn format_range(&self, form: fn(f64, usize) -> String, unit: &str) -> String {
        let (low, high) = self.ends.unwrap_or((self.value, self.value));
        if low == high {
            return format!("{}{unit}", form(low, self.decimals));
        }
        format!("{} to {}{unit}", form(low, self.decimals), form(high, self.decimals))
    }
}

fn format_with_interval(
    shown: &Rounded,
    form: &dyn Fn(f64, usize) -> String,
    unit: &str,
) -> String {
    let figure = |figure| form(figure, shown.decimals);
    let ends = shown.ends.map_or_else(
        || "[too few]".to_owned(),
        |(low, high)| format!("[{}, {}]", figure(low), figure(high)),
    );
    format!("{}{unit} {ends}", figure(shown.value))
}

fn is_shown_in_times(ratio: &Estimate) -> bool {
    ratio.value >= MIN_RATIO_IN_TIMES
}

/// The ends of the interval, if there are enough values for one.
pub(crate) fn interval_ends(estimate: &Estimate) -> Option<(f64, f64)> {
    estimate.low.zip(estimate.high)
}

fn format_number(figure: f64, decimals: usize) -> String {
    format!("{figure:.decimals$}")
}

/// Formats a number with its sign. A number that rounds to zero has none.
fn format_signed(figure: f64, decimals: usize) -> String {
    let magnitude = format_number(figure.abs(), decimals);
    let is_zero = magnitude.chars().all(|digit| matches!(digit, '0' | '.'));
    let sign = match figure {
        _ if is_zero => "",
        less if less < 0.0 => "−",
        _ => "+",
    };
    format!("{sign}{magnitude}")
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded for display; `as` saturates"
)]
fn round_to_integer(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: f64, low: f64, high: f64) -> Estimate {
        Estimate { value, low: Some(low), high: Some(high) }
    }

    fn ratio(ratio: Estimate) -> Change {
        Change { ratio: Some(ratio), difference: of(0.0, 0.0, 0.0) }
    }

    #[test]
    fn the_interval_decides_how_many_decimals_are_shown() {
        let shown = |value, low, high| format_change(&ratio(of(value, low, high)), MetricUnit::Us);
        assert_eq!(shown(0.389, 0.342, 0.447), "−61 % [−66, −55]");
        assert_eq!(shown(1.004, 0.979, 1.030), "+0.4 % [−2.1, +3.0]");
        assert_eq!(shown(1.0, 0.9991, 1.0004), "0.00 % [−0.09, +0.04]");
        assert_eq!(shown(44.0, 41.2, 47.9), "44.0 × [41.2, 47.9]");
        assert_eq!(
            format_change(&ratio(Estimate { value: 0.5, low: None, high: None }), MetricUnit::Us),
            "−50 % [too few]"
        );
    }

    #[test]
    fn changes_after_a_verb_have_no_sign() {
        assert_eq!(
            format_change_after_verb(&ratio(of(0.389, 0.342, 0.447)), MetricUnit::Us),
            "by 61 % (55 to 66 %)"
        );
        assert_eq!(
            format_change_after_verb(&ratio(of(3.42, 3.1, 3.8)), MetricUnit::Us),
            "to 3.42 times (3.10 to 3.80) as much"
        );
        assert_eq!(
            format_change_interval(&ratio(of(1.004, 0.979, 1.03)), MetricUnit::Us),
            "−2.1 to +3.0 %"
        );
        let from_nothing = Change { ratio: None, difference: of(51.0, 48.0, 55.0) };
        assert_eq!(format_change_after_verb(&from_nothing, MetricUnit::Count), "by 51 (48 to 55)");
        assert_eq!(format_change(&from_nothing, MetricUnit::Count), "+51 [48, 55]");
        let to_nothing = Change { ratio: None, difference: of(-5100.0, -5500.0, -4800.0) };
        assert_eq!(
            format_change_after_verb(&to_nothing, MetricUnit::Us),
            "by 5.10 ms (4.80 ms to 5.50 ms)"
        );
    }

    #[test]
    fn a_p_value_has_two_digits_or_is_very_small() {
        assert_eq!(
            [0.5, 0.034, 0.00052, 1e-9].map(format_p_value),
            ["0.50", "0.034", "0.0005", "< 0.0001"]
        );
    }
}
