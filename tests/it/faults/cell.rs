//! What can go wrong, to whom, and when.

use base::Side;
use std::fmt;

/// A fault, and whom it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// SIGKILL to a QEMU.
    Kill(Side),
    /// SIGSTOP to a QEMU, and SIGCONT after five seconds.
    Freeze(Side),
    /// The QMP connection ends; a new one can be made.
    CloseQmp(Side),
    /// Each line of QMP takes a tenth of a second, either way.
    SlowQmp(Side),
    /// SIGKILL to the driver.
    KillDriver,
    /// SIGSTOP to the driver, and SIGCONT after five seconds.
    FreezeDriver,
    /// SIGINT to the driver: the user wants out.
    Interrupt,
    /// The file system of the run directory is full.
    FillDisk,
    /// The connections of the stream end.
    CutLink,
    /// Nothing passes for five seconds.
    StallLink,
}

impl Fault {
    pub(super) const ALL: [Fault; 14] = [
        Fault::Kill(Side::Source),
        Fault::Kill(Side::Destination),
        Fault::KillDriver,
        Fault::Freeze(Side::Source),
        Fault::Freeze(Side::Destination),
        Fault::FreezeDriver,
        Fault::CloseQmp(Side::Source),
        Fault::CloseQmp(Side::Destination),
        Fault::SlowQmp(Side::Source),
        Fault::SlowQmp(Side::Destination),
        Fault::CutLink,
        Fault::StallLink,
        Fault::FillDisk,
        Fault::Interrupt,
    ];

    /// Whether it goes through a QMP connection of ours.
    pub(super) fn needs_wire(self, of: Side) -> bool {
        matches!(self, Fault::CloseQmp(side) | Fault::SlowQmp(side) if side == of)
    }

    pub(super) fn kills(self, side: Side) -> bool {
        self == Fault::Kill(side)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Kill(side) => write!(f, "kill {side}"),
            Fault::Freeze(side) => write!(f, "freeze {side} for 5 s"),
            Fault::CloseQmp(side) => write!(f, "close QMP of {side}"),
            Fault::SlowQmp(side) => write!(f, "slow QMP of {side}"),
            Fault::KillDriver => f.write_str("kill driver"),
            Fault::FreezeDriver => f.write_str("freeze driver for 5 s"),
            Fault::Interrupt => f.write_str("interrupt driver"),
            Fault::FillDisk => f.write_str("fill the run directory's disk"),
            Fault::CutLink => f.write_str("cut link"),
            Fault::StallLink => f.write_str("stall link for 5 s"),
        }
    }
}

/// When it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// `migrate` was accepted.
    Setup,
    /// The first pass over the memory.
    FirstPass,
    /// The third or a later one.
    LaterPass,
    /// The source is stopped and sends its devices; in post-copy, the switch.
    Device,
    /// The destination has started the guest, and the source may not know it yet.
    Switch,
    /// Pages go over while the guest runs on the destination.
    Postcopy,
    /// The channel of post-copy is broken and comes back.
    Recover,
    /// The destination has everything, and the source does not know it yet.
    Completing,
}

impl Phase {
    pub(super) const PRECOPY: [Phase; 5] =
        [Phase::Setup, Phase::FirstPass, Phase::LaterPass, Phase::Device, Phase::Completing];
    pub(super) const POSTCOPY: [Phase; 7] = [
        Phase::Setup,
        Phase::FirstPass,
        Phase::Device,
        Phase::Switch,
        Phase::Postcopy,
        Phase::Recover,
        Phase::Completing,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Phase::Setup => "setup",
            Phase::FirstPass => "first pass",
            Phase::LaterPass => "later pass",
            Phase::Device => "device",
            Phase::Switch => "switch",
            Phase::Postcopy => "post-copy",
            Phase::Recover => "recover",
            Phase::Completing => "completing",
        }
    }
}

/// How memory moves, and when the destination starts the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Precopy,
    /// Pre-copy with `handover = "confirmed"`.
    Confirmed,
    /// Post-copy after the first pass.
    Postcopy,
}

impl How {
    pub(super) const ALL: [How; 3] = [How::Precopy, How::Confirmed, How::Postcopy];

    pub(super) fn name(self) -> &'static str {
        match self {
            How::Precopy => "pre-copy",
            How::Confirmed => "pre-copy with handover = confirmed",
            How::Postcopy => "post-copy after the first pass",
        }
    }

    pub(super) fn phases(self) -> &'static [Phase] {
        if self == How::Postcopy { &Phase::POSTCOPY } else { &Phase::PRECOPY }
    }
}

/// One of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) version: &'static str,
    pub(super) how: How,
    pub(super) phase: Phase,
    pub(super) fault: Fault,
}

impl Cell {
    pub(super) fn is_postcopy(self) -> bool {
        self.how == How::Postcopy
    }

    /// All of one version.
    pub(super) fn all(version: &'static str) -> Vec<Cell> {
        let mut all = Vec::new();
        for how in How::ALL {
            for phase in how.phases() {
                all.extend(Fault::ALL.map(|fault| Cell { version, how, phase: *phase, fault }));
            }
        }
        all
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {}: {}", self.version, self.how.name(), self.phase.name(), self.fault)
    }
}
