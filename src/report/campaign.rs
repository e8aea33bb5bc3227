//! A campaign for the terminal: what it will take, how far it is, what came of each cell.

use super::comparison::words;
use crate::campaign::statistics::SortedValues;
use crate::campaign::{
    Definition, MetricUnit, RunRow, RunStatus, Shard, SweepOutcome, SweepProgress, metrics,
    predict_visit_seconds,
};
use crate::record::{Check, Host, Outcome};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// Figures of a cell that are shown.
const SHOWN: [usize; 3] = [0, 1, 2];

/// The cells and the time that they will take.
#[must_use]
pub fn format_dry_run(definition: &Definition, shard: Option<Shard>) -> String {
    let visits = definition.visits(shard);
    let mut rows =
        vec![["cell".to_owned(), "visits".to_owned(), "of each".to_owned(), String::new()]];
    let mut all = 0.0;
    for cell in &definition.cells {
        let count = visits.iter().filter(|visit| visit.cell == cell.number).count();
        let seconds = predict_visit_seconds(definition, cell, 1);
        all += visits
            .iter()
            .filter(|visit| visit.cell == cell.number)
            .map(|visit| predict_visit_seconds(definition, cell, visit.round))
            .sum::<f64>();
        rows.push([cell.number.to_string(), count.to_string(), time(seconds), cell.name()]);
    }
    let runs: u32 = visits.iter().map(|visit| definition.runs_in_round(visit.round)).sum();
    let mut text = format!(
        "{}: {} cells, {} visits, {runs} runs, about {}\n",
        definition.name,
        definition.cells.len(),
        visits.len(),
        time(all)
    );
    for [number, visits, seconds, name] in rows {
        let _ = writeln!(text, "  {number:>4}  {visits:>6}  {seconds:>8}  {name}");
    }
    text.push_str("  times are the model's (switchover simulate), and what starting a guest and asking it take\n");
    text
}

/// One line.
#[must_use]
pub fn format_sweep_progress(progress: &SweepProgress) -> String {
    let SweepProgress { visits_done, visits_total, failed_runs, cell, remaining } = progress;
    let failed =
        if *failed_runs == 0 { String::new() } else { format!(", {failed_runs} failed runs") };
    format!("{}/{visits_total}{failed}, {} left: {cell}", visits_done + 1, between(*remaining))
}

fn between((least, most): (Duration, Duration)) -> String {
    let (least, most) = (time(least.as_secs_f64()), time(most.as_secs_f64()));
    if least == most { format!("about {most}") } else { format!("{least} to {most}") }
}

/// `40 s`, `12 min`, `3.5 h`: nobody needs it closer.
fn time(seconds: f64) -> String {
    match seconds {
        short if short < 10.0 => format!("{short:.1} s"),
        short if short < 100.0 => format!("{short:.0} s"),
        minutes if minutes < 6000.0 => format!("{:.0} min", minutes / 60.0),
        hours => format!("{:.1} h", hours / 3600.0),
    }
}

/// What came of each cell.
#[must_use]
pub fn format_sweep_summary(definition: &Definition, swept: &SweepOutcome, out: &Path) -> String {
    let mut text = head(definition, swept);
    let mut table =
        vec![["cell", "completed", "blackout", "total time", "bytes sent"].map(str::to_owned)];
    for cell in &definition.cells {
        let rows: Vec<&RunRow> = swept.rows.iter().filter(|row| row.cell == cell.number).collect();
        if !rows.is_empty() {
            let completed = rows
                .iter()
                .filter(|row| row.status == RunStatus::Migrated(Outcome::Completed))
                .count();
            let [blackout, total, bytes] = SHOWN.map(|column| figure(&rows, column));
            table.push([
                cell.name(),
                format!("{completed} of {}", rows.len()),
                blackout,
                total,
                bytes,
            ]);
        }
    }
    text.push_str(&aligned(&table));
    text.push_str("  medians of completed runs with 95 % intervals\n");
    for (reason, count) in reasons(&swept.rows) {
        let _ = writeln!(text, "  {count} × {reason}");
    }
    text.push_str(&neighbours(&swept.rows));
    let again = if swept.visits_remaining > 0 {
        format!("\n  {} visits are still to be made: go on with --resume", swept.visits_remaining)
    } else {
        String::new()
    };
    let _ = writeln!(text, "  results     {}{again}", out.display());
    text
}

