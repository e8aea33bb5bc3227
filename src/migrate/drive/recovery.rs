//! Decides when to retry a broken post-copy and when to give up. This is a pure part of the
//! [`Machine`](super::Machine).
//!
//! QEMU keeps both sides in `postcopy-paused`. The guest runs on the destination until it touches a
//! page that is missing. Nothing is lost until one of the two processes ends, so there is no hurry.

use crate::plan::RecoveryRules;
use base::Side;
use qmp::Status;

/// The wait after post-copy lost its channel. If a QEMU exited, its exit is reported a moment
/// later, and explains more than the lost channel.
const GRACE_NS: u64 = 500_000_000;
/// The longest pause between two attempts.
const MAX_BACKOFF_NS: u64 = 2_000_000_000;
/// An attempt without a result after this time has failed.
const ATTEMPT_NS: u64 = 30_000_000_000;

/// What to do about a broken post-copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Do nothing now.
    Nothing,
    /// Make an attempt, for this reason.
    Try(String),
    /// Give up, for this reason.
    GiveUp(String),
}

/// The state of the recovery.
#[derive(Clone, Debug)]
pub(super) struct Recovery {
    rules: RecoveryRules,
    /// The time since which each side, source first, is paused.
    paused_ns: [Option<u64>; 2],
    attempts_made: u32,
    /// The start of the attempt that is under way.
    trying_ns: Option<u64>,
    not_before_ns: u64,
    last_error: Option<String>,
}

impl Recovery {
    pub(super) fn new(rules: RecoveryRules) -> Recovery {
        Recovery {
            rules,
            paused_ns: [None; 2],
            attempts_made: 0,
            trying_ns: None,
            not_before_ns: 0,
            last_error: None,
        }
    }

    /// Takes the migration status of a side.
    pub(super) fn saw(&mut self, side: Side, status: &Status, now_ns: u64) {
        let since = &mut self.paused_ns[usize::from(side == Side::Destination)];
        match status {
            Status::PostcopyPaused => {
                since.get_or_insert(now_ns);
            }
            // Somebody else recovered post-copy, or it was never broken.
            Status::PostcopyActive | Status::Completed => *since = None,
            _ => {}
        }
    }

    /// The attempt succeeded. The count of attempts starts again at zero.
    pub(super) fn succeeded(&mut self) {
        *self = Recovery::new(self.rules);
    }

    /// Whether a side is known to be paused.
    pub(super) fn is_paused(&self) -> bool {
        self.paused_ns.iter().any(Option::is_some)
    }

    /// Whether this side is known to be paused.
    pub(super) fn is_paused_on(&self, side: Side) -> bool {
        self.paused_ns[usize::from(side == Side::Destination)].is_some()
    }

    /// Whether an attempt is under way.
    pub(super) fn is_trying(&self) -> bool {
        self.trying_ns.is_some()
    }

    /// The attempt failed with this error.
    pub(super) fn failed(&mut self, text: &str, now_ns: u64) {
        self.trying_ns = None;
        self.last_error = Some(text.to_owned());
        let doublings = self.attempts_made.saturating_sub(1).min(16);
        let pause_ns =
            (self.rules.backoff.0 * 1000).saturating_mul(1 << doublings).min(MAX_BACKOFF_NS);
        self.not_before_ns = now_ns + pause_ns;
    }

    /// Returns what to do now. `stalled` means that post-copy is not paused but sends nothing.
    /// `wanted` means that the user has not asked to stop.
    pub(super) fn due(&mut self, stalled: bool, wanted: bool, now_ns: u64) -> Due {
        if self.trying_ns.is_some_and(|since_ns| now_ns.saturating_sub(since_ns) > ATTEMPT_NS) {
            self.failed("it had no result in time", now_ns);
        }
        let paused = self.paused_ns.iter().flatten().min();
        let ripe =
            paused.is_some_and(|since_ns| now_ns.saturating_sub(*since_ns) > GRACE_NS) || stalled;
        if !ripe || self.trying_ns.is_some() || now_ns < self.not_before_ns {
            return Due::Nothing;
        }
        if self.attempts_made >= self.rules.attempts || !wanted {
            return Due::GiveUp(self.given_up(stalled, wanted));
        }
        self.attempts_made += 1;
        self.trying_ns = Some(now_ns);
        let broken = if stalled { "post-copy sends nothing" } else { "post-copy lost its channel" };
        let before = self
            .last_error
            .as_ref()
            .map_or_else(String::new, |words| format!(" (the last one: {words})"));
        Due::Try(format!(
            "{broken}; attempt {} of {}{before}",
            self.attempts_made, self.rules.attempts
        ))
    }

