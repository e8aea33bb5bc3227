//! Against real QEMU, by the command, with exit code, run.json and leftovers checked.
//!
//! Map: `campaign` many runs · `modes` migrations that work, by mode, version, machine and
//! capability · `capture` VMs measured, predicted, reproduced · `convergence` the cases that don't
//! converge, both sides of each · `hooks` commands around the switchover · `give_up` those that
//! don't converge · `judge` the guest's verdict against a comparison of both sides' memory, byte by
//! byte · `signals` · `deaths` of QEMUs · `by_hand` migrations whose driver died, and single steps
//! · `attached` QEMUs of the user's, `ssh` on other hosts · `linux` a Linux with a load, `own`
//! guests of the user's · `link` over an emulated network, or a kernel's · `tls` encrypted ones ·
//! `transports` sockets, pipes, files · `blackout` what is measured of one and of many · `ulster`
//! the paper, small · `refusals` what cannot be done · `looking` subcommands that migrate nothing ·
//! `neighbours` others on this machine.

mod attached;
mod blackout;
mod by_hand;
mod campaign;
mod capture;
mod convergence;
mod deaths;
mod give_up;
mod hooks;
mod judge;
mod link;
mod linux;
mod looking;
mod modes;
mod neighbours;
mod own;
mod refusals;
mod signals;
mod ssh;
mod tls;
mod transports;
mod ulster;

/// One test for each line, so that a failure names its cell.
macro_rules! cells {
    ($check:path; $($name:ident: $($argument:expr),+;)+) => {
        $(#[test] fn $name() { $check($($argument),+); })+
    };
}
use cells;
