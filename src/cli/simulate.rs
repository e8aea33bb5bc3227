//! `switchover simulate`

use super::args::SimulateArgs;
use super::exit::Exit;
use super::output;
use crate::report;
use model::{JudgementReport, Setup, judge};
use scenario::{Scenario, ScenarioError};
use serde::Serialize;
use std::collections::BTreeMap;

pub(super) fn simulate(args: &SimulateArgs) -> Exit {
    match simulate_to_text(args) {
        Ok(text) => {
            output::print(&text);
            Exit::success()
        }
        Err(error) => Exit::usage(&error),
    }
}

/// The judgement for one value of `--sweep`, for `--json`.
#[derive(Serialize)]
struct SweepLine<'a> {
    #[serde(flatten)]
    judgement: JudgementReport,
    /// The key that is varied, and its value.
    sweep: BTreeMap<&'a str, &'a str>,
}

/// Refuses a guest whose write rate is unknown.
fn require_known_guest(scenario: Scenario) -> Result<Scenario, ScenarioError> {
    if scenario.guest.kind.is_ours() {
        return Ok(scenario);
    }
    let problem =
        "the model does not know how a guest of your own writes its memory; start it and \
                   measure it with `switchover predict`"
            .to_owned();
    Err(ScenarioError::Invalid { key: "guest.kind", problem })
}

fn simulate_to_text(args: &SimulateArgs) -> Result<String, ScenarioError> {
    let Some((key, values)) = &args.sweep else {
        let setup = Setup::of_scenario(&require_known_guest(args.load_scenario(None)?)?);
        let judgement = judge(&setup);
        return Ok(if args.common.json {
            output::json_line(&judgement.to_report())
        } else {
            report::format_judgement(&setup, &judgement)
        });
    };
    let mut text = String::new();
    if !args.common.json {
        text.push_str(&report::format_value_sweep_header(key));
    }
    for value in values {
        let scenario = args.load_scenario(Some(&format!("{key}={value}")))?;
        let judgement = judge(&Setup::of_scenario(&require_known_guest(scenario)?));
        if args.common.json {
            let judgement = judgement.to_report();
            let sweep = BTreeMap::from([(key.as_str(), value.as_str())]);
            text.push_str(&output::json_line(&SweepLine { judgement, sweep }));
        } else {
            text.push_str(&report::format_value_sweep_row(value, &judgement));
        }
    }
    Ok(text)
}
