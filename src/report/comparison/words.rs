//! MetricComparison, changes and intervals as text.
//!
//! A figure is not more precise than its interval: the width of that says how many decimals there are.

use crate::campaign::MetricUnit;
use crate::campaign::compare::Change;
use crate::campaign::statistics::{Estimate, Proportion};
use crate::units::{human_bytes, human_micros};

/// From this on, "by 240 %" is harder to read than "3.4 times".
const TIMES: f64 = 3.0;

/// `4.20 ms`.
pub(super) fn value(value: f64, unit: MetricUnit) -> String {
    let sign = if value < 0.0 { "−" } else { "" };
    let magnitude = whole(value.abs());
    let text = match unit {
        MetricUnit::Us => human_micros(magnitude),
        MetricUnit::Bytes => human_bytes(magnitude),
        MetricUnit::BytesPerSecond => format!("{}/s", human_bytes(magnitude)),
        // A count of passes may be a median of medians.
        MetricUnit::Count => number(value.abs(), if value.fract() == 0.0 { 0 } else { 1 }),
    };
    format!("{sign}{text}")
}

/// `4.20 ms [4.01 ms, 4.44 ms]`, or that there are too few values for an interval.
pub(in crate::report) fn estimate(estimate: &Estimate, unit: MetricUnit) -> String {
    let ends =
        ends(estimate).map(|(low, high)| format!("[{}, {}]", value(low, unit), value(high, unit)));
    format!("{} {}", value(estimate.value, unit), ends.unwrap_or_else(|| "[too few]".to_owned()))
}

/// `−61 % [−66, −55]`, in the unit where there is no ratio.
pub(in crate::report) fn change(change: &Change, unit: MetricUnit) -> String {
    match &change.ratio {
        Some(ratio) if in_times(ratio) => {
            let all = Shown::of(ratio, |ratio| ratio);
            bracketed(&all, &|figure, decimals| number(figure, decimals), " ×")
        }
        Some(ratio) => bracketed(&Shown::of(ratio, percent), &signed, " %"),
        None => {
            let difference = &change.difference;
            let plus = if difference.value > 0.0 { "+" } else { "" };
            format!("{plus}{}", estimate(difference, unit))
        }
    }
}

/// `−61 %`: without an interval, to say over what cells' changes spread.
pub(super) fn change_alone(change: &Change, unit: MetricUnit) -> String {
    match &change.ratio {
        Some(ratio) if in_times(ratio) => format!("{} ×", number(ratio.value, 1)),
        Some(ratio) => {
            format!("{} %", signed(percent(ratio.value), Shown::of(ratio, percent).decimals))
        }
        None => value(change.difference.value, unit),
    }
}

/// `by 61 % (55 to 66 %)`, `to 3.4 times (3.1 to 3.8) as much`.
pub(super) fn by_how_much(change: &Change, unit: MetricUnit) -> String {
    match &change.ratio {
        Some(ratio) if in_times(ratio) => {
            let all = Shown::of(ratio, |ratio| ratio);
            format!(
                "to {} times ({}) as much",
                number(all.value, all.decimals),
                all.range(number, "")
            )
        }
        Some(ratio) => {
            let all = Shown::of(ratio, |ratio| percent(ratio).abs());
            format!("by {} % ({})", number(all.value, all.decimals), all.range(number, " %"))
        }
        None => {
            let amount = |figure: f64| value(figure.abs(), unit);
            let (mut low, mut high) = ends(&change.difference)
                .unwrap_or((change.difference.value, change.difference.value));
            if high <= 0.0 {
                (low, high) = (high, low);
            }
            format!("by {} ({} to {})", amount(change.difference.value), amount(low), amount(high))
        }
    }
}

/// `−2.1 to +3.0 %`: how large a difference there may still be.
pub(super) fn within(change: &Change, unit: MetricUnit) -> String {
    match &change.ratio {
        Some(ratio) if in_times(ratio) => {
            format!("{} ×", Shown::of(ratio, |ratio| ratio).range(number, ""))
        }
        Some(ratio) => Shown::of(ratio, percent).range(signed, " %"),
        None => {
            let (low, high) = ends(&change.difference)
                .unwrap_or((change.difference.value, change.difference.value));
            format!("{} to {}", value(low, unit), value(high, unit))
        }
    }
}

/// `70 %, 55 to 82 %`.
pub(in crate::report) fn share(share: &Proportion) -> String {
    let percent = |share: f64| number(share * 100.0, 0);
    format!("{} %, {} to {} %", percent(share.share), percent(share.low), percent(share.high))
}

