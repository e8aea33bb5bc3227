//! `switchover diagnose`

use super::args::DiagnoseArgs;
use super::exit::Exit;
use super::output;
use crate::report;
use analysis::{DiagnoseError, Diagnosis, diagnose as diagnose_run};
use model::JudgementReport;
use record::{Outcome, Run};
use scenario::{Loader, Scenario, ScenarioError};
use serde::Serialize;

pub(super) fn diagnose(args: &DiagnoseArgs) -> Exit {
    let scenario = match load_scenario_of_run(args) {
        Ok(scenario) => scenario,
        Err(error) => return Exit::usage(&error),
    };
    match diagnose_run(&Run::open(&args.run), &scenario) {
        Ok(diagnosis) if args.json => {
            output::print(&output::json_line(&DiagnosisReport::new(&diagnosis)));
        }
        Ok(diagnosis) => output::print_page(&report::format_diagnosis(&diagnosis)),
        Err(error @ DiagnoseError::Record(_)) => return Exit::usage(&error),
        Err(error) => return Exit::environment(&error),
    }
    Exit::success()
}

fn load_scenario_of_run(args: &DiagnoseArgs) -> Result<Scenario, ScenarioError> {
    let mut loader = Loader::new();
    loader.file(&args.run.join("scenario.toml"))?;
    loader.load()
}

/// A diagnosis for `--json`.
#[derive(Serialize)]
struct DiagnosisReport {
    #[serde(flatten)]
    judgement: JudgementReport,
    outcome: Option<String>,
    observed: ObservedReport,
}

/// What the run showed, and the workload that was fitted to it.
#[derive(Serialize)]
struct ObservedReport {
    samples: u64,
    passes: usize,
    bandwidth_bps: Option<f64>,
    pending_floor_bytes: Option<f64>,
    expected_downtime_us: Option<f64>,
    throttle_percent: f64,
    working_set_bytes: f64,
    dirty_bps: f64,
    threshold_bytes: f64,
}

impl DiagnosisReport {
    fn new(diagnosis: &Diagnosis) -> DiagnosisReport {
        let Diagnosis { observed, setup, judgement, outcome, .. } = diagnosis;
        DiagnosisReport {
            judgement: judgement.to_report(),
            outcome: outcome.map(Outcome::name),
            observed: ObservedReport {
                samples: observed.samples,
                passes: observed.passes.len().saturating_sub(1),
                bandwidth_bps: observed.bandwidth.map(f64::round),
                pending_floor_bytes: observed.floor(),
                expected_downtime_us: observed
                    .expected_downtime
                    .map(|seconds| (seconds * 1e6).round()),
                throttle_percent: observed.throttle * 100.0,
                working_set_bytes: setup.workload.working_set().round(),
                dirty_bps: setup.workload.rate().round(),
                threshold_bytes: setup.threshold().round(),
            },
        }
    }
}
