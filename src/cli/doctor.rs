//! `switchover doctor`

use super::args::{DoctorArgs, scenario};
use super::exit::{Exit, ExitCode};
use super::output;
use switchover::doctor::{Health, examine};

pub(super) async fn doctor(args: DoctorArgs) -> Exit {
    let scenario = match scenario(None, Some(&args.lab), None) {
        Ok(scenario) => scenario,
        Err(error) => return Exit::usage(&error),
    };
    let findings = examine(&scenario).await;
    if args.json {
        output::result(&format!(
            "{}\n",
            serde_json::to_string_pretty(&findings).unwrap_or_default()
        ));
    } else {
        let line = |f: &switchover::doctor::Finding| {
            let mark = match f.health {
                Health::Works => "works  ",
                Health::Limited => "limited",
                Health::Missing => "MISSING",
            };
            format!("{mark}  {:<16} {}\n", f.what, f.detail)
        };
        output::result(&findings.iter().map(line).collect::<String>());
    }
    let missing = findings.iter().any(|finding| finding.health == Health::Missing);
    Exit::with_code(if missing { ExitCode::Environment } else { ExitCode::Success })
}
