//! `switchover inspect`

use super::args::InspectArgs;
use super::connect::connect;
use super::exit::Exit;
use super::output;
use crate::report;
use migrate::inspect::{Inspection, differences, inspect as inspect_session, side_name};
use qmp::{Endpoint, QmpError};
use serde_json::json;

pub(super) async fn inspect(args: InspectArgs) -> Exit {
    let mut inspections = Vec::new();
    for (index, endpoint) in args.endpoints.iter().enumerate() {
        match inspect_endpoint(side_name(index), endpoint).await {
            Ok(inspection) => inspections.push(inspection),
            Err(error) => return Exit::environment(&error),
        }
    }
    let differences = match inspections.as_slice() {
        [first, second] => differences(first, second),
        _ => Vec::new(),
    };
    if args.json {
        output::print_json(&json!({ "qemus": inspections, "differences": differences }));
    } else {
        output::print_page(&report::format_inspection(&inspections, &differences));
    }
    Exit::success()
}

async fn inspect_endpoint(side: &str, endpoint: &Endpoint) -> Result<Inspection, QmpError> {
    let session = connect(side, endpoint).await?;
    inspect_session(endpoint.to_string(), &session).await
}