/// `0.0021`, `< 0.0001`.
pub(super) fn probability(p: f64) -> String {
    match p {
        less if less < 0.0001 => "< 0.0001".to_owned(),
        less if less < 0.001 => format!("{less:.4}"),
        less if less < 0.1 => format!("{less:.3}"),
        more => format!("{more:.2}"),
    }
}

/// In percent of the first.
fn percent(ratio: f64) -> f64 {
    (ratio - 1.0) * 100.0
}

/// A figure, the ends of its interval in ascending order, and with how many decimals all three are shown.
struct Shown {
    value: f64,
    ends: Option<(f64, f64)>,
    decimals: usize,
}

impl Shown {
    fn of(estimate: &Estimate, form: impl Fn(f64) -> f64) -> Shown {
        let ends = ends(estimate).map(|(low, high)| (form(low), form(high)));
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
        Shown { value, ends, decimals }
    }

    fn range(&self, form: fn(f64, usize) -> String, unit: &str) -> String {
        let (low, high) = self.ends.unwrap_or((self.value, self.value));
        if low == high {
            return format!("{}{unit}", form(low, self.decimals));
        }
        format!("{} to {}{unit}", form(low, self.decimals), form(high, self.decimals))
    }
}

fn bracketed(shown: &Shown, form: &dyn Fn(f64, usize) -> String, unit: &str) -> String {
    let figure = |figure| form(figure, shown.decimals);
    let ends = shown.ends.map_or_else(
        || "[too few]".to_owned(),
        |(low, high)| format!("[{}, {}]", figure(low), figure(high)),
    );
    format!("{}{unit} {ends}", figure(shown.value))
}

fn in_times(ratio: &Estimate) -> bool {
    ratio.value >= TIMES
}

pub(in crate::report) fn ends(estimate: &Estimate) -> Option<(f64, f64)> {
    estimate.low.zip(estimate.high)
}

fn number(figure: f64, decimals: usize) -> String {
    format!("{figure:.decimals$}")
}

/// With a sign, unless it is nothing.
fn signed(figure: f64, decimals: usize) -> String {
    let magnitude = number(figure.abs(), decimals);
    let nothing = magnitude.chars().all(|digit| matches!(digit, '0' | '.'));
    let sign = match figure {
        _ if nothing => "",
        less if less < 0.0 => "−",
        _ => "+",
    };
    format!("{sign}{magnitude}")
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "for people; `as` saturates"
)]
fn whole(value: f64) -> u64 {
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
    fn an_interval_says_how_many_decimals_there_are() {
        let shown = |value, low, high| change(&ratio(of(value, low, high)), MetricUnit::Us);
        assert_eq!(shown(0.389, 0.342, 0.447), "−61 % [−66, −55]");
        assert_eq!(shown(1.004, 0.979, 1.030), "+0.4 % [−2.1, +3.0]");
        assert_eq!(shown(1.0, 0.9991, 1.0004), "0.00 % [−0.09, +0.04]");
        assert_eq!(shown(44.0, 41.2, 47.9), "44.0 × [41.2, 47.9]");
        assert_eq!(
            change(&ratio(Estimate { value: 0.5, low: None, high: None }), MetricUnit::Us),
            "−50 % [too few]"
        );
    }

    #[test]
    fn sentences_have_their_figures_without_a_sign() {
        assert_eq!(
            by_how_much(&ratio(of(0.389, 0.342, 0.447)), MetricUnit::Us),
            "by 61 % (55 to 66 %)"
        );
        assert_eq!(
            by_how_much(&ratio(of(3.42, 3.1, 3.8)), MetricUnit::Us),
            "to 3.42 times (3.10 to 3.80) as much"
        );
        assert_eq!(within(&ratio(of(1.004, 0.979, 1.03)), MetricUnit::Us), "−2.1 to +3.0 %");
        let from_nothing = Change { ratio: None, difference: of(51.0, 48.0, 55.0) };
        assert_eq!(by_how_much(&from_nothing, MetricUnit::Count), "by 51 (48 to 55)");
        assert_eq!(change(&from_nothing, MetricUnit::Count), "+51 [48, 55]");
        let to_nothing = Change { ratio: None, difference: of(-5100.0, -5500.0, -4800.0) };
        assert_eq!(by_how_much(&to_nothing, MetricUnit::Us), "by 5.10 ms (4.80 ms to 5.50 ms)");
    }

    #[test]
    fn a_probability_has_two_digits_or_is_very_small() {
        assert_eq!(
            [0.5, 0.034, 0.00052, 1e-9].map(probability),
            ["0.50", "0.034", "0.0005", "< 0.0001"]
        );
    }
}
