//! `switchover predict`

use super::args::{PredictArgs, scenario_over};
use super::connect::connect;
use super::exit::{Exit, ExitCode};
use super::output;
use super::run::conclude;
use serde_json::{Value, json};
use switchover::capture::{Captured, Seen, capture};
use switchover::convergence::{Judgement, Setup, Spread, judge, spread};
use switchover::drive::Interrupt;
use switchover::report;
use switchover::run::{Attach, Options, attached};
use switchover::scenario::Loader;

/// What was predicted.
struct Predicted {
    captured: Captured,
    setup: Setup,
    judged: Judgement,
    spread: Spread,
}

pub(super) async fn predict(args: PredictArgs, interrupt: Interrupt) -> Exit {
    let alone = match scenario_over(Loader::new(), args.scenario.as_ref(), None, Some(&args.common))
    {
        Ok(scenario) => scenario,
        Err(error) => return Exit::usage(&error),
    };
    let predicted = match predicted(&args).await {
        Ok(predicted) => predicted,
        Err(exit) => return exit,
    };
    let mut json = predicted.judged.to_json();
    add(&mut json, &predicted);
    if !args.common.json {
        output::page(&report::predicted(
            &predicted.captured,
            &predicted.setup,
            &predicted.judged,
            &predicted.spread,
        ));
    }
    let Some(destination) = args.destination.filter(|_| args.verify) else {
        if args.common.json {
            output::result(&format!("{json}\n"));
        }
        return Exit::success();
    };
    let attach = |qmp| Attach { qmp, sampling: None, trace: None };
    let options = Options {
        scenario: alone,
        out: args.common.out.clone(),
        interrupt,
        progress: output::progress(),
    };
    let finished = match attached(options, attach(args.source), attach(destination)).await {
        Ok(finished) => finished,
        Err(error) => return Exit::from_run_error(&error),
    };
    if args.common.json {
        json["verified"] = serde_json::to_value(&finished.summary).unwrap_or_default();
        output::result(&format!("{json}\n"));
        return Exit::with_code(ExitCode::from_summary(&finished.summary));
    }
    output::page(&report::verified(&predicted.judged, &finished.summary));
    conclude(Ok(finished), &args.common)
}

/// The session ends with this: QMP serves one client a socket, and a migration is the next.
async fn predicted(args: &PredictArgs) -> Result<Predicted, Exit> {
    let session =
        connect("source", &args.source).await.map_err(|error| Exit::environment(&error))?;
    let captured = capture(&session, args.watch.duration())
        .await
        .map_err(|error| Exit::environment(&error))?;
    let mut loader = Loader::new();
    let base = loader.text("the source's settings", &captured.settings.to_toml()).map(|_| ());
    let scenario = base
        .and_then(|()| scenario_over(loader, args.scenario.as_ref(), None, Some(&args.common)))
        .map_err(|error| Exit::usage(&error))?;
    let setup = captured.setup(&scenario, args.bandwidth.map(|rate| rate.0 as f64));
    let (judged, spread) = (judge(&setup), spread(&setup, &captured.alternatives()));
    Ok(Predicted { captured, setup, judged, spread })
}

fn add(json: &mut Value, predicted: &Predicted) {
    let Predicted { captured, setup, spread, .. } = predicted;
    let us = |(low, high): (f64, f64)| [(low * 1e6).round(), (high * 1e6).round()];
    let method = match captured.seen {
        Seen::DirtyRate(_) => "calc-dirty-rate",
        Seen::Migration(_) => "migration",
    };
    json["measured"] = json!({
        "by": method, "working_set_bytes": setup.workload.working_set().round(), "dirty_bps": setup.workload.rate().round(),
        "ram_bytes": setup.ram, "filled_bytes": setup.filled.round(), "bandwidth_bps": setup.bandwidth().0.round(),
        "threshold_bytes": setup.threshold().round(), "notes": captured.notes,
    });
    json["spread"] = json!({
        "converging": spread.converging, "of": spread.of, "total_us": us(spread.total),
        "bytes": [spread.bytes.0.round(), spread.bytes.1.round()], "blackout_us": spread.blackout.map(us),
    });
}
