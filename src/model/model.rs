//! A simulation of QEMU's migration loop (migration_iteration_run, migration_update_counters and
//! ram_save_iterate of 10.0), which differs from the textbook model.
//!
//! Each 100 ms QEMU takes what it sent for its bandwidth, and bandwidth × downtime-limit for its
//! threshold. While more seems pending, it sends, 50 ms at a time or until the window's budget is
//! spent. When less seems pending, it asks the dirty bitmap what is really pending; if that is less
//! too, it stops the guest, and else it goes on with what is left and what was dirtied. So a pass
//! does not end when it is sent, but when what is left of it is below the threshold.

use super::postcopy::{self, Postcopy};
use super::setup::{Setup, Switch};
use super::workload::PAGE;

/// Of each page on the main channel, and all of one that is zero (save_page_header,
/// save_zero_page).
const HEADER: f64 = 8.0;
const ZERO_PAGE: f64 = 9.0;
/// Zero pages looked at, bytes a second.
const ZERO_SPEED: f64 = 3e9;
/// BUFFER_DELAY.
const WINDOW: f64 = 0.1;
/// MAX_WAIT.
const SLICE: f64 = 0.05;
/// migration_trigger_throttle looks no more often.
const THROTTLE_PERIOD: f64 = 1.0;
/// However little is left to send, a sync and a look at all of the bitmap take about this long, s.
const LEAST: f64 = 1e-3;
/// A pass whose pending differs by less from the last one's is the same again; after so many
/// nothing will change.
const SAME: f64 = 5e-4;
const SAME_PASSES: u32 = 3;

/// What will happen.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Whether the guest will run on the destination.
    pub converges: bool,
    /// Syncs of the dirty bitmap after the first.
    pub syncs: u64,
    /// From active to completed; to the time-out if it does not converge, s.
    pub total: f64,
    /// Bytes sent by then.
    pub bytes: f64,
    /// Without post-copy: what is pending when the guest is stopped, or what it comes down to.
    pub pending: f64,
    /// What QEMU will say of its `expected-downtime`, s.
    pub expected_downtime: f64,
    /// The guest stands still, s; `None` if it stays.
    pub blackout: Option<f64>,
    /// The throttle at the end.
    pub throttle: f64,
    /// What comes after the switch to post-copy, if there is one.
    pub postcopy: Option<Postcopy>,
    /// Pending after each sync, by time: s, bytes.
    pub passes: Vec<(f64, f64)>,
}

/// The loop.
struct Loop<'a> {
    setup: &'a Setup,
    now: f64,
    sent: f64,
    /// Of each class.
    pending: Vec<f64>,
    /// Filled and never written again; and zero.
    still: f64,
    zero: f64,
    synced: f64,
    syncs: u64,
    throttle: f64,
    period: Period,
    /// What is left of the window's budget, and when it ends.
    window: (f64, f64),
    /// Pages sent before, for XBZRLE.
    second_time: bool,
}

/// How pages go.
struct Way {
    /// Bytes of pages a second, as the limits have it.
    payload: f64,
    /// The same at full speed.
    burst: f64,
    /// Bytes on the wire for each of a page.
    cost: f64,
}

/// Since the throttle was last looked at.
#[derive(Default)]
struct Period {
    began: f64,
    dirtied: f64,
    sent: f64,
    high: u32,
}

/// Runs it.
#[must_use]
pub fn predict(setup: &Setup) -> Prediction {
    run(setup, true)
}

/// Whether it converges, without a record of how.
#[must_use]
pub fn converges(setup: &Setup) -> bool {
    run(setup, false).converges
}

fn run(setup: &Setup, records: bool) -> Prediction {
    let mut state = Loop::new(setup);
    let (bandwidth, limited) = setup.bandwidth();
    let threshold = setup.threshold();
    let quantum = if limited { WINDOW } else { SLICE };
    let (mut passes, mut same, mut last) = (Vec::new(), 0, f64::INFINITY);
    loop {
        if state.is_due(setup.switch) {
            return state.by_postcopy(passes);
        }
        // Nothing is known of the bandwidth in the first window, so nothing is below the threshold.
        let below = if state.now < WINDOW {
            0.0
        } else if state.is_due(setup.finish) {
            f64::INFINITY
        } else {
            threshold
        };
        if state.all() < below || state.all() <= 0.0 {
            state.sync();
            let pending = state.all();
            if records {
                passes.push((state.now, pending));
            }
            if pending < below || pending <= 0.0 {
                return state.completed(passes);
            }
            let first_pass_is_over =
                state.still + state.zero < pending * SAME && state.now > WINDOW;
            let settled = (pending - last).abs() <= SAME * last && first_pass_is_over;
            let is_same = settled && setup.throttle.is_none();
            same = if is_same { same + 1 } else { 0 };
            last = pending;
            if same >= SAME_PASSES && setup.switch == Switch::Never && setup.finish == Switch::Never
            {
                return state.stuck(passes, pending);
            }
            // The driver asks for post-copy on the event of this sync, not when the next pass is
            // sent.
            if state.is_due(setup.switch) {
                return state.by_postcopy(passes);
            }
        }
        if state.now >= setup.timeout {
            let pending = if last.is_finite() { last } else { state.all() };
            return state.stuck(passes, pending);
        }
        state.send(bandwidth, quantum, below);
    }
}