/// A line if others were busy on this machine.
fn neighbours(rows: &[RunRow]) -> String {
    let Some((busy, share)) = Host::busiest(rows.iter().map(RunRow::host)) else {
        return String::new();
    };
    format!(
        "  during {busy} of {} runs others took more than a tenth of this machine's CPU time, at most {:.0} %: see host_others_us\n",
        rows.len(),
        100.0 * share
    )
}

fn head(definition: &Definition, swept: &SweepOutcome) -> String {
    let runs = swept.rows.len();
    let good = swept.rows.iter().filter(|row| row.is_successful()).count();
    let made = if swept.visits_made == 0 {
        String::new()
    } else {
        format!(", {} visits in {}", swept.visits_made, time(swept.seconds))
    };
    format!(
        "{}: {good} of {runs} runs completed with their memory right or unchecked{made}\n",
        definition.name
    )
}

/// Median and interval of what completed.
fn figure(rows: &[&RunRow], column: usize) -> String {
    let unit = metrics::all().get(column).map_or(MetricUnit::Count, |metric| metric.unit);
    let completed = rows.iter().filter(|row| row.status == RunStatus::Migrated(Outcome::Completed));
    let values =
        SortedValues::new(completed.filter_map(|row| row.values.get(column).copied().flatten()));
    values.quantile(50).map(|estimate| words::estimate(&estimate, unit)).unwrap_or_default()
}

/// Why runs were not good, the most frequent first.
fn reasons(rows: &[RunRow]) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.is_successful()) {
        let corrupt = if row.status == RunStatus::Migrated(Outcome::Completed) {
            ", and its memory is corrupt"
        } else {
            ""
        };
        *counts.entry(format!("{}: {}{corrupt}", row.status.name(), row.reason)).or_default() += 1;
    }
    let mut all: Vec<(String, usize)> = counts.into_iter().collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    all
}

/// The same for machines: medians and intervals of all figures.
#[must_use]
pub fn cells_to_json(definition: &Definition, rows: &[RunRow]) -> Vec<Value> {
    let of_cell = |cell: &crate::campaign::definition::Cell| {
        let rows: Vec<&RunRow> = rows.iter().filter(|row| row.cell == cell.number).collect();
        let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
        for row in &rows {
            *outcomes.entry(row.status.name()).or_default() += 1;
        }
        let busy = Host::busiest(rows.iter().map(|row| row.host())).map_or(0, |(busy, _)| busy);
        let completed: Vec<&&RunRow> = rows
            .iter()
            .filter(|row| row.status == RunStatus::Migrated(Outcome::Completed))
            .collect();
        let figures = metrics::all().into_iter().enumerate().map(|(column, metric)| {
            let values = SortedValues::new(completed.iter().filter_map(|row| row.values.get(column).copied().flatten()));
            (metric.name, json!({"values": values.values().len(), "p50": values.quantile(50), "p90": values.quantile(90)}))
        });
        let figures: BTreeMap<String, Value> =
            figures.filter(|(_, figure)| figure["values"] != 0).collect();
        json!({"number": cell.number, "name": cell.name(), "settings": cell.settings, "runs": rows.len(), "runs_with_busy_neighbours": busy, "outcomes": outcomes, "figures": figures})
    };
    definition.cells.iter().map(of_cell).collect()
}

/// A line for each check.
#[must_use]
pub fn format_checks(checks: &[Check]) -> String {
    let line = |check: &Check| {
        let word = if check.pass { "passed" } else { "FAILED" };
        format!("  check       {word}: {}, it is {}\n", check.name, check.actual)
    };
    checks.iter().map(line).collect()
}

/// Columns as wide as what is in them.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(text, "  {}", cells.join("  ").trim_end());
    }
    text
}
