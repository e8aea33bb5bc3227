//! The part of `qemu-scripts/ulster` that is not `switchover sweep`: it measures the links without
//! QEMU, collects the traffic over the links from run directories, and writes docs/ulster.md.
//!
//! - `ulster links OUT` measures the links.
//! - `ulster curves VOLUME OUT` collects the traffic from the directory of the campaign `volume`.
//! - `ulster page FROM DOCS` writes the page and its figures in DOCS from the results in FROM.
//! - `ulster check CAMPAIGN RESULTS` checks the expectations on the results of one campaign file.
//!
//! `page` and `check` exit with 4 if an expectation does not hold.

mod curves;
mod links;

use base::causes::with_causes;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use ulster::{
    Evidence, Finding, Verdict, check_expectations, draw_figures, load_cells, render_page,
};

const CAMPAIGNS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/campaigns/ulster");
/// The exit code for a failed check, the same as that of `switchover`.
const CHECK_FAILED: u8 = 4;

fn main() -> ExitCode {
    let all_arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = all_arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["links", out] => links::measure(Path::new(out)).map(|()| 0),
        ["curves", campaign, out] => {
            curves::collect(Path::new(CAMPAIGNS), Path::new(campaign), Path::new(out)).map(|()| 0)
        }
        ["check", file, results] => check(Path::new(file), Path::new(results)),
        ["page", from, docs] => write_page(Path::new(from), Path::new(docs)),
        _ => Err(
            "usage: ulster links OUT | curves VOLUME OUT | check CAMPAIGN RESULTS | page FROM DOCS"
                .into(),
        ),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            print(&format!("ulster: {}", with_causes(error.as_ref())));
            ExitCode::from(2)
        }
    }
}

fn check(file: &Path, results: &Path) -> Result<u8, Box<dyn Error>> {
    Ok(report_findings(&check_expectations(&load_cells(file, results)?)))
}

fn write_page(from: &Path, docs: &Path) -> Result<u8, Box<dyn Error>> {
    let evidence = Evidence::load(Path::new(CAMPAIGNS), from)?;
    let text = docs.join("ulster.md");
    let rendered = render_page(&std::fs::read_to_string(&text)?, &evidence)?;
    std::fs::create_dir_all(docs.join("ulster"))?;
    for (name, svg) in draw_figures(&evidence) {
        std::fs::write(docs.join("ulster").join(name), svg)?;
    }
    std::fs::write(&text, rendered)?;
    Ok(report_findings(&check_expectations(&evidence.cells)))
}

fn report_findings(findings: &[Finding]) -> u8 {
    for finding in findings {
        print(&format!(
            "{:<22} {:<20} {}: {}",
            finding.expectation.name(),
            finding.subject,
            finding.verdict,
            finding.detail
        ));
    }
    if findings.iter().any(|finding| finding.verdict == Verdict::Violated) {
        CHECK_FAILED
    } else {
        0
    }
}

#[expect(clippy::print_stdout, reason = "the only output of the program")]
fn print(line: &str) {
    println!("{line}");
}
