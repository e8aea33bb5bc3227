//! One migration as a line of characters, each a slice of time.

use crate::units::{human_bytes, human_micros};
use std::fmt::Write;

/// What is to be drawn; all times in µs since `migrate` was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// When it was over.
    pub end_us: u64,
    /// When the source became active.
    pub active_us: Option<u64>,
    /// When each further pass began.
    pub passes_us: Vec<u64>,
    /// STOP.
    pub stop_us: Option<u64>,
    /// RESUME.
    pub resume_us: Option<u64>,
    /// When faults fell.
    pub faults_us: Vec<u64>,
    /// The guest's write rate: when, bytes a second.
    pub write_bps: Vec<(u64, u64)>,
}

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Lines: the scale, the phases, what the signs mean, and the write rate if it is known.
#[must_use]
pub fn timeline(marks: &Timeline, width: usize) -> String {
    if marks.end_us == 0 || width < 10 {
        return String::new();
    }
    let slice = |at: usize| {
        let edge = |at: usize| u64::try_from(u128::from(marks.end_us) * at as u128 / width as u128).unwrap_or(u64::MAX);
        (edge(at), edge(at + 1).max(edge(at) + 1))
    };
    let bar: String = (0..width).map(|at| sign(marks, slice(at))).collect();
    let end = human_micros(marks.end_us);
    let mut text = format!("0{end:>rest$}\n{bar}\n", rest = width - 1);
    let _ = writeln!(text, "{}", legend(&bar));
    let most = marks.write_bps.iter().map(|(_, bps)| *bps).max().unwrap_or(0);
    if most > 0 {
        let level = |at: usize| {
            let (from, to) = slice(at);
            // The report nearest to the middle of the slice.
            let nearest = marks.write_bps.iter().min_by_key(|(at, _)| at.abs_diff(from.midpoint(to)));
            let of_eight = nearest.map_or(0, |(_, bps)| u128::from(*bps) * 7 / u128::from(most));
            LEVELS[usize::try_from(of_eight).unwrap_or(0).min(7)]
        };
        let rates: String = (0..width).map(level).collect();
        let _ = writeln!(text, "{rates}\nthe guest writes, up to {}/s", human_bytes(most));
    }
    text
}

/// The blackout wins its slices, however short it is: it is what everybody looks for.
fn sign(marks: &Timeline, (from, to): (u64, u64)) -> char {
    let stopped = marks.stop_us.is_some_and(|stop| stop < to);
    let resumed = marks.resume_us.is_some_and(|resume| resume <= from);
    if stopped && !resumed {
        return 'X';
    }
    if stopped {
        return if marks.faults_us.iter().any(|at| (from..to).contains(at)) { 'f' } else { '~' };
    }
    if marks.active_us.is_none_or(|active| active > from) && marks.passes_us.iter().all(|pass| *pass > from) {
        return '.';
    }
    let pass = marks.passes_us.iter().filter(|began| **began < to).count() + 1;
    char::from_digit(u32::try_from(pass % 10).unwrap_or(0), 10).unwrap_or('?')
}

fn legend(bar: &str) -> String {
    let meanings = [(".", "setup"), ("0123456789", "pass"), ("X", "blackout"), ("~", "after it"), ("f", "faults")];
    let used = meanings.iter().filter(|(signs, _)| bar.chars().any(|c| signs.contains(c)));
    let say = |(signs, meaning): &(&str, &str)| {
        if signs.len() > 1 { format!("1 2 … {meaning}") } else { format!("{signs} {meaning}") }
    };
    used.map(say).collect::<Vec<_>>().join("   ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_blackout_and_catch_up_have_their_signs() {
        let precopy = Timeline {
            end_us: 320_000,
            active_us: Some(20_000),
            passes_us: vec![200_000, 260_000, 300_000],
            stop_us: Some(310_000),
            resume_us: Some(311_000),
            write_bps: vec![(0, 50 << 20), (100_000, 50 << 20), (300_000, 10 << 20)],
            ..Timeline::default()
        };
        insta::assert_snapshot!(timeline(&precopy, 50), @r"
        0                                           320 ms
        ....11111111111111111111111111122222222233333344X~
        . setup   1 2 … pass   X blackout   ~ after it
        ███████████████████████████████▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂
        the guest writes, up to 50.0 MiB/s
        ");
        let postcopy = Timeline {
            end_us: 100_000,
            active_us: Some(1000),
            stop_us: Some(2000),
            resume_us: Some(4000),
            faults_us: vec![5000, 5100, 30_000, 31_000],
            ..Timeline::default()
        };
        insta::assert_snapshot!(timeline(&postcopy, 50), @r"
        0                                           100 ms
        .Xf~~~~~~~~~~~~f~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
        . setup   X blackout   ~ after it   f faults
        ");
        let cancelled = Timeline { end_us: 100_000, active_us: Some(50_000), ..Timeline::default() };
        insta::assert_snapshot!(timeline(&cancelled, 20), @r"
        0             100 ms
        ..........1111111111
        . setup   1 2 … pass
        ");
        assert_eq!(timeline(&Timeline::default(), 50), "");
    }
}
