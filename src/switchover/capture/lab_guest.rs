//! A lab guest that writes as the captured one does, and holds as much.

use super::{Captured, Seen};
use base::units::{Bytes, Limit, PAGE_BYTES_F64, Rate, WriteRate};
use model::whole;
use scenario::{LinkKind, Pattern, Scenario};

const MIB: f64 = 1_048_576.0;
/// The guest's own part: itself, and 8 bytes a page for its table.
const OWN: f64 = 16.0 * MIB;

/// Guest, limits and link, all divided by `scale`.
pub(super) fn scenario(captured: &Captured, scale: f64, bandwidth: Option<f64>) -> Scenario {
    let mut scenario = captured.settings.clone();
    let setup = captured.setup(&captured.settings, bandwidth);
    let (set, filled) = (pages(setup.workload.working_set() / scale), pages(setup.filled / scale));
    // All of what it holds is filled, and a share in whole percent of that is written: what it
    // holds gives way, not what it writes.
    let percent = (set / filled.max(set) * 100.0).ceil().clamp(1.0, 100.0);
    let held = if percent < 100.0 { pages(set * 100.0 / percent) } else { set };
    scenario.guest.working_set = Bytes(whole(held));
    if percent < 100.0 {
        scenario.guest.pattern = Pattern::HotCold;
        scenario.guest.hot_writes_percent = 100;
        scenario.guest.hot_memory_percent = u8::try_from(whole(percent)).unwrap_or(100);
    }
    scenario.guest.rate = WriteRate::At(Rate(whole(setup.workload.rate() / scale)));
    let memory = (setup.ram / scale).max(held * (1.0 + 8.0 / PAGE_BYTES_F64) + OWN);
    scenario.guest.memory = Bytes(whole(memory / MIB) << 20);
    let divided = |limit: Limit| match limit {
        Limit::At(rate) => Limit::At(Rate(whole(rate.0 as f64 / scale))),
        Limit::Unlimited => Limit::Unlimited,
    };
    scenario.limits.bandwidth = scenario.limits.bandwidth.map(divided);
    scenario.limits.postcopy_bandwidth = scenario.limits.postcopy_bandwidth.map(divided);
    // Parameters in bytes, and bytes a second.
    for name in ["avail-switchover-bandwidth", "xbzrle-cache-size"] {
        if let Some(value) = scenario.parameters.get_mut(name)
            && let Some(number) = value.as_integer()
        {
            *value = i64::try_from(whole(number as f64 / scale)).unwrap_or(i64::MAX).into();
        }
    }
    // Where nothing is known of the network, or max-bandwidth binds, a lab without a link is like
    // it.
    if (bandwidth.is_some() || matches!(captured.seen, Seen::Migration(_))) && !setup.bandwidth().1
    {
        scenario.link.kind = LinkKind::Emulated;
        scenario.link.figures.rate = Some(Rate(whole(setup.capacity / scale)));
    }
    scenario
}

/// Whole pages, one at least.
fn pages(bytes: f64) -> f64 {
    ((bytes / PAGE_BYTES_F64).round()).max(1.0) * PAGE_BYTES_F64
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Class, Measured, Setup, Workload, judge};

    fn captured(ram: f64, filled: f64, set: f64, rate: f64) -> Captured {
        let workload =
            Workload { classes: vec![Class { bytes: set, rate }], sequential: false, slack: 1.0 };
        let (settings, seen) = (Scenario::default(), Seen::DirtyRate(Measured::default()));
        Captured {
            version: "10.0.2".to_owned(),
            settings,
            workload,
            ram,
            filled,
            seen,
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_lab_guest_gets_the_same_verdict_at_any_scale() {
        for (filled, set, rate) in
            [(8e9, 1e9, 2e9), (60e9, 0.3e9, 0.5e9), (4e9, 4e9, 0.1e9), (8e9, 0.02e9, 0.05e9)]
        {
            let whole_vm = captured(filled * 1.02, filled, set, rate);
            let way = 1.25e9;
            let mut settings = whole_vm.settings.clone();
            settings.limits.bandwidth = Some(Limit::Unlimited);
            let whole_vm = Captured { settings, ..whole_vm };
            let real = judge(&whole_vm.setup(&whole_vm.settings, Some(way)));
            for scale in [16, 64] {
                let lab = whole_vm.lab(scale, Some(way));
                let again = judge(&Setup::of_scenario(&lab));
                assert_eq!(again.verdict, real.verdict, "{set} {rate} / {scale}: {lab:?}");
                let (seconds, expected) = (again.prediction.total, real.prediction.total);
                // It holds less by what the share is rounded up.
                let less = set / filled / (f64::from(lab.guest.hot_memory_percent) / 100.0);
                let less = if lab.guest.pattern == Pattern::HotCold { less } else { 1.0 };
                assert!(
                    seconds / expected > less * 0.9 && seconds / expected < 1.05,
                    "{set} {rate} / {scale}: {seconds} {expected}"
                );
            }
        }
    }

    #[test]
    fn it_is_a_scenario_that_loads() {
        let lab = captured(2e9, 1e9, 0.3e9, 0.1e9).lab(4, Some(1e8));
        let loaded =
            scenario::Loader::new().text("captured", &lab.to_toml()).unwrap().load().unwrap();
        assert_eq!(loaded, lab);
        assert_eq!(loaded.guest.hot_memory_percent, 31);
    }
}
