//! `switchover diagnose`

use super::args::DiagnoseArgs;
use super::exit::Exit;
use super::output;
use serde_json::{Value, json};
use switchover::convergence::{DiagnoseError, Diagnosis, diagnose as diagnose_run};
use switchover::record::{Outcome, Run};
use switchover::report;
use switchover::scenario::{Loader, Scenario, ScenarioError};

pub(super) fn diagnose(args: &DiagnoseArgs) -> Exit {
    let scenario = match load_scenario_of_run(args) {
        Ok(scenario) => scenario,
        Err(error) => return Exit::usage(&error),
    };
    match diagnose_run(&Run::open(&args.run), &scenario) {
        Ok(diagnosis) if args.json => {
            output::print(&format!("{}\n", diagnosis_to_json(&diagnosis)));
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

fn diagnosis_to_json(diagnosis: &Diagnosis) -> Value {
    let observed = &diagnosis.observed;
    let workload = &diagnosis.setup.workload;
    let expected_downtime = observed.expected_downtime.map(|seconds| (seconds * 1e6).round());
    let mut value = diagnosis.judgement.to_json();
    value["outcome"] = json!(diagnosis.outcome.map(Outcome::name));
    value["observed"] = json!({
        "samples": observed.samples,
        "passes": observed.passes.len().saturating_sub(1),
        "bandwidth_bps": observed.bandwidth.map(f64::round),
        "pending_floor_bytes": observed.floor(),
        "expected_downtime_us": expected_downtime,
        "throttle_percent": observed.throttle * 100.0,
        "working_set_bytes": workload.working_set().round(),
        "dirty_bps": workload.rate().round(),
        "threshold_bytes": diagnosis.setup.threshold().round(),
    });
    value
}
