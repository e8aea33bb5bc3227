//! One migration as lines of text, from left to right: a time scale, a bar of its phases, curves of
//! the guest's write rate and of the link's throughput, and a legend.
//!
//! Each column is a slice of time. A pass that is shorter than a column may not be visible. The
//! blackout is always visible.

use base::units::{human_bytes, human_micros};

const MIN_WIDTH: usize = 10;
const MAX_WIDTH: usize = 500;
/// The columns of a label and the space after it: `|1.50 s `.
const LABEL_COLUMNS: u64 = 9;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The times of a migration's events, in µs since `migrate` was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// The time that the whole line stands for.
    pub total_us: u64,
    /// The start of each pass, from the second on.
    pub passes_us: Vec<u64>,
    /// When the source began to send; `None` if it did not.
    pub active_us: Option<u64>,
    /// When the guest stopped; `None` if it did not.
    pub stop_us: Option<u64>,
    /// When the guest ran again. `None` after a stop: it did not run again until the end.
    pub resume_us: Option<u64>,
    /// Whether the time after the blackout was post-copy.
    pub postcopy: bool,
    /// When both sides had finished, or the migration was cancelled.
    pub done_us: u64,
    /// The times of faults in post-copy.
    pub faults_us: Vec<u64>,
    /// The guest's reports of its write rate: the time, and bytes per second since the last report.
    pub write_bps: Vec<(u64, u64)>,
    /// The link's throughput to the destination: the time, and bytes per second from then on.
    pub link_bps: Vec<(u64, u64)>,
}

