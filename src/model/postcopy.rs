//! The post-copy phase: missing pages arrive in the background, and a page that the guest touches
//! before it has arrived costs the guest one round trip.

use super::setup::Setup;
use super::workload::PAGE;

/// The devices' state and what surrounds it.
const PACKAGE: f64 = 300e3;
/// Trap, copy, wake-up.
const FAULT: f64 = 0.000_2;
/// What waits in front of a page that is asked for: our sockets' bound, and QEMU's own buffer.
const QUEUE: f64 = 160e3;
/// Steps of the integral over the time that it takes.
const STEPS: u32 = 64;

/// What comes after the switch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Postcopy {
    /// The guest stands still for the switch, s.
    pub blackout: f64,
    /// Until all memory is there, s.
    pub seconds: f64,
    /// Pages that the guest waits for.
    pub faults: f64,
    /// Each of them, s.
    pub fault: f64,
    /// All of that, s.
    pub blocked: f64,
}

/// `full` bytes are to come, of which each class has so many.
pub(super) fn predict(setup: &Setup, full: f64, pending: &[f64]) -> Postcopy {
    let limit =
        setup.max_postcopy_bandwidth.filter(|limit| *limit > 0.0 && *limit < setup.capacity);
    let bandwidth = limit.unwrap_or(setup.capacity);
    // With a limit of its own QEMU sends once in 100 ms, and what is asked for waits for that.
    let waits = if limit.is_some() { 0.1 } else { 2.0 * setup.delay + QUEUE / bandwidth };
    let fault = waits.max(2.0 * setup.delay) + PAGE / bandwidth + FAULT;
    let seconds = full / bandwidth;
    let blackout = setup.fixed + setup.delay + (PACKAGE + QUEUE) / setup.capacity;
    let step = seconds / f64::from(STEPS);
    let touches = |missing: f64| -> f64 {
        let class = |(pending, class): (&f64, &super::workload::Class)| {
            if class.bytes > 0.0 {
                class.rate / PAGE * missing * pending / class.bytes
            } else {
                0.0
            }
        };
        pending.iter().zip(&setup.workload.classes).map(class).sum()
    };
    // One vCPU: while it waits it touches nothing else.
    let in_step = |index: u32| {
        let rate = touches(1.0 - (f64::from(index) + 0.5) / f64::from(STEPS));
        step * rate / (1.0 + rate * fault)
    };
    let faults: f64 = (0..STEPS).map(in_step).sum();
    Postcopy { blackout, seconds, faults, fault, blocked: (faults * fault).min(seconds) }
}