impl<'a> Loop<'a> {
    fn new(setup: &'a Setup) -> Loop<'a> {
        let pending: Vec<f64> = setup.workload.classes.iter().map(|class| class.bytes).collect();
        let written: f64 = pending.iter().sum();
        let filled = setup.filled.max(written).min(setup.ram.max(written));
        Loop {
            setup,
            now: 0.0,
            sent: 0.0,
            pending,
            still: filled - written,
            zero: (setup.ram - filled).max(0.0),
            synced: 0.0,
            syncs: 0,
            throttle: 0.0,
            period: Period::default(),
            window: (0.0, 0.0),
            second_time: false,
        }
    }

    /// What QEMU believes to be pending.
    fn all(&self) -> f64 {
        self.pending.iter().sum::<f64>() + self.still + self.zero
    }

    fn is_due(&self, when: Switch) -> bool {
        match when {
            Switch::Never => false,
            Switch::AtOnce => true,
            Switch::AfterSyncs(syncs) => self.syncs >= syncs,
            Switch::After(seconds) => self.now >= seconds,
        }
    }

    fn speed(&self) -> f64 {
        self.setup.workload.speed(1.0 - self.throttle)
    }

    /// migration_bitmap_sync.
    fn sync(&mut self) {
        let (seconds, speed) = (self.now - self.synced, self.speed());
        for (pending, class) in self.pending.iter_mut().zip(&self.setup.workload.classes) {
            let after = class.after(*pending, seconds, speed, self.setup.workload.sequential);
            self.period.dirtied += after - *pending;
            *pending = after;
        }
        self.synced = self.now;
        self.syncs += 1;
        self.second_time = true;
        self.look_at_throttle();
    }

    /// migration_trigger_throttle.
    fn look_at_throttle(&mut self) {
        let Some(throttle) = self.setup.throttle else { return };
        if self.now - self.period.began < THROTTLE_PERIOD {
            return;
        }
        let mut high = self.period.high;
        if self.period.dirtied > (self.sent - self.period.sent) * throttle.trigger {
            high += 1;
            if high >= 2 {
                high = 0;
                let next = if self.throttle == 0.0 {
                    throttle.initial
                } else {
                    self.throttle + throttle.increment
                };
                self.throttle = next.min(throttle.max);
            }
        }
        self.period = Period { began: self.now, dirtied: 0.0, sent: self.sent, high };
    }

    /// On the wire, of a page.
    fn cost(&self) -> f64 {
        match self.setup.xbzrle {
            Some(xbzrle) if self.second_time => {
                let share = (xbzrle.cache / self.setup.workload.working_set().max(1.0)).min(1.0);
                HEADER + PAGE + share * (xbzrle.encoded - PAGE)
            }
            _ => HEADER + PAGE,
        }
    }

    /// Sends for whole quanta, until what seems pending is below the threshold or nothing is left.
    fn send(&mut self, bandwidth: f64, quantum: f64, below: f64) {
        let full: f64 = self.pending.iter().sum::<f64>() + self.still;
        if full <= 0.0 {
            return self.send_zeros(SLICE);
        }
        // A sync does not begin the pass anew: the scan goes on with what it has not come to, and
        // zero pages cost next to nothing.
        if self.syncs > 0 && self.zero > 0.0 {
            self.send_zeros(f64::INFINITY);
        }
        let cost = self.cost();
        let wire = |bandwidth: f64| (bandwidth * PAGE / cost).min(ZERO_SPEED);
        let way =
            Way { payload: wire(bandwidth), burst: wire(self.setup.capacity), cost: cost / PAGE };
        if quantum == WINDOW {
            self.send_budgets(&way, full, below);
        } else {
            self.send_slices(&way, full, below);
        }
    }

    /// Where nothing limits it, what seems pending is looked at every 50 ms, and when nothing is
    /// left.
    fn send_slices(&mut self, way: &Way, full: f64, below: f64) {
        let excess = (full + self.zero - below).max(0.0);
        let slices = (excess / (way.payload * SLICE)).floor() + 1.0;
        let first_window = if self.now < WINDOW { WINDOW - self.now } else { f64::INFINITY };
        let drained = full / way.payload;
        let seconds = (slices * SLICE).min(drained).min(first_window).max(LEAST);
        self.gone(way, full, if seconds >= drained { full } else { seconds * way.payload });
        self.now += seconds;
        if seconds >= drained && self.zero > 0.0 {
            self.send_zeros((slices * SLICE - seconds).clamp(LEAST, SLICE));
        }
    }

    /// Where max-bandwidth limits it, a window's budget is sent at once, as fast as the way carries
    /// it, and QEMU sleeps until the window ends (migration_rate_exceeded). What seems pending is
    /// looked at then; within a window only when nothing is left.
    fn send_budgets(&mut self, way: &Way, full: f64, below: f64) {
        let budget = way.payload * WINDOW;
        let (left, ends) =
            if self.window.1 > self.now { self.window } else { (budget, self.now + WINDOW) };
        if full <= left {
            self.gone(way, full, full);
            self.now += (full / way.burst).max(LEAST);
            self.window = (left - full, ends);
            if self.zero > 0.0 {
                self.send_zeros(SLICE);
            }
            return;
        }
        let is_first = self.now < WINDOW;
        let rest = full - left;
        let windows = if is_first || rest + self.zero < below {
            0.0
        } else {
            (((rest + self.zero - below) / budget).floor() + 1.0).min((rest / budget).floor())
        };
        self.gone(way, full, left + windows * budget);
        self.now = ends + windows * WINDOW;
    }

    /// Of `full`, so many bytes of pages were sent.
    fn gone(&mut self, way: &Way, full: f64, bytes: f64) {
        let keep = if bytes >= full { 0.0 } else { 1.0 - bytes / full };
        self.pending.iter_mut().for_each(|pending| *pending *= keep);
        self.still *= keep;
        self.sent += bytes.min(full) * way.cost;
    }

    /// For so many seconds: QEMU looks at its threshold no more often than that, however little
    /// zero pages cost.
    fn send_zeros(&mut self, seconds: f64) {
        let bytes = self.zero.min(ZERO_SPEED * seconds);
        self.zero -= bytes;
        self.sent += bytes / PAGE * ZERO_PAGE;
        self.now += (bytes / ZERO_SPEED).max(LEAST);
    }

    fn wire(&self, bytes: f64) -> f64 {
        bytes / PAGE * (PAGE + HEADER)
    }

    fn completed(self, passes: Vec<(f64, f64)>) -> Prediction {
        let pending = self.all();
        let full: f64 = self.pending.iter().sum::<f64>() + self.still;
        let rest = full / PAGE * self.cost();
        // The rate limit is off from here on.
        let blackout = self.setup.fixed + self.setup.delay + rest / self.setup.capacity;
        Prediction {
            converges: true,
            syncs: self.syncs,
            total: self.now + blackout,
            bytes: self.sent + rest,
            pending,
            expected_downtime: pending / self.setup.bandwidth().0,
            blackout: Some(blackout),
            throttle: self.throttle,
            postcopy: None,
            passes,
        }
    }

    fn stuck(self, passes: Vec<(f64, f64)>, pending: f64) -> Prediction {
        let (bandwidth, _) = self.setup.bandwidth();
        let rest = (self.setup.timeout - self.now).max(0.0);
        Prediction {
            converges: false,
            syncs: self.syncs,
            total: self.setup.timeout,
            bytes: self.sent + rest * bandwidth,
            pending,
            expected_downtime: pending / bandwidth,
            blackout: None,
            throttle: self.throttle,
            postcopy: None,
            passes,
        }
    }

    fn by_postcopy(mut self, passes: Vec<(f64, f64)>) -> Prediction {
        if self.syncs == 0 || self.now > self.synced {
            self.sync();
        }
        let full: f64 = self.pending.iter().sum::<f64>() + self.still;
        let postcopy = postcopy::predict(self.setup, full, &self.pending);
        let zeros = self.zero / PAGE * ZERO_PAGE;
        Prediction {
            converges: true,
            syncs: self.syncs,
            total: self.now + postcopy.blackout + postcopy.seconds + self.zero / ZERO_SPEED,
            bytes: self.sent + self.wire(full) + zeros,
            pending: full,
            expected_downtime: full / self.setup.bandwidth().0,
            blackout: Some(postcopy.blackout),
            throttle: self.throttle,
            postcopy: Some(postcopy),
            passes,
        }
    }
}
