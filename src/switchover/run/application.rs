//! What an application in the guest made of the migration, by the answers that its client told.
//! Pure.

use analysis::downtime::brownout::Marks;
use lab::LoadStatus;
use record::{Answered, Application};

/// `answers` in the order of arrival, up to `until_ns`; `marks` of all migrations.
pub(super) fn application(
    name: String,
    answers: &[Answered],
    marks: &[Marks],
    load: &LoadStatus,
    until_ns: u64,
) -> Application {
    let counts = Application {
        name,
        requests: load.answered,
        wrong_answers: load.wrong,
        missing: load.missing,
        ..Application::default()
    };
    let (Some(first), Some(first_mark), Some(last_mark)) =
        (answers.first(), marks.first(), marks.last())
    else {
        return counts;
    };
    let (began, ended) = (first_mark.started_ns, last_mark.ended_ns);
    // Whoever still waits for an answer at the end has waited until then.
    let mut answers = answers.to_vec();
    answers.push(Answered { count: 0, arrived_ns: until_ns });
    let gaps: Vec<Gap> = answers
        .windows(2)
        .map(|pair| Gap { from_ns: pair[0].arrived_ns, to_ns: pair[1].arrived_ns })
        .collect();
    let longest = |of: &dyn Fn(&Gap) -> bool| gaps.iter().filter(|gap| of(gap)).map(Gap::us).max();
    Application {
        rps_before: rate(&answers, first.arrived_ns, began),
        rps_during: rate(&answers, began, ended),
        rps_after: rate(&answers, ended, until_ns),
        // Who waited for any of the migration, waited because of it.
        longest_gap_before_us: longest(&|gap| gap.to_ns <= began),
        longest_gap_during_us: longest(&|gap| gap.to_ns > began && gap.from_ns < ended),
        longest_gap_after_us: longest(&|gap| gap.from_ns >= ended),
        ..counts
    }
}

/// Between two answers.
struct Gap {
    from_ns: u64,
    to_ns: u64,
}

impl Gap {
    fn us(&self) -> u64 {
        self.to_ns.saturating_sub(self.from_ns) / 1000
    }
}

/// Answers a second. The first answer's own count belongs to the time before it.
fn rate(answers: &[Answered], from_ns: u64, to_ns: u64) -> Option<u64> {
    let within = answers
        .iter()
        .filter(|answered| answered.arrived_ns > from_ns && answered.arrived_ns <= to_ns);
    let count: u128 = within.map(|answered| u128::from(answered.count)).sum();
    let nanos = to_ns.checked_sub(from_ns).filter(|ns| *ns > 0)?;
    u64::try_from(count * 1_000_000_000 / u128::from(nanos)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: [Marks; 1] = [Marks {
        started_ns: 100_000_000,
        stop_ns: Some(140_000_000),
        resume_ns: Some(160_000_000),
        ended_ns: 165_000_000,
        postcopy: true,
    }];

    fn at(ms: u64, count: u8) -> Answered {
        Answered { count, arrived_ns: ms * 1_000_000 }
    }

    fn seen(answers: &[Answered], load: &LoadStatus) -> Application {
        application("redis".to_owned(), answers, &MARKS, load, 400_000_000)
    }

    #[test]
    fn rates_are_by_phase_and_who_waits_through_the_migration_waits_because_of_it() {
        let before = (0..=100).step_by(2).map(|ms| at(ms, 4));
        let during = (102..140).step_by(2).map(|ms| at(ms, 4));
        let after = (190..=390).step_by(10).map(|ms| at(ms, 30));
        let answers: Vec<Answered> = before.chain(during).chain(after).collect();
        let load = LoadStatus {
            answered: Some(9000),
            wrong: Some(0),
            missing: Some(1),
            ..LoadStatus::default()
        };
        let seen = seen(&answers, &load);
        assert_eq!(
            [seen.rps_before, seen.rps_during, seen.rps_after],
            [Some(2000), Some(19 * 4 * 1000 / 65), Some(21 * 30 * 1000 / 235)]
        );
        let gaps =
            [seen.longest_gap_before_us, seen.longest_gap_during_us, seen.longest_gap_after_us];
        assert_eq!(gaps, [Some(2000), Some(52_000), Some(10_000)]);
        assert_eq!(
            (seen.requests, seen.wrong_answers, seen.missing),
            (Some(9000), Some(0), Some(1))
        );
    }

    #[test]
    fn an_application_that_never_answers_again_shows_in_gap_and_rate() {
        let seen = seen(&[at(10, 1), at(90, 1)], &LoadStatus::default());
        assert_eq!(
            (seen.longest_gap_before_us, seen.longest_gap_during_us),
            (Some(80_000), Some(310_000))
        );
        assert_eq!((seen.longest_gap_after_us, seen.rps_after), (None, Some(0)));
    }

    #[test]
    fn what_was_not_seen_is_null() {
        let nothing = seen(&[], &LoadStatus::default());
        assert_eq!(nothing, Application { name: "redis".to_owned(), ..Application::default() });
    }
}
