//! What the model needs to know of one migration, and what it takes from a scenario.

use super::workload::Workload;
use base::units::{Limit, Micros};
use scenario::{Guest, GuestKind, Link, LinkKind, Load, Scenario};

/// QEMU's defaults (migration/options.c), the same on 7.2, 10.0 and 11.1.
const MAX_BANDWIDTH: f64 = 134_217_728.0;
const DOWNTIME_LIMIT: f64 = 0.3;
/// What QEMU writes under TCG on a host like ours where nothing limits it: a figure for
/// simulations.
const UNLIMITED: f64 = 1.2e9;
/// What a pre-copy blackout has besides memory and the way: stop, devices, start; medians of the
/// lab (docs/explanation/downtime.md).
const FIXED: f64 = 0.001_5;

/// One migration, in bytes and seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// Guest RAM, as QEMU counts it: also what is zero.
    pub ram: f64,
    /// What is not zero.
    pub filled: f64,
    /// What the guest writes.
    pub workload: Workload,
    /// Bytes a second that the way carries: rate of the link, window over round trip.
    pub capacity: f64,
    /// Rate of the link, where one stream's window is less.
    pub link_rate: Option<f64>,
    /// One way, s.
    pub delay: f64,
    /// `max-bandwidth`; `None` is no limit.
    pub max_bandwidth: Option<f64>,
    /// `max-postcopy-bandwidth`.
    pub max_postcopy_bandwidth: Option<f64>,
    /// `avail-switchover-bandwidth`.
    pub switchover_bandwidth: Option<f64>,
    /// `downtime-limit`, s.
    pub downtime_limit: f64,
    /// The blackout without memory and way, s.
    pub fixed: f64,
    /// `auto-converge`.
    pub throttle: Option<Throttle>,
    /// `xbzrle`.
    pub xbzrle: Option<Xbzrle>,
    /// When post-copy starts.
    pub switch: Switch,
    /// When pre-copy is told to finish, whatever the blackout.
    pub finish: Switch,
    /// Then it is given up, s.
    pub timeout: f64,
}

/// `auto-converge` and its parameters, as shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throttle {
    /// `throttle-trigger-threshold`.
    pub trigger: f64,
    /// `cpu-throttle-initial`.
    pub initial: f64,
    /// `cpu-throttle-increment`.
    pub increment: f64,
    /// `max-cpu-throttle`.
    pub max: f64,
}

impl Default for Throttle {
    fn default() -> Throttle {
        Throttle { trigger: 0.5, initial: 0.2, increment: 0.1, max: 0.99 }
    }
}

/// `xbzrle`: a page that is in the cache goes as its difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Xbzrle {
    /// `xbzrle-cache-size`.
    pub cache: f64,
    /// Bytes of a page's difference; those of a page if it has none that is shorter.
    pub encoded: f64,
}

/// When post-copy starts, or pre-copy is told to finish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Switch {
    /// Not at all.
    Never,
    /// At once.
    AtOnce,
    /// When so many syncs have been.
    AfterSyncs(u64),
    /// So long after it became active, s.
    After(f64),
}

impl Setup {
    /// What a scenario describes.
    #[must_use]
    pub fn of_scenario(scenario: &Scenario) -> Setup {
        let [there, _] = scenario.link.directions();
        let guest = &scenario.guest;
        let on = |name: &str| scenario.capabilities.get(name) == Some(&true);
        let percent = |name: &str, default: f64| {
            number(scenario, name).map_or(default, |percent| percent / 100.0)
        };
        let seconds = |micros: Micros| micros.0 as f64 / 1e6;
        let defaults = Throttle::default();
        Setup {
            ram: guest.memory.0 as f64,
            filled: filled(guest),
            workload: Workload::of_guest(guest),
            capacity: capacity(&scenario.link),
            link_rate: there.rate.map(|rate| rate.0 as f64),
            delay: seconds(there.delay),
            max_bandwidth: limit(scenario.limits.bandwidth, Some(MAX_BANDWIDTH)),
            max_postcopy_bandwidth: limit(scenario.limits.postcopy_bandwidth, None),
            switchover_bandwidth: number(scenario, "avail-switchover-bandwidth")
                .filter(|rate| *rate > 0.0),
            downtime_limit: scenario.limits.downtime.map_or(DOWNTIME_LIMIT, seconds),
            fixed: FIXED,
            throttle: on("auto-converge").then(|| Throttle {
                trigger: percent("throttle-trigger-threshold", defaults.trigger),
                initial: percent("cpu-throttle-initial", defaults.initial),
                increment: percent("cpu-throttle-increment", defaults.increment),
                max: percent("max-cpu-throttle", defaults.max),
            }),
            xbzrle: on("xbzrle").then(|| Xbzrle {
                cache: number(scenario, "xbzrle-cache-size").unwrap_or(67_108_864.0),
                encoded: encoded(scenario),
            }),
            switch: switch(scenario),
            finish: moment(&scenario.finish).unwrap_or(Switch::Never),
            timeout: seconds(scenario.timeout),
        }
    }

