//! `switchover capture`

use super::args::CaptureArgs;
use super::connect::connect;
use super::exit::{Exit, ExitCode};
use super::output;
use crate::report;
use model::{Setup, judge};
use scenario::{Loader, Scenario, ScenarioError};
use switchover::capture::capture as capture_vm;

pub(super) async fn capture(args: CaptureArgs) -> Exit {
    let session = match connect("source", &args.source).await {
        Ok(session) => session,
        Err(error) => return Exit::environment(&error),
    };
    let captured = match capture_vm(&session, args.watch.duration()).await {
        Ok(captured) => captured,
        Err(error) => return Exit::environment(&error),
    };
    let bandwidth = args.bandwidth.map(|rate| rate.0 as f64);
    let of_vm = judge(&captured.setup(&captured.settings, bandwidth));
    let scenario = match with_settings(&captured.lab(args.scale, bandwidth), &args.set) {
        Ok(scenario) => scenario,
        Err(error) => return Exit::usage(&error),
    };
    let of_lab = judge(&Setup::of_scenario(&scenario));
    let header = report::format_capture_header(&captured, args.scale, &of_vm, &of_lab);
    let text = format!("{header}{}", scenario.to_toml());
    match &args.out {
        None => output::print(&text),
        Some(path) => {
            if let Err(source) = std::fs::write(path, text) {
                let error = WriteError { path: path.clone(), source };
                return Exit::with_error(ExitCode::ResultsNotWritten, &error);
            }
            output::print(&header);
        }
    }
    Exit::success()
}

/// The scenario could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the scenario to {path} (--out)")]
struct WriteError {
    path: std::path::PathBuf,
    source: std::io::Error,
}

/// Applies the user's `--set` settings to the captured scenario.
fn with_settings(scenario: &Scenario, settings: &[String]) -> Result<Scenario, ScenarioError> {
    let mut loader = Loader::new();
    loader.text("the captured scenario", &scenario.to_toml())?;
    for setting in settings {
        loader.set(setting)?;
    }
    loader.load()
}
