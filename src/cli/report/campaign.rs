//! A campaign on the terminal: its expected time, its progress, and the results of each cell.

use super::columns::align_columns;
use super::comparison::figures;
use analysis::setting::Setting;
use analysis::statistics::{Estimate, SortedValues};
use analysis::{MetricUnit, RunRow, RunStatus, metrics};
use record::{Host, Outcome};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;
use switchover::campaign::definition::Cell;
use switchover::campaign::{Definition, Shard, SweepOutcome, SweepProgress, predict_visit_seconds};

/// The columns of `metrics::all()` that the summary shows: blackout, total time, bytes sent.
const SHOWN_METRICS: [usize; 3] = [0, 1, 2];

/// Formats the cells and the time that they are expected to take.
#[must_use]
pub fn format_dry_run(definition: &Definition, shard: Option<Shard>) -> String {
    let visits = definition.visits(shard);
    let mut rows =
        vec![["cell".to_owned(), "visits".to_owned(), "time each".to_owned(), String::new()]];
    let mut all = 0.0;
    for cell in &definition.cells {
        let count = visits.iter().filter(|visit| visit.cell == cell.number).count();
        let seconds = predict_visit_seconds(definition, cell, 1);
        all += visits
            .iter()
            .filter(|visit| visit.cell == cell.number)
            .map(|visit| predict_visit_seconds(definition, cell, visit.round))
            .sum::<f64>();
        rows.push([cell.number.to_string(), count.to_string(), format_time(seconds), cell.name()]);
    }
    let runs: u32 = visits.iter().map(|visit| definition.runs_in_round(visit.round)).sum();
    let mut text = format!(
        "{}: {} cells, {} visits, {runs} runs, about {}\n",
        definition.name,
        definition.cells.len(),
        visits.len(),
        format_time(all)
    );
    for [number, visits, seconds, name] in rows {
        let _ = writeln!(text, "  {number:>4}  {visits:>6}  {seconds:>9}  {name}");
    }
    text.push_str(
        "  times are predicted (switchover simulate), with starting and checking the guest\n",
    );
    text
}

/// Formats a campaign's progress as one line.
#[must_use]
pub fn format_sweep_progress(progress: &SweepProgress) -> String {
    let SweepProgress { visits_done, visits_total, failed_runs, cell, remaining } = progress;
    let failed =
        if *failed_runs == 0 { String::new() } else { format!(", {failed_runs} failed runs") };
    format!("{}/{visits_total}{failed}, {} left: {cell}", visits_done + 1, format_range(*remaining))
}

fn format_range((min, max): (Duration, Duration)) -> String {
    let (min, max) = (format_time(min.as_secs_f64()), format_time(max.as_secs_f64()));
    if min == max { format!("about {max}") } else { format!("{min} to {max}") }
}

/// Formats a time with two or three digits: `40 s`, `12 min`, `3.5 h`.
fn format_time(seconds: f64) -> String {
    match seconds {
        short if short < 10.0 => format!("{short:.1} s"),
        short if short < 100.0 => format!("{short:.0} s"),
        minutes if minutes < 6000.0 => format!("{:.0} min", minutes / 60.0),
        hours => format!("{:.1} h", hours / 3600.0),
    }
}

/// Formats the results of each cell, the reasons of failed runs, and where the results are.
#[must_use]
pub fn format_sweep_summary(definition: &Definition, swept: &SweepOutcome, out: &Path) -> String {
    let mut text = format_head(definition, swept);
    let mut table =
        vec![["cell", "completed", "blackout", "total time", "bytes sent"].map(str::to_owned)];
    for cell in &definition.cells {
        let rows: Vec<&RunRow> = swept.rows.iter().filter(|row| row.cell == cell.number).collect();
        if !rows.is_empty() {
            let completed = rows
                .iter()
                .filter(|row| row.status == RunStatus::Migrated(Outcome::Completed))
                .count();
            let [blackout, total, bytes] = SHOWN_METRICS.map(|column| format_median(&rows, column));
            table.push([
                cell.name(),
                format!("{completed} of {}", rows.len()),
                blackout,
                total,
                bytes,
            ]);
        }
    }
    text.push_str(&align_columns(&table));
    text.push_str("  medians of completed runs with 95 % intervals\n");
    for (reason, count) in count_failure_reasons(&swept.rows) {
        let _ = writeln!(text, "  {count} × {reason}");
    }
    text.push_str(&format_busy_runs(&swept.rows));
    let next_step = if swept.visits_remaining > 0 {
        format!("\n  {} visits are left: continue with --resume", swept.visits_remaining)
    } else {
        String::new()
    };
    let _ = writeln!(text, "  results     {}{next_step}", out.display());
    text
}

