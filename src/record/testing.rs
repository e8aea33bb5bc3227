//! Records for unit tests, also those of other modules.

use super::*;

/// The summary of a completed pre-copy migration, with most of its figures measured.
#[must_use]
pub fn example_summary() -> Summary {
    let sampled = SampledSide {
        samples: 312,
        rate_hz: 999.0,
        rtt_p50_us: 141,
        rtt_p99_us: 400,
        rtt_max_us: 900,
        longest_gap_us: 2100,
    };
    Summary {
        schema: SCHEMA.into(),
        id: "example".into(),
        started: "2026-11-23T03:38:05.120Z".into(),
        finished: "2026-11-23T03:38:05.440Z".into(),
        outcome: Outcome::Completed,
        reason: "completed by pre-copy".into(),
        mode: "precopy".into(),
        postcopy_happened: false,
        scenario: serde_json::json!({}),
        environment: Environment {
            source_qemu: "10.0.2 (Debian 1:10.0.2)".into(),
            destination_qemu: "10.0.2".into(),
            accelerator: Some("tcg".into()),
            accelerator_reason: Some("no KVM here".into()),
            machine: Some("microvm".into()),
            transport: "unix".into(),
            ..Environment::default()
        },
        time_us: TimeUs {
            setup: Some(1200),
            precopy: Some(305_000),
            switchover: Some(4710),
            postcopy: None,
            total: Some(312_000),
            ended: Some(312_100),
        },
        downtime: Downtime {
            best: Some(Best { view: ViewKind::Events, us: 4710, uncertainty_us: None }),
            views: Views { reported_us: Some(2000), events_us: Some(4710), ..Views::default() },
            ..Downtime::default()
        },
        repeat: None,
        brownout: Brownout::default(),
        stalls: Stalls::default(),
        faults: Faults::default(),
        recovery: None,
        transfer: Transfer {
            total_bytes: Some(98_700_000),
            passes: Some(4),
            mean_bps: Some(316_000_000),
            ram_bytes: Some(256 << 20),
            ..Transfer::default()
        },
        link: Some(LinkView {
            channels: Some(1),
            bytes: Some(99_000_000),
            back_bytes: Some(2000),
            mean_bps: Some(320_000_000),
            peak_bps: Some(375_000_000),
            qemu_bps: Some(316_000_000),
            held_max_bytes: Some(16 << 20),
        }),
        host: Host::default(),
        sampling: Sampling { source: Some(sampled), destination: None },
        guest: Guest {
            integrity: Integrity::Intact,
            pages_checked: Some(16_384),
            dirty_bps_before: Some(52_428_800),
            heartbeat_gap_us: Some(5600),
            application: Some(Application {
                name: "redis".into(),
                rps_before: Some(1830),
                rps_during: Some(900),
                rps_after: Some(1790),
                longest_gap_before_us: Some(2400),
                longest_gap_during_us: Some(11_200),
                longest_gap_after_us: Some(2600),
                ..Application::default()
            }),
            ..Guest::default()
        },
        convergence: Convergence::default(),
        policy: Policy::default(),
        checks: vec![Check {
            name: "downtime.best.us > 1ms".into(),
            limit: "> 1ms".into(),
            actual: "4710".into(),
            pass: false,
        }],
        warnings: vec!["the machine is busy".into()],
    }
}
