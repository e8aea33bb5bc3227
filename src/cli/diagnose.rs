//! `switchover diagnose`

use super::args::DiagnoseArgs;
use super::exit::Exit;
use super::output;
use serde_json::json;
use switchover::convergence::{DiagnoseError, Diagnosis, diagnose as diagnosed};
use switchover::record::{Outcome, Run};
use switchover::report;
use switchover::scenario::Loader;

pub(super) fn diagnose(args: &DiagnoseArgs) -> Exit {
    let mut loader = Loader::new();
    let loaded = loader.file(&args.run.join("scenario.toml")).map(|_| ());
    let scenario = match loaded.and_then(|()| loader.load()) {
        Ok(scenario) => scenario,
        Err(error) => return Exit::usage(&error),
    };
    match diagnosed(&Run::open(&args.run), &scenario) {
        Ok(diagnosis) if args.json => output::result(&format!("{}\n", json(&diagnosis))),
        Ok(diagnosis) => output::page(&report::diagnosis(&diagnosis)),
        Err(error @ DiagnoseError::Record(_)) => return Exit::usage(&error),
        Err(error) => return Exit::environment(&error),
    }
    Exit::success()
}

fn json(diagnosis: &Diagnosis) -> serde_json::Value {
    let seen = &diagnosis.observed;
    let mut value = diagnosis.judgement.to_json();
    value["outcome"] = json!(diagnosis.outcome.map(Outcome::name));
    value["observed"] = json!({
        "samples": seen.samples, "passes": seen.passes.len().saturating_sub(1), "bandwidth_bps": seen.bandwidth.map(f64::round),
        "pending_floor_bytes": seen.floor(), "expected_downtime_us": seen.expected_downtime.map(|s| (s * 1e6).round()),
        "throttle_percent": seen.throttle * 100.0,
        "working_set_bytes": diagnosis.setup.workload.working_set().round(), "dirty_bps": diagnosis.setup.workload.rate().round(),
        "threshold_bytes": diagnosis.setup.threshold().round(),
    });
    value
}
