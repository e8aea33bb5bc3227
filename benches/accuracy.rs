//! How well the views of the blackout agree: one series of switchovers for each cell of version,
//! mode and transport.
//!
//! The guest's heartbeat, corrected by the guest's own clock, is what the others are held against:
//! it comes from outside QEMU. QEMU's own figure stands beside them. All cells are short series,
//! taken in turn in rounds, so that a busy moment of the machine hits all.
//!
//! Targets: `events` and `trace` within one period of the heartbeat (1 ms) + 1 ms at the median,
//! and + 5 ms at p95.
//!
//! `--switchovers N` a cell (110), `--rounds N` (2), `--version V`.

mod support;

use record::{Integrity, Outcome, Switchover};
use std::process::ExitCode;
use support::stats::{median, quantile};
use support::{
    Arguments, Result, lab_run, machine, qemu_version, runtime, say, scenario, verdict,
    version_text,
};

const WORKLOAD: [&str; 4] = [
    "guest.memory=128MiB",
    "guest.working_set=16MiB",
    "guest.rate=20MiB/s",
    "limits.bandwidth=unlimited",
];
const PERIOD_US: f64 = 1000.0;
const VERSIONS: [&str; 3] = ["7.2", "10.0", "newest"];

struct Cell {
    program: String,
    name: String,
    settings: [String; 2],
    lines: Vec<Switchover>,
    corrupt: usize,
}

fn main() -> ExitCode {
    support::main(run)
}

fn run(arguments: &Arguments) -> Result<()> {
    let (wanted, rounds) =
        (arguments.number("--switchovers", 110, 8)?, arguments.number("--rounds", 2, 1)?);
    let only = arguments.value("--version");
    say("accuracy: the views of the blackout against the guest's heartbeat, µs");
    say(&machine());
    let mut cells = Vec::new();
    for version in VERSIONS.into_iter().filter(|version| only.is_none_or(|only| only == *version)) {
        let program = qemu_version(version)?;
        say(&format!("{version}: {}", version_text(&program)?));
        for mode in ["precopy", "postcopy"] {
            for transport in ["unix", "tcp"] {
                let settings = [format!("mode={mode}"), format!("transport={transport}")];
                let name = format!("{version} {mode} {transport}");
                cells.push(Cell {
                    program: program.clone(),
                    name,
                    settings,
                    lines: Vec::new(),
                    corrupt: 0,
                });
            }
        }
    }
    let runtime = runtime()?;
    for round in 0..rounds {
        for cell in &mut cells {
            let postcopy = cell.settings[0] == "mode=postcopy";
            let (mut tries, due) = (0, wanted * (round + 1) / rounds);
            while cell.lines.len() < due && tries < 8 {
                tries += 1;
                let repeat = format!("repeat={}", due - cell.lines.len());
                let settings: Vec<&str> = WORKLOAD
                    .into_iter()
                    .chain(cell.settings.iter().map(String::as_str))
                    .chain([repeat.as_str()])
                    .collect();
                let (finished, _directory) =
                    lab_run(&runtime, scenario(&cell.program, &settings)?)?;
                cell.corrupt += usize::from(finished.summary.guest.integrity == Integrity::Corrupt);
                // Where pre-copy finished first, it is no switchover of post-copy.
                let of_this = |line: &Switchover| {
                    line.outcome == Outcome::Completed && line.postcopy_happened == postcopy
                };
                cell.lines.extend(finished.switchovers.into_iter().filter(of_this));
            }
        }
    }
    table(&cells);
    Ok(())
}

fn table(cells: &[Cell]) {
    say("");
    say(
        "                              n   heartbeat   |events − heartbeat|   |trace − heartbeat|  \
             QEMU's own − heartbeat   views that",
    );
    say(
        "                                     median        p50        p95        p50       p95    \
              p5      p50     p95       disagree",
    );
    let mut worst = [0f64; 4];
    for cell in cells {
        let of = |get: fn(&Switchover) -> Option<u64>| -> Vec<f64> {
            let heartbeat = |line: &Switchover| Some(line.downtime.views.heartbeat_us? as f64);
            cell.lines
                .iter()
                .filter_map(|line| Some(get(line)? as f64 - heartbeat(line)?))
                .collect()
        };
        let apart = |values: &[f64], q: f64| {
            quantile(&values.iter().map(|value| value.abs()).collect::<Vec<_>>(), q)
        };
        let (events, trace) =
            (of(|line| line.downtime.views.events_us), of(|line| line.downtime.views.trace_us));
        let reported = of(|line| line.downtime.views.reported_us);
        let heartbeat: Vec<f64> = cell
            .lines
            .iter()
            .filter_map(|line| line.downtime.views.heartbeat_us.map(|us| us as f64))
            .collect();
        let figures =
            [apart(&events, 0.5), apart(&events, 0.95), apart(&trace, 0.5), apart(&trace, 0.95)];
        for (worst, figure) in worst.iter_mut().zip(figures) {
            *worst = worst.max(if figure.is_nan() { 0.0 } else { figure });
        }
        let shown = |at: usize| {
            if figures[at].is_nan() { "–".to_owned() } else { format!("{:.0}", figures[at]) }
        };
        let disagree =
            cell.lines.iter().filter(|line| !line.downtime.disagreements.is_empty()).count();
        let corrupt = if cell.corrupt > 0 {
            format!("  ({} series ended corrupt)", cell.corrupt)
        } else {
            String::new()
        };
        say(&format!(
            "  {:<22} {:>6} {:>11.0} {:>10} {:>10} {:>10} {:>9} {:>7.0} {:>8.0} {:>7.0} \
                {disagree:>14}{corrupt}",
            cell.name,
            cell.lines.len(),
            median(&heartbeat),
            shown(0),
            shown(1),
            shown(2),
            shown(3),
            quantile(&reported, 0.05),
            quantile(&reported, 0.5),
            quantile(&reported, 0.95),
        ));
    }
    say("");
    for (at, (name, target)) in [
        ("events, median", 1000.0),
        ("events, p95", 5000.0),
        ("trace, median", 1000.0),
        ("trace, p95", 5000.0),
    ]
    .into_iter()
    .enumerate()
    {
        let limit = PERIOD_US + target;
        verdict(
            &format!("{name}: worst cell"),
            &format!("{:.0} µs", worst[at]),
            &format!("≤ {limit:.0} µs"),
            worst[at] <= limit,
        );
    }
}
