//! The blackout over TCP loopback: sockets that we open and hand over, against QEMU's own `tcp:`,
//! with a return path.
//!
//! STOP on the source to RESUME on the destination, in short series in turn, so that a busy moment
//! of the machine hits both. Then the same over the emulated link `halifax`, where the figure that
//! counts is that it is no worse.
//!
//! Targets, medians: ≤ 1/15 for a guest that hardly writes, in pre-copy, and below 1 ms; ≤ 1/6 for
//! one that writes 20 MiB/s; ≤ 1/3 in post-copy.
//!
//! `--switchovers N` a cell (50), `--block N` (10), `--version V`.

mod support;

use record::{Integrity, Outcome};
use std::process::ExitCode;
use support::stats::{median, quantile, with_interval};
use support::{
    Arguments, Result, lab_run, machine, qemu_version, runtime, say, scenario, verdict,
    version_text,
};

/// A small working set and no limit of the bandwidth: what is left of the blackout is QEMU's and
/// the network's own.
const COMMON: [&str; 4] = [
    "guest.memory=256MiB",
    "guest.working_set=16MiB",
    "limits.bandwidth=unlimited",
    "sampling.source=100Hz",
];
/// A delayed acknowledgement takes 40 ms; QEMU's own part rarely half of that.
const STALL_MS: f64 = 20.0;

/// What the guest does, how it is migrated, and what the target is: the name, settings, the share
/// of QEMU's own median.
struct Workload {
    name: &'static str,
    settings: &'static [&'static str],
    share: f64,
    below_ms: Option<f64>,
}

const WORKLOADS: [Workload; 3] = [
    Workload {
        name: "pre-copy, 1 MiB/s",
        settings: &["mode=precopy", "guest.rate=1MiB/s"],
        share: 1.0 / 15.0,
        below_ms: Some(1.0),
    },
    Workload {
        name: "pre-copy, 20 MiB/s",
        settings: &["mode=precopy", "guest.rate=20MiB/s"],
        share: 1.0 / 6.0,
        below_ms: None,
    },
    Workload {
        name: "post-copy, 20 MiB/s",
        settings: &["mode=postcopy", "guest.rate=20MiB/s"],
        share: 1.0 / 3.0,
        below_ms: None,
    },
];

fn main() -> ExitCode {
    support::main(run)
}

fn run(arguments: &Arguments) -> Result<()> {
    let (wanted, block) =
        (arguments.number("--switchovers", 50, 4)?, arguments.number("--block", 10, 4)?);
    let only = arguments.value("--version");
    say("owned: the blackout (STOP to RESUME) with sockets of ours, against QEMU's own tcp:");
    say(&machine());
    for version in
        ["10.0", "newest"].into_iter().filter(|version| only.is_none_or(|only| only == *version))
    {
        let program = qemu_version(version)?;
        say(&format!("{version}: {}", version_text(&program)?));
        for workload in &WORKLOADS {
            for link in ["none", "halifax"] {
                compare(&program, workload, link, wanted, block)?;
            }
        }
    }
    Ok(())
}

fn compare(
    program: &str,
    workload: &Workload,
    link: &str,
    wanted: usize,
    block: usize,
) -> Result<()> {
    let runtime = runtime()?;
    let postcopy = workload.settings.contains(&"mode=postcopy");
    let mut blackouts = [Vec::new(), Vec::new()];
    let mut corrupt = 0;
    let mut tries = 0;
    while blackouts.iter().any(|found| found.len() < wanted) && tries < 4 * wanted.div_ceil(block) {
        tries += 1;
        for at in if tries % 2 == 0 { [0, 1] } else { [1, 0] } {
            let own = [
                format!("transport={}", ["tcp", "owned"][at]),
                format!("link.preset={link}"),
                format!("repeat={}", block.min(wanted.saturating_sub(blackouts[at].len()).max(2))),
            ];
            let settings: Vec<&str> = COMMON
                .into_iter()
                .chain(workload.settings.iter().copied())
                .chain(own.iter().map(String::as_str))
                .collect();
            let (finished, _directory) = lab_run(&runtime, scenario(program, &settings)?)?;
            corrupt += usize::from(finished.summary.guest.integrity == Integrity::Corrupt);
            let good = finished.switchovers.iter().filter(|line| {
                line.outcome == Outcome::Completed && line.postcopy_happened == postcopy
            });
            blackouts[at].extend(
                good.filter_map(|line| line.downtime.views.events_us.map(|us| us as f64 / 1000.0)),
            );
        }
    }
    let [qemus, ours] = blackouts;
    let note =
        if corrupt > 0 { format!("  ({corrupt} series ended corrupt)") } else { String::new() };
    for (name, found) in [("tcp:", &qemus), ("owned", &ours)] {
        let stalled = found.iter().filter(|ms| **ms > STALL_MS).count();
        let quantiles = format!(
            "p90 {:.2}, p99 {:.2}, {stalled} above {STALL_MS} ms",
            quantile(found, 0.9),
            quantile(found, 0.99)
        );
        say(&format!(
            "    {:<22} {link:<8} {name:<6} n = {:<4} median {} ms, {quantiles}{note}",
            workload.name,
            found.len(),
            with_interval(found, 2)
        ));
    }
    let share = median(&ours) / median(&qemus);
    let figure =
        format!("{:.2} ms, 1/{:.1} of {:.2} ms", median(&ours), 1.0 / share, median(&qemus));
    if link == "none" {
        let met =
            share <= workload.share && workload.below_ms.is_none_or(|limit| median(&ours) < limit);
        verdict(workload.name, &figure, &format!("≤ 1/{:.0}", 1.0 / workload.share), met);
    } else {
        verdict(&format!("{} over {link}", workload.name), &figure, "no worse", share <= 1.05);
    }
    Ok(())
}