    fn given_up(&self, stalled: bool, wanted: bool) -> String {
        let what = if stalled { "post-copy sends nothing" } else { "post-copy lost its channel" };
        let tried = match (&self.last_error, wanted) {
            (_, false) => "you interrupted".to_owned(),
            (Some(words), _) => {
                format!(
                    "{} attempts to recover it failed, the last one: {words}",
                    self.attempts_made
                )
            }
            (None, _) => "recovery is off (recovery.attempts = 0)".to_owned(),
        };
        format!(
            "{what}, and {tried}. The guest is on the destination and stops at the first page that is missing; it needs the source. Keep both \
             QEMUs, and run `switchover recover` when the network between them works again"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::units::Micros;

    const SECOND: u64 = 1_000_000_000;

    fn recovery(attempts: u32) -> Recovery {
        Recovery::new(RecoveryRules {
            attempts,
            backoff: Micros(1_000_000),
            stalled_after: Micros(60_000_000),
        })
    }

    #[test]
    fn attempts_wait_for_the_grace_and_then_longer_each_time() {
        let mut recovery = recovery(3);
        recovery.saw(Side::Source, &Status::PostcopyPaused, SECOND);
        assert_eq!(recovery.due(false, true, SECOND + GRACE_NS), Due::Nothing);
        assert!(
            matches!(recovery.due(false, true, 2 * SECOND), Due::Try(text) if text.contains("attempt 1 of 3"))
        );
        assert_eq!(recovery.due(false, true, 3 * SECOND), Due::Nothing);
        recovery.failed("nobody listens", 3 * SECOND);
        assert_eq!(recovery.due(false, true, 4 * SECOND - 1), Due::Nothing);
        assert!(
            matches!(recovery.due(false, true, 4 * SECOND), Due::Try(text) if text.contains("nobody listens"))
        );
        recovery.failed("nobody listens", 4 * SECOND);
        assert_eq!(recovery.due(false, true, 6 * SECOND - 1), Due::Nothing);
        assert!(matches!(recovery.due(false, true, 6 * SECOND), Due::Try(_)));
        recovery.failed("nobody listens", 6 * SECOND);
        assert!(
            matches!(recovery.due(false, true, 10 * SECOND), Due::GiveUp(text) if text.contains("3 attempts"))
        );
    }

    #[test]
    fn restores_all_attempts_after_a_success() {
        let mut recovery = recovery(1);
        recovery.saw(Side::Source, &Status::PostcopyPaused, SECOND);
        recovery.saw(Side::Destination, &Status::PostcopyPaused, SECOND);
        assert!(matches!(recovery.due(false, true, 2 * SECOND), Due::Try(_)));
        recovery.saw(Side::Source, &Status::PostcopyActive, 2 * SECOND);
        assert!(recovery.is_paused() && recovery.is_trying());
        recovery.succeeded();
        assert!(!recovery.is_paused() && !recovery.is_trying());
        recovery.saw(Side::Source, &Status::PostcopyPaused, 3 * SECOND);
        assert!(matches!(recovery.due(false, true, 4 * SECOND), Due::Try(_)));
    }

    #[test]
    fn makes_no_attempt_after_an_interrupt_or_with_zero_attempts_allowed() {
        let mut leaves = recovery(5);
        leaves.saw(Side::Source, &Status::PostcopyPaused, SECOND);
        assert!(
            matches!(leaves.due(false, false, 2 * SECOND), Due::GiveUp(text) if text.contains("you interrupted"))
        );
        let mut none = recovery(0);
        none.saw(Side::Destination, &Status::PostcopyPaused, SECOND);
        assert!(
            matches!(none.due(false, true, 2 * SECOND), Due::GiveUp(text) if text.contains("recovery.attempts"))
        );
    }

    #[test]
    fn fails_an_attempt_that_has_no_result_in_time() {
        let mut recovery = recovery(2);
        recovery.saw(Side::Source, &Status::PostcopyPaused, SECOND);
        assert!(matches!(recovery.due(false, true, 2 * SECOND), Due::Try(_)));
        assert_eq!(recovery.due(false, true, 2 * SECOND + ATTEMPT_NS), Due::Nothing);
        assert_eq!(recovery.due(false, true, 3 * SECOND + ATTEMPT_NS), Due::Nothing);
        assert!(matches!(recovery.due(false, true, 5 * SECOND + ATTEMPT_NS), Due::Try(_)));
    }
}
