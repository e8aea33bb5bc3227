//! The one place that cancels, and that refuses to.
//!
//! A source that is stopped for its switchover may have sent everything: the destination then starts the guest as soon as it has loaded it, whatever
//! becomes of the source meanwhile; and a source that is cancelled starts its guest too. So the destination is held first. `stop` in run state
//! `inmigrate` clears `autostart` (qmp_stop in QEMU's monitor/qmp-cmds.c), and a guest that arrives then stays stopped.

use super::alone::Out;
use super::{Command, Effect, Held, Machine, Phase};

/// Why a cancel is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    GaveUp,
    User,
    Trouble,
}

/// What was done to the destination before a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Nothing.
    No,
    /// It was told to stay stopped. `in_device`: when the source may have sent everything.
    Asked { in_device: bool },
    /// It stays stopped, and the source was told to cancel.
    Held,
    /// It got the guest all the same, and was told to start it.
    Releasing,
}

impl Hold {
    /// The answer is not there yet.
    pub(super) fn is_asked(self) -> bool {
        matches!(self, Hold::Asked { .. })
    }

    /// The source has got so far since it was asked.
    pub(super) fn entered_device(&mut self) {
        if let Hold::Asked { in_device } = self {
            *in_device = true;
        }
    }
}

impl Machine {
    /// Cancels, or notes that it is too late.
    pub(super) fn cancel(&mut self, why: Why, reason: String, now_ns: u64, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Precopy | Phase::Switchover if self.may_cancel() => {
                self.note("cancel", &reason, effects);
                self.why = Some((why, reason));
                self.enter(Phase::Cancelling, now_ns);
                // There is nobody to be held; or nothing that could start yet.
                if self.destination_out.is_some() || self.waits {
                    effects.push(Effect::Send(Command::Cancel));
                } else {
                    self.hold = Hold::Asked { in_device: self.in_device };
                    effects.push(Effect::Send(Command::Hold));
                }
            }
            Phase::Cancelling | Phase::Ended => {}
            Phase::Precopy | Phase::Switchover | Phase::Postcopy | Phase::OtherSide | Phase::Alone => {
                if self.wants_out.is_none() {
                    let note =
                        format!("{reason}; not cancelled: past the point of no return, only the destination can have the guest");
                    self.note("go-on", &note, effects);
                    self.wants_out = Some((why, reason));
                }
            }
        }
    }

    fn may_cancel(&self) -> bool {
        let may_have_begun = self.seen.postcopy_asked && !self.cancel_is_guarded;
        let cannot_be_held = self.destination_out == Some(Out::Gone) || self.hold_refused;
        !(may_have_begun || self.source_done || self.in_device && cannot_be_held)
    }

    /// The cancel may not have arrived.
    pub(super) fn cancel_again(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        if self.hold == Hold::Held || !self.in_device || self.destination_out.is_some_and(Out::is_for_good) {
            effects.push(Effect::Send(Command::Cancel));
        } else {
            self.take_back("not cancelled once more: everything may be sent, and the destination is not held", now_ns, effects);
        }
    }

    pub(super) fn held(&mut self, held: Held, now_ns: u64, effects: &mut Vec<Effect>) {
        match (self.hold, held) {
            (Hold::Asked { .. }, Held::Waits) if self.phase == Phase::Cancelling => self.send_cancel(now_ns, effects),
            (Hold::Asked { .. }, Held::HasGuest { stopped: false }) => {
                self.hold = Hold::No;
                self.come_too_late(now_ns, effects);
            }
            // Also where it waited when it was asked, and both sides said completed before the answer came.
            (Hold::Asked { .. }, _) => {
                self.hold = Hold::Held;
                self.come_too_late(now_ns, effects);
            }
            _ => {}
        }
    }

    fn send_cancel(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        self.hold = Hold::Held;
        self.enter(Phase::Cancelling, now_ns);
        effects.push(Effect::Send(Command::Cancel));
    }

    /// The destination cannot be held.
    pub(super) fn not_held(&mut self, text: &str, now_ns: u64, effects: &mut Vec<Effect>) {
        let Hold::Asked { in_device } = self.hold else { return };
        self.hold = Hold::No;
        self.hold_refused = true;
        match self.phase {
            // Seen a moment ago, the source was still copying.
            Phase::Cancelling if !in_device || self.destination_out.is_some_and(Out::is_for_good) => {
                self.enter(Phase::Cancelling, now_ns);
                effects.push(Effect::Send(Command::Cancel));
            }
            Phase::Cancelling => {
                self.take_back(&format!("not cancelled: the destination cannot be held: {text}"), now_ns, effects);
            }
            Phase::OtherSide => self.done(now_ns, effects),
            _ => {}
        }
    }

    fn come_too_late(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Cancelling => self.take_back("not cancelled: the destination has the guest", now_ns, effects),
            Phase::OtherSide => self.done(now_ns, effects),
            _ => self.let_run(effects),
        }
    }

    /// What was held, and shall have the guest after all, starts it.
    pub(super) fn let_run(&mut self, effects: &mut Vec<Effect>) {
        if self.hold == Hold::Held {
            self.hold = Hold::No;
            effects.push(Effect::Send(Command::Release));
        }
    }

    /// The cancel is not to be: it goes on, past the point of no return.
    pub(super) fn take_back(&mut self, reason: &str, now_ns: u64, effects: &mut Vec<Effect>) {
        let phase = if self.seen.postcopy_asked { Phase::Postcopy } else { Phase::Switchover };
        self.enter(phase, now_ns);
        self.progress_ns = now_ns;
        self.wants_out = self.why.take();
        self.note("go-on", reason, effects);
        self.let_run(effects);
    }

    /// Both sides say completed, and the guest stands on the destination because we held it; or we do not know yet whether we do.
    pub(super) fn release(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        if self.phase != Phase::OtherSide {
            self.enter(Phase::OtherSide, now_ns);
        }
        if self.hold == Hold::Held {
            self.hold = Hold::Releasing;
            self.note("release", "the destination was held for a cancel that came too late, and has the guest", effects);
            effects.push(Effect::Send(Command::Release));
        }
    }
}
