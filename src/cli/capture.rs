//! `switchover capture`

use super::args::CaptureArgs;
use super::connect::connect;
use super::exit::{Exit, ExitCode};
use super::output;
use switchover::capture::capture as captured;
use switchover::convergence::{Setup, judge};
use switchover::report;
use switchover::scenario::{Loader, Scenario, ScenarioError};

pub(super) async fn capture(args: CaptureArgs) -> Exit {
    let session = match connect("source", &args.source).await {
        Ok(session) => session,
        Err(error) => return Exit::environment(&error),
    };
    let captured = match captured(&session, args.watch.duration()).await {
        Ok(captured) => captured,
        Err(error) => return Exit::environment(&error),
    };
    let bandwidth = args.bandwidth.map(|rate| rate.0 as f64);
    let real = judge(&captured.setup(&captured.settings, bandwidth));
    let scenario = match settled(&captured.lab(args.scale, bandwidth), &args.set) {
        Ok(scenario) => scenario,
        Err(error) => return Exit::usage(&error),
    };
    let lab = judge(&Setup::of_scenario(&scenario));
    let head = report::captured_head(&captured, args.scale, &real, &lab);
    let text = format!("{head}{}", scenario.to_toml());
    match &args.out {
        None => output::result(&text),
        Some(path) => {
            if let Err(error) = std::fs::write(path, text) {
                return Exit::with_error(ExitCode::ResultsNotWritten, &error);
            }
            output::result(&head);
        }
    }
    Exit::success()
}

/// With the user's own settings over it.
fn settled(scenario: &Scenario, settings: &[String]) -> Result<Scenario, ScenarioError> {
    let mut loader = Loader::new();
    loader.text("what was captured", &scenario.to_toml())?;
    for setting in settings {
        loader.set(setting)?;
    }
    loader.load()
}
