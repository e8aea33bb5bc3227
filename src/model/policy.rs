//! What to do about a migration that is under way: start post-copy, give up, or nothing.
//!
//! Takes an [`Observation`]; gives an [`Action`] and its reason. Pure: no clock, no I/O, no
//! randomness of its own, so that the live driver, a replay and a simulation run the same code.
//! Knows nothing of QMP.

use base::units::{Bytes, Micros, human_bytes};
use serde::Serialize;

/// When post-copy is asked for, or pre-copy is told to finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchWhen {
    /// Not at all.
    Never,
    /// As soon as `migrate` is accepted.
    AtOnce,
    /// On the first MIGRATION_PASS above this: so many passes are over then.
    AfterPass(u64),
    /// So long after the source became active.
    After(Micros),
}

/// When pre-copy is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GiveUpWhen {
    /// More passes than this.
    pub passes: Option<u64>,
    /// More bytes sent than this.
    pub bytes: Option<Bytes>,
    /// Longer than this since `migrate`.
    pub after: Micros,
}

/// What is known at one moment of pre-copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Observation {
    /// Since `migrate`, µs.
    pub elapsed_us: u64,
    /// Since the source became active, µs; `None` before.
    pub active_us: Option<u64>,
    /// The last MIGRATION_PASS; 0 before the first.
    pub pass: u64,
    /// Bytes sent.
    pub transferred: u64,
    /// Whether post-copy has been asked for.
    pub postcopy_asked: bool,
    /// Whether pre-copy has been told to finish, whatever the blackout.
    pub finish_asked: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Ask for post-copy.
    StartPostcopy,
    /// Let pre-copy finish, however long the guest then stands.
    Finish,
    /// Cancel; the VM stays on the source.
    GiveUp,
}

/// The rules of one scenario: a moment to switch, one to finish, and one to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// When to ask for post-copy.
    pub switch: SwitchWhen,
    /// When pre-copy shall finish, whatever the blackout.
    pub finish: SwitchWhen,
    /// When to give up.
    pub give_up: GiveUpWhen,
}

impl Rules {
    /// What to do now, and why; `None` to go on. What ends the migration well goes before giving
    /// up: where it is allowed, it is the rescue.
    #[must_use]
    pub fn decide(&self, seen: &Observation) -> Option<(Action, String)> {
        if !seen.postcopy_asked
            && let Some(reason) = due(self.switch, seen)
        {
            return Some((Action::StartPostcopy, reason));
        }
        if !seen.finish_asked
            && let Some(reason) = due(self.finish, seen)
        {
            return Some((Action::Finish, reason));
        }
        self.give_up_now(seen).map(|reason| (Action::GiveUp, reason))
    }

    fn give_up_now(&self, seen: &Observation) -> Option<String> {
        let GiveUpWhen { passes, bytes, after } = self.give_up;
        if let Some(limit) = passes.filter(|limit| seen.pass > *limit) {
            return Some(format!("not converged after {limit} passes"));
        }
        if let Some(limit) = bytes.filter(|limit| seen.transferred > limit.0) {
            return Some(format!(
                "not converged after {} sent (limit {limit})",
                human_bytes(seen.transferred)
            ));
        }
        (seen.elapsed_us >= after.0).then(|| format!("not converged within {after}"))
    }
}

fn due(when: SwitchWhen, seen: &Observation) -> Option<String> {
    match when {
        SwitchWhen::Never => None,
        SwitchWhen::AtOnce => Some("mode is postcopy".to_owned()),
        SwitchWhen::AfterPass(n) => {
            (seen.pass > n).then(|| format!("pass {} began, {n} asked for", seen.pass))
        }
        SwitchWhen::After(time) => {
            seen.active_us.filter(|active| *active >= time.0).map(|_| format!("active for {time}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::units::{Bytes, Micros};

    fn rules(switch: SwitchWhen) -> Rules {
        Rules {
            switch,
            finish: SwitchWhen::Never,
            give_up: GiveUpWhen {
                passes: Some(5),
                bytes: Some(Bytes(1000)),
                after: Micros(1_000_000),
            },
        }
    }

    fn action(rules: Rules, seen: Observation) -> Option<Action> {
        rules.decide(&seen).map(|(action, _)| action)
    }

    #[test]
    fn each_bound_gives_up_and_none_does_so_early() {
        let rules = rules(SwitchWhen::Never);
        let seen = Observation {
            elapsed_us: 999_999,
            pass: 5,
            transferred: 1000,
            ..Observation::default()
        };
        assert_eq!(action(rules, seen), None);
        assert_eq!(
            action(rules, Observation { elapsed_us: 1_000_000, ..seen }),
            Some(Action::GiveUp)
        );
        assert_eq!(action(rules, Observation { pass: 6, ..seen }), Some(Action::GiveUp));
        assert_eq!(action(rules, Observation { transferred: 1001, ..seen }), Some(Action::GiveUp));
    }

    #[test]
    fn post_copy_is_asked_for_once_and_at_its_moment() {
        let seen = Observation::default();
        assert_eq!(action(rules(SwitchWhen::AtOnce), seen), Some(Action::StartPostcopy));
        assert_eq!(action(rules(SwitchWhen::AfterPass(1)), Observation { pass: 1, ..seen }), None);
        assert_eq!(
            action(rules(SwitchWhen::AfterPass(1)), Observation { pass: 2, ..seen }),
            Some(Action::StartPostcopy)
        );
        let asked = Observation { pass: 2, postcopy_asked: true, ..seen };
        assert_eq!(action(rules(SwitchWhen::AfterPass(1)), asked), None);
        let late = rules(SwitchWhen::After(Micros(10)));
        assert_eq!(action(late, Observation { active_us: None, ..seen }), None);
        assert_eq!(
            action(late, Observation { active_us: Some(10), ..seen }),
            Some(Action::StartPostcopy)
        );
    }

    #[test]
    fn pre_copy_is_told_to_finish_once_and_before_it_is_given_up() {
        let rules = Rules { finish: SwitchWhen::AfterPass(3), ..rules(SwitchWhen::Never) };
        let seen = Observation { pass: 3, ..Observation::default() };
        assert_eq!(action(rules, seen), None);
        assert_eq!(action(rules, Observation { pass: 9, ..seen }), Some(Action::Finish));
        let asked = Observation { pass: 4, finish_asked: true, ..seen };
        assert_eq!(action(rules, asked), None);
        assert_eq!(action(rules, Observation { pass: 9, ..asked }), Some(Action::GiveUp));
    }

    #[test]
    fn where_both_are_due_post_copy_rescues() {
        let seen = Observation { pass: 9, ..Observation::default() };
        assert_eq!(action(rules(SwitchWhen::AfterPass(1)), seen), Some(Action::StartPostcopy));
    }
}