/// Formats the lines. Each has at most `width` columns, except the legend.
#[must_use]
pub fn format_timeline(marks: &Timeline, width: usize) -> String {
    let axis = Axis {
        total_us: marks.total_us.max(marks.done_us).max(1),
        width: width.clamp(MIN_WIDTH, MAX_WIDTH),
    };
    let symbols = draw_symbols(marks, &axis);
    let mut lines = vec![draw_scale(&axis), symbols.iter().collect()];
    if !marks.write_bps.is_empty() {
        lines.push(draw_write_rate(marks, &axis, &symbols));
    }
    if !marks.link_bps.is_empty() {
        lines.push(draw_throughput(marks, &axis));
    }
    lines.push(format_legend(marks, &symbols));
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Converts times to columns and back.
struct Axis {
    total_us: u64,
    width: usize,
}

impl Axis {
    /// The column in which a time falls; the last column for a later time.
    fn column(&self, us: u64) -> usize {
        let column = u128::from(us) * as_u128(self.width) / u128::from(self.total_us);
        usize::try_from(column).unwrap_or(usize::MAX).min(self.width - 1)
    }

    /// The time in the middle of a column, which decides what the column shows.
    fn middle(&self, column: usize) -> u64 {
        let middle =
            (as_u128(column) * 2 + 1) * u128::from(self.total_us) / (as_u128(self.width) * 2);
        u64::try_from(middle).unwrap_or(u64::MAX)
    }

    /// The columns that show a period; at least the one in which it starts.
    fn columns(&self, from_us: u64, to_us: u64) -> Vec<usize> {
        let inside: Vec<usize> = (0..self.width)
            .filter(|column| (from_us..to_us).contains(&self.middle(*column)))
            .collect();
        if inside.is_empty() { vec![self.column(from_us)] } else { inside }
    }
}

fn as_u128(count: usize) -> u128 {
    u128::try_from(count).unwrap_or(u128::MAX)
}

fn draw_symbols(marks: &Timeline, axis: &Axis) -> Vec<char> {
    let mut symbols: Vec<char> =
        (0..axis.width).map(|column| symbol_at(marks, axis.middle(column))).collect();
    let mut put = |columns: Vec<usize>, symbol: char, over: Option<char>| {
        for column in columns {
            if let Some(place) =
                symbols.get_mut(column).filter(|place| over.is_none_or(|over| **place == over))
            {
                *place = symbol;
            }
        }
    };
    if let Some(resume) = marks.resume_us.filter(|_| marks.postcopy) {
        put(axis.columns(resume, marks.done_us), '~', None);
    }
    put(marks.faults_us.iter().map(|fault| axis.column(*fault)).collect(), 'f', Some('~'));
    // The blackout is drawn last, so that nothing hides it.
    if let Some(stop) = marks.stop_us {
        put(axis.columns(stop, marks.resume_us.unwrap_or(marks.done_us)), 'X', None);
    }
    symbols
}

/// The symbol for a time, without regard to the blackout and post-copy.
fn symbol_at(marks: &Timeline, us: u64) -> char {
    let is_past = |mark: Option<u64>| mark.is_some_and(|mark| us >= mark);
    if us >= marks.done_us {
        ' '
    } else if is_past(marks.resume_us) {
        '-'
    } else if is_past(marks.active_us) {
        let pass = 1 + marks.passes_us.iter().filter(|start| **start <= us).count();
        u32::try_from(pass % 10).ok().and_then(|digit| char::from_digit(digit, 10)).unwrap_or('?')
    } else {
        '.'
    }
}

/// Draws the time scale, `|0      |500 ms   |1.00 s`. Each `|` is in the column of its time.
fn draw_scale(axis: &Axis) -> String {
    let labels = (axis.width as u64 / LABEL_COLUMNS).max(1);
    let step = round_up(axis.total_us.div_ceil(labels));
    let mut line = String::new();
    let mut columns = 0;
    for us in
        (0..=labels).map_while(|tick| step.checked_mul(tick)).take_while(|us| *us < axis.total_us)
    {
        let label = if us == 0 { "|0".to_owned() } else { format!("|{}", human_micros(us)) };
        let (column, length) = (axis.column(us), label.chars().count());
        if column < columns || column + length > axis.width {
            continue;
        }
        line.push_str(&" ".repeat(column - columns));
        line.push_str(&label);
        columns = column + length;
    }
    line
}

/// Rounds up to the next of 1, 2, 5, 10, 20, 50, …
fn round_up(us: u64) -> u64 {
    let decades = std::iter::successors(Some(1u64), |decade| decade.checked_mul(10));
    let steps = decades.flat_map(|decade| [1, 2, 5].map(|first| decade.saturating_mul(first)));
    steps.into_iter().find(|step| *step >= us).unwrap_or(u64::MAX)
}

/// Draws the link's throughput as bars: the mean of each column, or nothing where there is none.
fn draw_throughput(marks: &Timeline, axis: &Axis) -> String {
    let mut sums = vec![(0u128, 0u128); axis.width];
    for (us, rate) in &marks.link_bps {
        if let Some((sum, count)) = sums.get_mut(axis.column(*us)) {
            (*sum, *count) = (*sum + u128::from(*rate), *count + 1);
        }
    }
    let highest = highest(&marks.link_bps);
    let height = |(sum, count): &(u128, u128)| {
        sum.checked_div(*count).and_then(|mean| level(mean, highest)).unwrap_or(' ')
    };
    sums.iter().map(height).collect()
}

fn highest(rates: &[(u64, u64)]) -> u64 {
    rates.iter().map(|(_, rate)| *rate).max().unwrap_or(0).max(1)
}

fn level(rate: u128, highest: u64) -> Option<char> {
    usize::try_from(rate * 7 / u128::from(highest))
        .ok()
        .and_then(|level| LEVELS.get(level))
        .copied()
}

/// Draws the guest's write rate as bars. A report covers the time since the previous one, but never
/// the blackout or the time before it.
fn draw_write_rate(marks: &Timeline, axis: &Axis, symbols: &[char]) -> String {
    let mut reports = marks.write_bps.clone();
    reports.sort_unstable();
    let highest = highest(&reports);
    let reported = |column: usize| {
        let here: Vec<u64> = reports
            .iter()
            .filter(|(us, _)| axis.column(*us) == column)
            .map(|(_, rate)| *rate)
            .collect();
        let sum: u128 = here.iter().copied().map(u128::from).sum();
        sum.checked_div(as_u128(here.len()))
    };
    let next = |column: usize| {
        let next = reports.partition_point(|(us, _)| axis.column(*us) <= column);
        let (us, rate) = reports.get(next).filter(|_| next > 0)?;
        let until = symbols.get(column..=axis.column(*us))?;
        (!until.contains(&'X')).then_some(u128::from(*rate))
    };
    (0..axis.width)
        .map(|column| {
            reported(column)
                .or_else(|| next(column))
                .and_then(|rate| level(rate, highest))
                .unwrap_or(' ')
        })
        .collect()
}

fn format_legend(marks: &Timeline, symbols: &[char]) -> String {
    let mut entries = Vec::new();
    let mut entry = |symbol: char, meaning: &str| {
        if symbols.contains(&symbol) {
            entries.push(format!("{symbol} {meaning}"));
        }
    };
    entry('.', "setup");
    entry('X', "blackout");
    entry('~', "post-copy");
    entry('f', "faults");
    entry('-', "finishing");
    if let Some(passes) = format_passes(symbols) {
        let after_setup = usize::from(symbols.contains(&'.'));
        entries.insert(after_setup, passes);
    }
    if let Some(highest) = marks.write_bps.iter().map(|(_, rate)| *rate).max() {
        entries.push(format!("▁█ guest writes, max {}/s", human_bytes(highest)));
    }
    if let Some(highest) = marks.link_bps.iter().map(|(_, rate)| *rate).max() {
        let below = if marks.write_bps.is_empty() { "▁█" } else { "below:" };
        entries.push(format!("{below} link, max {}/s", human_bytes(highest)));
    }
    entries.join("   ")
}

fn format_passes(symbols: &[char]) -> Option<String> {
    let digits = || symbols.iter().filter(|symbol| symbol.is_ascii_digit());
    match (digits().min()?, digits().max()?) {
        (only, same) if only == same => Some(format!("{only} pre-copy pass")),
        ('0', last) => Some(format!("0-{last} pre-copy passes, by their last digit")),
        (first, last) => Some(format!("{first}-{last} pre-copy passes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn draws_pre_copy_in_four_passes() {
        let marks = Timeline {
            total_us: 4_200_000,
            passes_us: vec![2_400_000, 3_300_000, 3_900_000],
            active_us: Some(90_000),
            stop_us: Some(4_150_000),
            resume_us: Some(4_154_000),
            done_us: 4_160_000,
            ..Timeline::default()
        };
        insta::assert_snapshot!(format_timeline(&marks, 72), @r"
            |0               |1.00 s          |2.00 s          |3.00 s
            ..111111111111111111111111111111111111111222222222222222233333333334444X
            . setup   1-4 pre-copy passes   X blackout
            ");
    }

    #[test]
    fn draws_post_copy_with_faults_and_the_write_rate() {
        let marks = Timeline {
            total_us: 1_000_000,
            active_us: Some(50_000),
            stop_us: Some(400_000),
            resume_us: Some(460_000),
            postcopy: true,
            done_us: 900_000,
            faults_us: vec![470_000, 475_000, 520_000, 610_000, 640_000],
            write_bps: (0..50u64)
                .filter(|n| !(20..23).contains(n))
                .map(|n| (n * 20_000, if n < 20 { 200 << 20 } else { (n - 20) * (6 << 20) }))
                .collect(),
            ..Timeline::default()
        };
        insta::assert_snapshot!(format_timeline(&marks, 72), @r"
|0            |200 ms       |400 ms        |600 ms       |800 ms
....1111111111111111111111111XXXXff~~f~~~~~f~~f~~~~~~~~~~~~~~~~~~
████████████████████████████     ▁▁▂▂▂▂▂▂▂▃▃▃▃▃▃▃▄▄▄▄▄▄▄▄▅▅▅▅▅▆▆▆▆▆▆▆▆▇
. setup   1 pre-copy pass   X blackout   ~ post-copy   f faults   ▁█ guest writes, max 200 MiB/s
");
    }

    #[test]
    fn draws_a_cancelled_migration_without_a_blackout() {
        let marks = Timeline {
            total_us: 30_000_000,
            passes_us: (1..12).map(|n| n * 2_500_000).collect(),
            active_us: Some(10_000),
            done_us: 30_000_000,
            ..Timeline::default()
        };
        insta::assert_snapshot!(format_timeline(&marks, 60), @r"
            |0        |5.00 s   |10.0 s   |15.0 s   |20.0 s   |25.0 s
            111112222233333444445555566666777778888899999000001111122222
            0-9 pre-copy passes, by their last digit
            ");
    }

    #[test]
    fn draws_only_a_scale_if_no_times_are_known() {
        insta::assert_snapshot!(format_timeline(&Timeline::default(), 20), @"|0");
    }

    #[test]
    fn rounds_steps_up() {
        assert_eq!([1, 3, 10, 11, 499, 501].map(round_up), [1, 5, 10, 20, 500, 1000]);
        assert_eq!(round_up(u64::MAX), u64::MAX);
    }

    fn any_marks() -> impl Strategy<Value = Timeline> {
        let times = || prop::collection::vec(any::<u64>(), 0..6);
        let rates = prop::collection::vec(any::<(u64, u64)>(), 0..6);
        let marks = (
            any::<u64>(),
            times(),
            any::<[Option<u64>; 3]>(),
            any::<bool>(),
            any::<u64>(),
            times(),
            rates,
        );
        marks.prop_map(
            |(
                total_us,
                passes_us,
                [active_us, stop_us, resume_us],
                postcopy,
                done_us,
                faults_us,
                write_bps,
            )| {
                Timeline {
                    total_us,
                    passes_us,
                    active_us,
                    stop_us,
                    resume_us,
                    postcopy,
                    done_us,
                    faults_us,
                    link_bps: write_bps.clone(),
                    write_bps,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn does_not_panic_and_always_shows_the_blackout(
            marks in any_marks(),
            width in any::<usize>(),
        ) {
            let text = format_timeline(&marks, width);
            let lines: Vec<&str> = text.lines().collect();
            let columns = width.clamp(MIN_WIDTH, MAX_WIDTH);
            let mut drawn = lines.iter().rev().skip(1);
            prop_assert!(drawn.all(|line| line.chars().count() <= columns), "{}", text);
            prop_assert_eq!(lines[1].contains('X'), marks.stop_us.is_some());
        }
    }
}
