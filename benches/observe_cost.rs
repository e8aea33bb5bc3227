//! What looking costs the migration: the same migration with sampling off, at the usual rate, and
//! flat out.
//!
//! Whole labs (`run::in_lab`), one after the other in blocks: A B C, then C B A (off, 1 kHz, flat
//! out; the block begins with each of them in turn), so that a machine that gets busier or quieter
//! hits all alike. Each block gives a ratio and a difference against its own "off", and the median
//! of those is the figure, with its 95 % interval by bootstrap.
//!
//! Workload: 64 MiB to send at 48 MiB/s, 256 KiB/s written meanwhile: one pass of some 1.4 s paced
//! by QEMU's own rate limit, and a blackout that sends what was written in it. Nothing in it is up
//! to chance but the machine.
//!
//! Targets, at 1 kHz: total time within 2 %, blackout (STOP → RESUME) within 0.5 ms. Flat out: no
//! target, just the figure.
//!
//! `--pairs N` blocks (15).

mod support;

use record::{Outcome, Summary};
use std::process::ExitCode;
use support::stats::{median, median_interval, quantile, with_interval};
use support::{
    Arguments, Result, lab_run, machine, qemu_program, runtime, say, scenario, verdict,
    version_text,
};

const WORKLOAD: [&str; 6] = [
    "guest.memory=80MiB",
    "guest.working_set=64MiB",
    "guest.rate=256KiB/s",
    "guest.pattern=sequential",
    "limits.bandwidth=48MiB/s",
    "limits.downtime=300ms",
];
/// Name, sampling of the source, of the destination.
const ARMS: [(&str, &str, &str); 3] =
    [("off", "off", "off"), ("1 kHz (the default)", "1kHz", "100Hz"), ("flat out", "max", "max")];
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1], [2, 0, 1], [1, 0, 2]];

struct Figures {
    total_ms: f64,
    blackout_ms: f64,
    samples: f64,
}

fn main() -> ExitCode {
    support::main(run)
}

fn run(arguments: &Arguments) -> Result<()> {
    let pairs = arguments.number("--pairs", 15, 2)?;
    let program = qemu_program()?;
    let runtime = runtime()?;
    say(&format!(
        "observe_cost: migrations with and without sampling; {}",
        version_text(&program)?
    ));
    say(&format!("{}; {pairs} blocks of three; {}", machine(), WORKLOAD.join(" ")));

    let mut arms: [Vec<Figures>; 3] = Default::default();
    for pair in 0..pairs {
        for arm in ORDERS[pair % ORDERS.len()] {
            let (_, source, destination) = ARMS[arm];
            let mut settings = WORKLOAD.to_vec();
            let rates = [
                format!("sampling.source={source}"),
                format!("sampling.destination={destination}"),
            ];
            settings.extend(rates.iter().map(String::as_str));
            let (finished, _directory) = lab_run(&runtime, scenario(&program, &settings)?)?;
            arms[arm].push(figures(&finished.summary)?);
        }
    }

    say("");
    say("  sampling               samples   total, ms: median  quartiles          blackout, ms: \
            median  quartiles");
    for ((name, ..), runs) in ARMS.iter().zip(&arms) {
        let of = |get: fn(&Figures) -> f64| runs.iter().map(get).collect::<Vec<_>>();
        let (total, blackout) = (of(|f| f.total_ms), of(|f| f.blackout_ms));
        let quartiles = |values: &[f64]| (quantile(values, 0.25), quantile(values, 0.75));
        let ((tl, th), (bl, bh)) = (quartiles(&total), quartiles(&blackout));
        say(&format!(
            "  {name:<20} {:>9.0} {:>19.1}  {tl:>7.1} .. {th:<7.1} {:>21.2}  {bl:>6.2} .. \
                {bh:<6.2}",
            median(&of(|f| f.samples)),
            median(&total),
            median(&blackout)
        ));
    }
    say("");
    say("  against `off` of the same block: median [95 % interval]");
    for (arm, (name, ..)) in ARMS.iter().enumerate().skip(1) {
        let blocks = || arms[arm].iter().zip(&arms[0]);
        let ratio: Vec<f64> =
            blocks().map(|(run, off)| (run.total_ms / off.total_ms - 1.0) * 100.0).collect();
        let added: Vec<f64> =
            blocks().map(|(run, off)| run.blackout_ms - off.blackout_ms).collect();
        let (total, blackout) =
            (format!("{} %", with_interval(&ratio, 2)), format!("{} ms", with_interval(&added, 2)));
        if arm == 1 {
            verdict(
                &format!("{name}: total time"),
                &total,
                "within 2 %",
                median(&ratio).abs() <= 2.0,
            );
            verdict(
                &format!("{name}: blackout"),
                &blackout,
                "within 0.5 ms",
                median(&added).abs() <= 0.5,
            );
            let (low, high) = median_interval(&added);
            if high - low > 1.0 {
                say(
                    "    (the interval is wider than the target: more pairs, or a quieter machine, \
                        would tell)",
                );
            }
        } else {
            say(&format!("  {name}: total time {total}, blackout {blackout} (no target)"));
        }
    }
    Ok(())
}

fn figures(summary: &Summary) -> Result<Figures> {
    let (Outcome::Completed, Some(total), Some(blackout)) =
        (summary.outcome, summary.time_us.total, summary.downtime.views.events_us)
    else {
        return Err(format!("{:?}: {}", summary.outcome, summary.reason).into());
    };
    let sampled = [summary.sampling.source, summary.sampling.destination].into_iter().flatten();
    Ok(Figures {
        total_ms: total as f64 / 1e3,
        blackout_ms: blackout as f64 / 1e3,
        samples: sampled.map(|side| side.samples).sum::<u64>() as f64,
    })
}
