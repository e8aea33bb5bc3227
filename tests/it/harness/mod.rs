//! What tests share. Every test has a directory of its own, and nothing else in common with the
//! others: they run in parallel.
//!
//! Map: here waiting · `scratch` a test's own directory, and what was left behind in it ·
//! `programs` QEMUs of three versions, the Linux guest · `command` the command under test · `vm`
//! QEMUs that the test itself starts, with the micro-guest · `qmp` a client to ask them · `skewed`
//! a way to them on which their clock seems wrong · `sshd` another host, which is this one.

mod command;
mod programs;
mod qmp;
mod scratch;
mod skewed;
mod sshd;
mod vm;

pub(crate) use command::{Done, Running, Switchover, loses_writes};
pub(crate) use programs::{linux_guest, qemu};
pub(crate) use qmp::Qmp;
pub(crate) use scratch::Scratch;
pub(crate) use skewed::skewed;
pub(crate) use sshd::Ssh;
pub(crate) use vm::{Pair, Vm, Wish};

use std::time::Duration;

/// Nothing here takes a tenth of this, so only a hang meets it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(10);

/// Polls until `look` gives something, for what gives no event to wait for: files and processes of
/// others.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..DEADLINE.as_millis() / POLL.as_millis() {
        if let Some(found) = look() {
            return found;
        }
        std::thread::park_timeout(POLL);
    }
    panic!("waited in vain until {what}");
}
