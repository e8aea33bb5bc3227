//! `switchover inspect`

use super::args::InspectArgs;
use super::connect::connect;
use super::exit::Exit;
use super::output;
use serde_json::json;
use switchover::inspect::{differences, inspect as ask, side_name};
use switchover::qmp::{Endpoint, QmpError};
use switchover::report;

pub(super) async fn inspect(args: InspectArgs) -> Exit {
    let mut seen = Vec::new();
    for (index, endpoint) in args.endpoints.iter().enumerate() {
        match one(side_name(index), endpoint).await {
            Ok(inspection) => seen.push(inspection),
            Err(error) => return Exit::environment(&error),
        }
    }
    let differing = match seen.as_slice() {
        [first, second] => differences(first, second),
        _ => Vec::new(),
    };
    if args.json {
        let json = json!({ "qemus": seen, "differences": differing });
        output::result(&format!("{}\n", serde_json::to_string_pretty(&json).unwrap_or_default()));
    } else {
        output::page(&report::inspection(&seen, &differing));
    }
    Exit::success()
}

async fn one(side: &str, endpoint: &Endpoint) -> Result<switchover::inspect::Inspection, QmpError> {
    let session = connect(side, endpoint).await?;
    ask(endpoint.to_string(), &session).await
}