/// Says in how many runs other processes used much CPU time on this machine; empty if in none.
fn format_busy_runs(rows: &[RunRow]) -> String {
    let Some((busy, share)) = Host::busiest(rows.iter().map(RunRow::host)) else {
        return String::new();
    };
    format!(
        "  in {busy} of {} runs other processes used more than a tenth of this machine's CPU time, \
         at most {:.0} %: see host_others_us\n",
        rows.len(),
        100.0 * share
    )
}

fn format_head(definition: &Definition, swept: &SweepOutcome) -> String {
    let runs = swept.rows.len();
    let good = swept.rows.iter().filter(|row| row.is_successful()).count();
    let made = if swept.visits_made == 0 {
        String::new()
    } else {
        format!(", {} visits in {}", swept.visits_made, format_time(swept.seconds))
    };
    format!(
        "{}: {good} of {runs} runs completed with memory intact or not checked{made}\n",
        definition.name
    )
}

/// Formats the median of the completed runs, with its 95 % interval.
fn format_median(rows: &[&RunRow], column: usize) -> String {
    let unit = metrics::all().get(column).map_or(MetricUnit::Count, |metric| metric.unit);
    let median = completed_values(rows, column).quantile(50);
    // The column stays empty where no run measured the metric.
    median.map_or_else(String::new, |estimate| figures::format_estimate(&estimate, unit))
}

/// Counts why runs failed, the most frequent reason first.
fn count_failure_reasons(rows: &[RunRow]) -> Vec<(String, usize)> {
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

/// The results of one cell, as `sweep --json` prints them.
#[derive(Debug, Serialize)]
pub struct CellReport<'a> {
    number: u32,
    name: String,
    settings: &'a [Setting],
    runs: usize,
    runs_with_busy_neighbours: usize,
    outcomes: BTreeMap<String, usize>,
    figures: BTreeMap<String, MetricReport>,
}

/// One metric of the completed runs of a cell.
#[derive(Debug, Serialize)]
struct MetricReport {
    /// The number of runs in which the metric was measured.
    values: usize,
    p50: Option<Estimate>,
    p90: Option<Estimate>,
}

/// Summarizes the results of each cell. Metrics that no run measured are left out.
#[must_use]
pub fn summarize_cells<'a>(definition: &'a Definition, rows: &[RunRow]) -> Vec<CellReport<'a>> {
    definition.cells.iter().map(|cell| summarize_cell(cell, rows)).collect()
}

fn summarize_cell<'a>(cell: &'a Cell, rows: &[RunRow]) -> CellReport<'a> {
    let rows: Vec<&RunRow> = rows.iter().filter(|row| row.cell == cell.number).collect();
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for row in &rows {
        *outcomes.entry(row.status.name()).or_default() += 1;
    }
    let busy = Host::busiest(rows.iter().map(|row| row.host())).map_or(0, |(busy, _)| busy);
    let metrics = metrics::all().into_iter().enumerate().map(|(column, metric)| {
        let values = completed_values(&rows, column);
        let (p50, p90) = (values.quantile(50), values.quantile(90));
        (metric.name, MetricReport { values: values.values().len(), p50, p90 })
    });
    CellReport {
        number: cell.number,
        name: cell.name(),
        settings: &cell.settings,
        runs: rows.len(),
        runs_with_busy_neighbours: busy,
        outcomes,
        figures: metrics.filter(|(_, metric)| metric.values > 0).collect(),
    }
}

/// The values of a metric in the completed runs.
fn completed_values(rows: &[&RunRow], column: usize) -> SortedValues {
    let completed = rows.iter().filter(|row| row.status == RunStatus::Migrated(Outcome::Completed));
    SortedValues::new(completed.filter_map(|row| row.values.get(column).copied().flatten()))
}
