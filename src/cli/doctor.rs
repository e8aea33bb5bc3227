//! `switchover doctor`

use super::args::{DoctorArgs, load_scenario};
use super::exit::{Exit, ExitCode};
use super::output;
use switchover::doctor::{Finding, Health, examine};

pub(super) async fn doctor(args: DoctorArgs) -> Exit {
    let scenario = match load_scenario(None, Some(&args.lab), None) {
        Ok(scenario) => scenario,
        Err(error) => return Exit::usage(&error),
    };
    let findings = examine(&scenario).await;
    if args.json {
        output::print_json(&findings);
    } else {
        output::print(&findings.iter().map(format_finding).collect::<String>());
    }
    let is_missing = findings.iter().any(|finding| finding.health == Health::Missing);
    Exit::with_code(if is_missing { ExitCode::Environment } else { ExitCode::Success })
}

fn format_finding(finding: &Finding) -> String {
    let health = match finding.health {
        Health::Works => "works",
        Health::Limited => "limited",
        Health::Missing => "MISSING",
    };
    format!("{health:<7}  {:<16} {}\n", finding.what, finding.detail)
}