    /// Bytes a second in pre-copy, and whether it is QEMU's limit that says so.
    #[must_use]
    pub fn bandwidth(&self) -> (f64, bool) {
        match self.max_bandwidth {
            Some(limit) if limit < self.capacity => (limit, true),
            _ => (self.capacity, false),
        }
    }

    /// What may be left when the guest is stopped.
    #[must_use]
    pub fn threshold(&self) -> f64 {
        self.switchover_bandwidth.unwrap_or(self.bandwidth().0) * self.downtime_limit
    }
}

/// The working set, 8 bytes a page of the guest's table, and the guest itself: 1 MB, or a Linux,
/// which fills 57 MiB before it does anything.
fn filled(guest: &Guest) -> f64 {
    let own = if guest.kind == GuestKind::Linux { 6e7 } else { 1e6 };
    let load = if guest.load == Load::None { 0.0 } else { guest.load_memory.0 as f64 };
    guest.working_set.0 as f64 * (1.0 + 8.0 / 4096.0) + own + load
}

/// What one stream gets of a link.
fn capacity(link: &Link) -> f64 {
    let [there, back] = link.directions();
    let rate = there.rate.map(|rate| rate.0 as f64);
    let round_trip = (there.delay.0 + back.delay.0) as f64 / 1e6;
    let emulated = link.kind == LinkKind::Emulated;
    let by_window = there
        .window
        .filter(|_| emulated && round_trip > 0.0)
        .map(|window| window.0 as f64 / round_trip);
    [rate, by_window].into_iter().flatten().fold(UNLIMITED, f64::min)
}

fn limit(asked: Option<Limit>, default: Option<f64>) -> Option<f64> {
    match asked {
        None => default,
        Some(Limit::Unlimited) => None,
        Some(Limit::At(rate)) => Some(rate.0 as f64),
    }
}

fn number(scenario: &Scenario, name: &str) -> Option<f64> {
    let value = scenario.parameters.get(name)?;
    let text = || {
        value
            .as_str()
            .and_then(|text| text.parse::<base::units::Bytes>().ok())
            .map(|bytes| bytes.0 as f64)
    };
    value.as_integer().map(|number| number as f64).or_else(|| value.as_float()).or_else(text)
}

/// A write of a few words leaves most of a page as it was; a page that is written whole has no
/// difference that is shorter.
fn encoded(scenario: &Scenario) -> f64 {
    use scenario::{Content, Touch};
    match (scenario.guest.touch, scenario.guest.content) {
        (Touch::Words, _) | (Touch::Page, Content::Delta | Content::Zero) => 100.0,
        (Touch::Page, Content::Random | Content::Compressible) => super::workload::PAGE,
    }
}

/// The moment that a scenario names, if it names one.
fn moment(named: &scenario::Switch) -> Option<Switch> {
    let after = named.after.map(|after| Switch::After(after.0 as f64 / 1e6));
    after.or_else(|| named.after_pass.map(Switch::AfterSyncs))
}

fn switch(scenario: &Scenario) -> Switch {
    use scenario::Mode;
    match scenario.mode {
        Mode::Precopy => Switch::Never,
        Mode::Postcopy => Switch::AtOnce,
        Mode::Hybrid => moment(&scenario.switch).unwrap_or(Switch::AfterSyncs(1)),
    }
}
