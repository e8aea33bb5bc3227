//! Collects the data of figure 9: the traffic over the links in the runs with 2 GB, from their run
//! directories.

use analysis::JOURNAL;
use record::Run;
use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use switchover::campaign::definition::{Cell, Overrides};
use switchover::campaign::{Definition, Journal};
use ulster::Curve;

const STRESSED: &str = "2GB";
const SLOT_NS: u64 = 50_000_000;

/// Writes one line per run of the campaign directory of `ulster-volume`, whose run directories must
/// have been kept.
pub(crate) fn collect(campaigns: &Path, campaign: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let definition = Definition::from_file(&campaigns.join("volume.toml"), &Overrides::default())?;
    let mut text = String::new();
    for row in Journal::read(&campaign.join(JOURNAL))?.iter().flat_map(|visited| &visited.rows) {
        let Some(cell) = definition.cells.iter().find(|cell| cell.number == row.cell) else {
            continue;
        };
        if setting(cell, "stressed") == STRESSED && row.is_successful() {
            let bytes = bytes_by_slot(&Run::open(&campaign.join(&row.directory)));
            let curve = Curve {
                mode: setting(cell, "mode").to_owned(),
                link: setting(cell, "link").to_owned(),
                repeat: row.repeat,
                bytes,
            };
            let _ = writeln!(text, "{}", serde_json::to_string(&curve)?);
        }
    }
    Ok(std::fs::write(out, text)?)
}

fn setting<'a>(cell: &'a Cell, key: &str) -> &'a str {
    cell.settings.iter().find(|setting| setting.key == key).map_or("", |setting| &setting.value)
}

/// Sums up the bytes to the destination in each slot, from the first byte on.
fn bytes_by_slot(run: &Run) -> Vec<u64> {
    let flows = run.flows();
    let mut to_destination = flows
        .iter()
        .map(|record| record.flow)
        .filter(|flow| !flow.back && flow.bytes > 0)
        .peekable();
    let Some(first) = to_destination.peek().map(|flow| flow.at_ns) else { return Vec::new() };
    let mut slots = Vec::new();
    for flow in to_destination {
        let slot =
            usize::try_from((flow.at_ns - first) / SLOT_NS).unwrap_or(usize::MAX).min(100_000);
        if slots.len() <= slot {
            slots.resize(slot + 1, 0);
        }
        slots[slot] += flow.bytes;
    }
    slots
}
