//! `switchover simulate`

use super::args::SimulateArgs;
use super::exit::Exit;
use super::output;
use serde_json::{Value, json};
use switchover::convergence::{Judgement, Setup, judge};
use switchover::report;
use switchover::scenario::{Scenario, ScenarioError};

pub(super) fn simulate(args: &SimulateArgs) -> Exit {
    match simulated(args) {
        Ok(text) => {
            output::result(&text);
            Exit::code(0)
        }
        Err(error) => Exit::usage(&error),
    }
}

fn simulated(args: &SimulateArgs) -> Result<String, ScenarioError> {
    let Some((key, values)) = &args.sweep else {
        let setup = Setup::of_scenario(&args.scenario(None)?);
        let judged = judge(&setup);
        return Ok(if args.common.json { line(&as_json(&judged)) } else { report::judgement(&setup, &judged) });
    };
    let mut text = String::new();
    if !args.common.json {
        text.push_str(&report::sweep_head(key));
    }
    for value in values {
        let scenario: Scenario = args.scenario(Some(&format!("{key}={value}")))?;
        let judged = judge(&Setup::of_scenario(&scenario));
        if args.common.json {
            let mut object = as_json(&judged);
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

pub(super) fn as_json(judged: &Judgement) -> Value {
    let Judgement { verdict, prediction, textbook, boundaries, remedies } = judged;
    let us = |seconds: f64| (seconds * 1e6).round();
    json!({
        "verdict": verdict.name(),
        "predicted": {
            "converges": prediction.converges, "total_us": us(prediction.total), "bytes": prediction.bytes.round(),
            "syncs": prediction.syncs, "pending_bytes": prediction.pending.round(),
            "expected_downtime_us": us(prediction.expected_downtime), "blackout_us": prediction.blackout.map(us),
            "throttle_percent": prediction.throttle * 100.0,
            "postcopy": prediction.postcopy.map(|postcopy| json!({
                "us": us(postcopy.seconds), "faults": postcopy.faults.round(), "fault_us": us(postcopy.fault), "blocked_us": us(postcopy.blocked),
            })),
        },
        "textbook": { "converges": textbook.converges, "total_us": us(textbook.total), "expected_downtime_us": us(textbook.expected_downtime) },
        "boundaries": {
            "rate_bps": boundaries.rate.map(f64::round), "working_set_bytes": boundaries.working_set.map(f64::round),
            "bandwidth_bps": boundaries.bandwidth.map(f64::round), "downtime_limit_us": boundaries.downtime_limit.map(us),
        },
        "remedies": remedies,
    })
}
