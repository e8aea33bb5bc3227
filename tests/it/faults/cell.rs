//! What can go wrong, to whom, and when.

use std::fmt;
use switchover::plan::Side;

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
    /// Pages go over while the guest runs on the destination.
    Postcopy,
    /// The channel of post-copy is broken and comes back.
    Recover,
    /// The destination has everything, and the source does not know it yet.
    Completing,
}

impl Phase {
    pub(super) const PRECOPY: [Phase; 5] = [Phase::Setup, Phase::FirstPass, Phase::LaterPass, Phase::Device, Phase::Completing];
    pub(super) const POSTCOPY: [Phase; 6] =
        [Phase::Setup, Phase::FirstPass, Phase::Device, Phase::Postcopy, Phase::Recover, Phase::Completing];

    pub(super) fn name(self) -> &'static str {
        match self {
            Phase::Setup => "setup",
            Phase::FirstPass => "first pass",
            Phase::LaterPass => "later pass",
            Phase::Device => "device",
            Phase::Postcopy => "post-copy",
            Phase::Recover => "recover",
            Phase::Completing => "completing",
        }
    }
}

/// One of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) version: &'static str,
    pub(super) postcopy: bool,
    pub(super) phase: Phase,
    pub(super) fault: Fault,
}

impl Cell {
    pub(super) fn phases(postcopy: bool) -> &'static [Phase] {
        if postcopy { &Phase::POSTCOPY } else { &Phase::PRECOPY }
    }

    /// All of one version.
    pub(super) fn all(version: &'static str) -> Vec<Cell> {
        let mut all = Vec::new();
        for postcopy in [false, true] {
            for phase in Cell::phases(postcopy) {
                all.extend(Fault::ALL.map(|fault| Cell { version, postcopy, phase: *phase, fault }));
            }
        }
        all
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.postcopy { "post-copy" } else { "pre-copy" };
        write!(f, "{} {mode}, {}: {}", self.version, self.phase.name(), self.fault)
    }
}
