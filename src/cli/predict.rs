//! `switchover predict`

use super::args::{PredictArgs, load_scenario_over};
use super::connect::connect;
use super::exit::{Exit, ExitCode};
use super::output;
use super::run::report_run;
use crate::report;
use migrate::drive::Interrupt;
use model::{Judgement, JudgementReport, Setup, Spread, judge, spread};
use record::Summary;
use scenario::Loader;
use serde::Serialize;
use switchover::capture::{Captured, Seen, capture};
use switchover::run::{Attach, Options, attached};

/// What was measured of the VM, and the prediction that follows from it.
struct Measured {
    captured: Captured,
    setup: Setup,
    judgement: Judgement,
    spread: Spread,
}

pub(super) async fn predict(args: PredictArgs, interrupt: Interrupt) -> Exit {
    let file = args.scenario.as_ref();
    let scenario = match load_scenario_over(Loader::new(), file, None, Some(&args.common)) {
        Ok(scenario) => scenario,
        Err(error) => return Exit::usage(&error),
    };
    let measured = match measure(&args).await {
        Ok(measured) => measured,
        Err(exit) => return exit,
    };
    let Measured { captured, setup, judgement, spread } = &measured;
    if !args.common.json {
        output::print_page(&report::format_prediction(captured, setup, judgement, spread));
    }
    let Some(destination) = args.destination.filter(|_| args.verify) else {
        if args.common.json {
            output::print(&output::json_line(&PredictionReport::new(&measured)));
        }
        return Exit::success();
    };
    let attach = |qmp| Attach { qmp, sampling: None, trace: None };
    let progress = output::progress_line();
    let options = Options { scenario, out: args.common.out.clone(), interrupt, progress };
    let finished = match attached(options, attach(args.source), attach(destination)).await {
        Ok(finished) => finished,
        Err(error) => return Exit::from_run_error(&error),
    };
    if args.common.json {
        let code = ExitCode::from_summary(&finished.summary);
        let verified = Some(finished.summary);
        let report = PredictionReport { verified, ..PredictionReport::new(&measured) };
        output::print(&output::json_line(&report));
        return Exit::with_code(code);
    }
    output::print_page(&report::format_verification(judgement, &finished.summary));
    report_run(Ok(finished), &args.common)
}

/// Measures the VM. The session ends on return, because a QMP socket serves one client at a time,
/// and a migration with --verify needs it next.
async fn measure(args: &PredictArgs) -> Result<Measured, Exit> {
    let session =
        connect("source", &args.source).await.map_err(|error| Exit::environment(&error))?;
    let captured = capture(&session, args.watch.duration())
        .await
        .map_err(|error| Exit::environment(&error))?;
    let mut loader = Loader::new();
    let settings = loader.text("the source's settings", &captured.settings.to_toml()).map(|_| ());
    let scenario = settings
        .and_then(|()| load_scenario_over(loader, args.scenario.as_ref(), None, Some(&args.common)))
        .map_err(|error| Exit::usage(&error))?;
    let setup = captured.setup(&scenario, args.bandwidth.map(|rate| rate.0 as f64));
    let (judgement, spread) = (judge(&setup), spread(&setup, &captured.alternatives()));
    Ok(Measured { captured, setup, judgement, spread })
}

/// A prediction for `--json`.
#[derive(Serialize)]
struct PredictionReport {
    #[serde(flatten)]
    judgement: JudgementReport,
    measured: MeasuredReport,
    spread: SpreadReport,
    /// The run.json of the migration that `--verify` made.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<Summary>,
}

/// What was measured of the VM.
#[derive(Serialize)]
struct MeasuredReport {
    by: Method,
    working_set_bytes: f64,
    dirty_bps: f64,
    ram_bytes: f64,
    filled_bytes: f64,
    bandwidth_bps: f64,
    threshold_bytes: f64,
    notes: Vec<String>,
}

/// How the VM was measured.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Method {
    CalcDirtyRate,
    Migration,
}

/// The range of the predictions from which one measurement at a time was left out.
#[derive(Serialize)]
struct SpreadReport {
    converging: usize,
    of: usize,
    total_us: [f64; 2],
    bytes: [f64; 2],
    blackout_us: Option<[f64; 2]>,
}

impl PredictionReport {
    fn new(measured: &Measured) -> PredictionReport {
        let Measured { captured, setup, judgement, spread } = measured;
        let micros = |(low, high): (f64, f64)| [(low * 1e6).round(), (high * 1e6).round()];
        PredictionReport {
            judgement: judgement.to_report(),
            measured: MeasuredReport {
                by: match captured.seen {
                    Seen::DirtyRate(_) => Method::CalcDirtyRate,
                    Seen::Migration(_) => Method::Migration,
                },
                working_set_bytes: setup.workload.working_set().round(),
                dirty_bps: setup.workload.rate().round(),
                ram_bytes: setup.ram,
                filled_bytes: setup.filled.round(),
                bandwidth_bps: setup.bandwidth().0.round(),
                threshold_bytes: setup.threshold().round(),
                notes: captured.notes.clone(),
            },
            spread: SpreadReport {
                converging: spread.converging,
                of: spread.of,
                total_us: micros(spread.total),
                bytes: [spread.bytes.0.round(), spread.bytes.1.round()],
                blackout_us: spread.blackout.map(micros),
            },
            verified: None,
        }
    }
}
