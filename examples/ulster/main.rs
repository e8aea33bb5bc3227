//! What `qemu-scripts/ulster` needs besides `switchover sweep`: what the links carry without QEMU, what passed over them in the campaign's runs, and
//! docs/ulster.md made from all of it.
//!
//! `ulster links OUT` · `ulster curves VOLUME OUT` (a campaign's directory) · `ulster page FROM DOCS` (results, and where the page and its figures are) · `ulster
//! laws CAMPAIGN RESULTS` (a campaign's file and its Parquet: only the laws). `page` and `laws` end with 4 if a law does not hold.

mod curves;
mod links;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use switchover::causes::with_causes;
use switchover::ulster::{Evidence, Finding, Verdict, campaign, figures, laws, page};

const CAMPAIGNS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/campaigns/ulster");
/// Exit code: a check failed, as of `switchover` itself.
const FAILED: u8 = 4;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["links", out] => links::measure(Path::new(out)).map(|()| 0),
        ["curves", campaign, out] => {
            curves::collect(Path::new(CAMPAIGNS), Path::new(campaign), Path::new(out)).map(|()| 0)
        }
        ["laws", file, results] => hold(Path::new(file), Path::new(results)),
        ["page", from, docs] => make(Path::new(from), Path::new(docs)),
        _ => {
            Err("ulster links OUT | curves VOLUME OUT | laws CAMPAIGN RESULTS | page FROM DOCS"
                .into())
        }
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            print(&format!("ulster: {}", with_causes(error.as_ref())));
            ExitCode::from(2)
        }
    }
}

fn hold(file: &Path, results: &Path) -> Result<u8, Box<dyn Error>> {
    Ok(say(&laws(&campaign(file, results)?)))
}

fn make(from: &Path, docs: &Path) -> Result<u8, Box<dyn Error>> {
    let evidence = Evidence::read(Path::new(CAMPAIGNS), from)?;
    let text = docs.join("ulster.md");
    let made = page(&std::fs::read_to_string(&text)?, &evidence)?;
    std::fs::create_dir_all(docs.join("ulster"))?;
    for (name, svg) in figures(&evidence) {
        std::fs::write(docs.join("ulster").join(name), svg)?;
    }
    std::fs::write(&text, made)?;
    Ok(say(&laws(&evidence.cells)))
}

fn say(findings: &[Finding]) -> u8 {
    for finding in findings {
        print(&format!(
            "{:<22} {:<20} {}: {}",
            finding.law.name(),
            finding.of,
            finding.verdict,
            finding.says
        ));
    }
    if findings.iter().any(|finding| finding.verdict == Verdict::Broken) { FAILED } else { 0 }
}

#[expect(clippy::print_stdout, reason = "a program's only output")]
fn print(line: &str) {
    println!("{line}");
}
