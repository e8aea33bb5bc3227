//! The model against measured migrations, and properties that hold for any migration.

use super::*;
use base::units::{Bytes, Rate};
use proptest::prelude::*;

const MIB: f64 = 1_048_576.0;

/// The validation's migration: 100 MiB written at random, 100.3 MiB/s measured.
fn validation(rate_mib: u32, limit_s: f64) -> Setup {
    Setup {
        ram: 100.0 * MIB,
        filled: 100.0 * MIB,
        workload: Workload::uniform(Bytes(100 << 20), Rate(u64::from(rate_mib) << 20)),
        capacity: 1.2e9,
        link_rate: None,
        delay: 0.0,
        max_bandwidth: Some(100.3 * MIB),
        max_postcopy_bandwidth: None,
        switchover_bandwidth: None,
        downtime_limit: limit_s,
        fixed: 0.001,
        throttle: None,
        xbzrle: None,
        switch: Switch::Never,
        finish: Switch::Never,
        timeout: 60.0,
    }
}

#[test]
fn the_boundary_is_where_it_was_measured() {
    for (limit_s, converging, stuck) in [(0.1, 104, 108), (0.3, 130, 136), (0.6, 200, 230)] {
        assert!(converges(&validation(converging, limit_s)), "{converging} MiB/s at {limit_s} s");
        assert!(!converges(&validation(stuck, limit_s)), "{stuck} MiB/s at {limit_s} s");
        let found = boundaries(&validation(stuck, limit_s)).rate.unwrap() / MIB;
        assert!(
            (f64::from(converging)..=f64::from(stuck)).contains(&found),
            "{found} of {limit_s}"
        );
    }
    // The textbook is far off at 600 ms.
    assert!(!textbook(&validation(200, 0.6)).converges);
}

/// Sent once, and what was written meanwhile once more: the driver asks for post-copy on the sync
/// that ends the first pass.
#[test]
fn a_hybrid_switches_at_the_end_of_its_pass_and_not_a_pass_later() {
    let all = validation(4000, 0.3).ram;
    let predicted = predict(&Setup { switch: Switch::AfterSyncs(1), ..validation(4000, 0.3) });
    assert!((1.6..2.1).contains(&(predicted.bytes / all)), "{predicted:?}");
    assert_eq!(predicted.syncs, 1);
}

#[test]
fn stuck_runs_expect_the_downtime_that_was_measured() {
    let measured = [
        (0.3, 136, 310.0),
        (0.3, 140, 359.0),
        (0.3, 144, 354.0),
        (0.3, 150, 425.0),
        (0.3, 160, 528.0),
        (0.1, 112, 203.0),
        (0.1, 120, 306.0),
        (0.6, 230, 614.0),
        (0.6, 260, 706.0),
        (0.6, 300, 757.0),
    ];
    let mut off: Vec<f64> = measured
        .iter()
        .map(|(limit_s, rate, ms)| {
            (predict(&validation(*rate, *limit_s)).expected_downtime * 1000.0 / ms - 1.0).abs()
        })
        .collect();
    off.sort_by(f64::total_cmp);
    assert!(off[off.len() / 2] < 0.015 && off[off.len() - 1] < 0.09, "{off:?}");
}

#[test]
fn a_sweep_converges_if_it_fits_into_bandwidth_times_limit() {
    for (mib, expected) in [(20, true), (29, true), (30, true), (31, false), (40, false)] {
        let mut workload = Workload::uniform(Bytes(mib << 20), Rate(2_000_000_000));
        workload.sequential = true;
        let bytes = (mib << 20) as f64;
        let setup = Setup { ram: bytes, filled: bytes, workload, ..validation(1, 0.3) };
        assert_eq!(converges(&setup), expected, "{mib} MiB");
    }
}

fn any_setup() -> impl Strategy<Value = Setup> {
    (1u64..512, 0u64..1000, 10u64..2000, 1u64..3000, 0u64..100, any::<bool>()).prop_map(
        |(set_mib, rate_mib, bandwidth_mib, limit_ms, delay_ms, sequential)| {
            let mut workload = Workload::uniform(Bytes(set_mib << 20), Rate(rate_mib << 20));
            workload.sequential = sequential;
            Setup {
                ram: 1024.0 * MIB,
                filled: 600.0 * MIB,
                workload,
                max_bandwidth: Some(bandwidth_mib as f64 * MIB),
                delay: delay_ms as f64 / 1000.0,
                ..validation(1, limit_ms as f64 / 1000.0)
            }
        },
    )
}

proptest! {
    #[test]
    fn more_bandwidth_and_a_larger_limit_never_hurt(setup in any_setup(), more in 1.0f64..8.0) {
        if converges(&setup) {
            // Not below a quantum: then what is sent in one more window decides.
            let wider = at_bandwidth(&setup, setup.bandwidth().0 * (1.0 + more));
            prop_assert!(converges(&wider));
            let longer = Setup { downtime_limit: setup.downtime_limit * (1.0 + more), ..setup.clone() };
            prop_assert!(converges(&longer));
            prop_assert!(predict(&wider).total <= predict(&setup).total * 1.001 + 0.2);
        }
    }

    #[test]
    fn everything_is_sent_at_least_once(setup in any_setup()) {
        let prediction = predict(&setup);
        if prediction.converges {
            prop_assert!(prediction.bytes >= setup.filled * 0.999);
        }
        prop_assert!(prediction.total.is_finite() && prediction.bytes.is_finite() && prediction.pending >= 0.0);
    }

    #[test]
    fn pre_copy_that_is_told_to_finish_always_completes(setup in any_setup()) {
        let prediction = predict(&Setup { finish: Switch::After(1.0), timeout: 60.0, ..setup });
        prop_assert!(prediction.converges, "{prediction:?}");
    }

    #[test]
    fn post_copy_always_completes(setup in any_setup()) {
        let prediction = predict(&Setup { switch: Switch::After(1.0), ..setup });
        prop_assert!(prediction.converges);
        let postcopy = prediction.postcopy;
        prop_assert!(postcopy.is_none_or(|postcopy| postcopy.blocked <= postcopy.seconds && postcopy.faults >= 0.0));
    }
}
