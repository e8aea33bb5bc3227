//! `switchover simulate`

use super::args::SimulateArgs;
use super::exit::Exit;
use super::output;
use serde_json::{Value, json};
use switchover::convergence::{Setup, judge};
use switchover::report;
use switchover::scenario::{Scenario, ScenarioError};

pub(super) fn simulate(args: &SimulateArgs) -> Exit {
    match simulated(args) {
        Ok(text) => {
            output::result(&text);
            Exit::success()
        }
        Err(error) => Exit::usage(&error),
    }
}

/// The scenario, unless nobody knows what its guest writes.
fn known(scenario: Scenario) -> Result<Scenario, ScenarioError> {
    if scenario.guest.kind.is_ours() {
        return Ok(scenario);
    }
    let problem = "what a guest of your own writes is not known; start it and measure it with `switchover predict`".to_owned();
    Err(ScenarioError::Impossible { key: "guest.kind", problem })
}

fn simulated(args: &SimulateArgs) -> Result<String, ScenarioError> {
    let Some((key, values)) = &args.sweep else {
        let setup = Setup::of_scenario(&known(args.scenario(None)?)?);
        let judged = judge(&setup);
        return Ok(if args.common.json {
            line(&judged.to_json())
        } else {
            report::judgement(&setup, &judged)
        });
    };
    let mut text = String::new();
    if !args.common.json {
        text.push_str(&report::sweep_head(key));
    }
    for value in values {
        let scenario = known(args.scenario(Some(&format!("{key}={value}")))?)?;
        let judged = judge(&Setup::of_scenario(&scenario));
        if args.common.json {
            let mut object = judged.to_json();
            object["sweep"] = json!({ key: value });
            text.push_str(&line(&object));
        } else {
            text.push_str(&report::sweep_line(value, &judged));
        }
    }
    Ok(text)
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}
