//! The table of every number that the paper's text states, with our measurement and the model's
//! prediction. Pure.
//!
//! This file has the rows of the links and of post-copy, `precopy` has those of pre-copy, and
//! `model_accuracy` compares the model with our measurements.

mod model_accuracy;
mod precopy;
mod row;

pub(super) use model_accuracy::model_accuracy;

use super::cells::{PaperCell, RunFigure, find_cell};
use super::evidence::{Evidence, Throughput};
use super::tables::{STATED, decimals_for, format_estimate, format_seconds};
use analysis::statistics::{Estimate, SortedValues};
use row::Row;
use scenario::Mode;
use std::fmt::Write;

/// A figure within this share of the paper's counts as equal.
const TOLERANCE: f64 = 0.1;

/// Makes the table.
pub(super) fn checklist(evidence: &Evidence) -> String {
    let cells = &evidence.cells;
    let mut rows: Vec<Row> = [
        ("L1", "local", "9.4 Gb/s", 9.4),
        ("L2", "dublin", "7 Gb/s, 5.5 ms", 7.0),
        ("L3", "halifax", "3 Gb/s, 52.5 ms", 3.0),
    ]
    .into_iter()
    .map(|(id, link, paper, gbit)| throughput_row(id, link, paper, gbit, &evidence.links))
    .collect();
    rows.extend(precopy::rows(cells));
    rows.push(completes_row(cells));
    for (id, (link, label, paper)) in ["C2", "C3", "C4", "C5", "C6", "C7"].into_iter().zip(STATED) {
        rows.push(total_time_row(id, link, label, paper, cells));
    }
    rows.extend([slope_row(cells), blackout_row(cells)]);
    for (id, link, paper, text) in [
        ("C10", "local", 8.0, "8 Gb/s"),
        ("C11", "dublin", 3.0, "3 Gb/s"),
        ("C12", "halifax", 2.5, "≈ 2.5 Gb/s"),
    ] {
        rows.push(peak_row(id, link, paper, text, cells));
    }
    rows.push(bytes_row(cells));
    let mut text = "| row | what | the paper | here | model, full size | same as the paper? \
            |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            row.id, row.what, row.paper, row.ours, row.model, row.verdict
        );
    }
    text
}

fn compare_with_paper(ours: Option<f64>, paper: f64) -> String {
    match ours.map(|ours| ours / paper) {
        None => "not measured".to_owned(),
        Some(ratio) if (ratio - 1.0).abs() <= TOLERANCE => "yes".to_owned(),
        Some(ratio) => format!("no: {ratio:.2} ×"),
    }
}

fn throughput_row(
    id: &'static str,
    link: &str,
    paper: &'static str,
    gbit: f64,
    links: &[Throughput],
) -> Row {
    let mine = || links.iter().filter(|row| row.link == link);
    let rate = SortedValues::new(mine().map(|row| row.gbit)).quantile(50);
    let trip = SortedValues::new(mine().map(|row| row.round_trip_ms)).quantile(50);
    let both = rate.zip(trip).map(|(rate, trip)| {
        format!("{}, {}", format_estimate(rate, "Gb/s", 2), format_estimate(trip, "ms", 2))
    });
    Row {
        id,
        what: format!("{link}: throughput, round trip"),
        paper,
        ours: both.unwrap_or_else(|| "–".to_owned()),
        model: "–".to_owned(),
        verdict: compare_with_paper(rate.map(|rate| rate.value), gbit),
    }
}

fn completes_row(cells: &[PaperCell]) -> Row {
    let count = |mode: Mode| {
        let mine = || cells.iter().filter(|cell| cell.mode == mode);
        let (done, all) = (
            mine().map(|cell| cell.completed_runs().count()).sum::<usize>(),
            mine().map(|cell| cell.runs.len()).sum::<usize>(),
        );
        (done, all)
    };
    let (hybrid, postcopy) = (count(Mode::Hybrid), count(Mode::Postcopy));
    let whole = hybrid.0 == hybrid.1 && postcopy.0 == postcopy.1;
    Row {
        id: "C1",
        what: "post-copy: completes".to_owned(),
        paper: "always",
        ours: format!(
            "hybrid {} of {}, post-copy {} of {}",
            hybrid.0, hybrid.1, postcopy.0, postcopy.1
        ),
        model: "always".to_owned(),
        verdict: if whole { "yes" } else { "no" }.to_owned(),
    }
}

/// Formats a figure of hybrid and of pure post-copy, and returns hybrid's median.
fn both_modes(
    cells: &[PaperCell],
    link: &str,
    label: &str,
    figure: RunFigure,
    format: fn(Option<Estimate>) -> String,
) -> (String, Option<f64>) {
    let of = |mode: Mode| find_cell(cells, mode, link, label).and_then(|cell| cell.median(figure));
    let (hybrid, postcopy) = (of(Mode::Hybrid), of(Mode::Postcopy));
    (
        format!("hybrid {}; post-copy {}", format(hybrid), format(postcopy)),
        hybrid.map(|seen| seen.value),
    )
}

fn total_time_row(
    id: &'static str,
    link: &str,
    label: &str,
    paper: f64,
    cells: &[PaperCell],
) -> Row {
    let texts = ["7.2 s", "11.2 s", "11.3 s", "41.1 s", "151.2 s", "152.8 s"];
    let stated = STATED
        .iter()
        .position(|row| (row.0, row.1) == (link, label))
        .and_then(|index| texts.get(index))
        .copied();
    let (ours, hybrid) = both_modes(cells, link, label, |run| run.total, format_seconds);
    let model = [Mode::Hybrid, Mode::Postcopy]
        .iter()
        .filter_map(|mode| find_cell(cells, *mode, link, label))
        .map(|cell| format!("{:.*}", decimals_for(cell.full_size.total), cell.full_size.total))
        .collect::<Vec<_>>()
        .join("; ");
    let gigabit = find_cell(cells, Mode::Hybrid, "gigabit", label)
        .filter(|_| link == "halifax")
        .and_then(|cell| cell.median(|run| run.total));
    let through = gigabit.map_or_else(String::new, |seen| {
        format!("; hybrid through 1 Gb/s {}", format_seconds(Some(seen)))
    });
    let verdict = compare_with_paper(hybrid, paper);
    let by_gigabit = gigabit.map_or_else(String::new, |seen| {
        format!("; through 1 Gb/s {}", compare_with_paper(Some(seen.value), paper))
    });
    Row {
        id,
        what: format!("post-copy, {link}, {label}: total time"),
        paper: stated.unwrap_or("–"),
        ours: format!("{ours}{through}"),
        model: format!("{model} s"),
        verdict: format!("{verdict}{by_gigabit}"),
    }
}

fn slope(cells: &[PaperCell], mode: Mode, link: &str, figure: RunFigure) -> Option<Estimate> {
    let mine: Vec<&PaperCell> =
        cells.iter().filter(|cell| cell.mode == mode && cell.link == link).collect();
    SortedValues::new(super::expectations::slopes_by_repeat(&mine, figure)).quantile(50)
}

fn slope_row(cells: &[PaperCell]) -> Row {
    let text = |link: &str| {
        slope(cells, Mode::Hybrid, link, |run| run.total)
            .map(|seen| format!("{link} {}", format_estimate(seen, "s/GB", 2)))
    };
    let model = |link: &str| {
        let points: Vec<(f64, f64)> = cells
            .iter()
            .filter(|cell| cell.mode == Mode::Hybrid && cell.link == link)
            .map(|cell| (cell.stressed_gb, cell.full_size.total))
            .collect();
        super::expectations::fit_line(&points).map(|line| format!("{:.2}", line.1))
    };
    let links = super::tables::LINKS;
    Row {
        id: "C8",
        what: "post-copy: total time over stressed memory".to_owned(),
        paper: "linear; 4.24, 17.5, 17.7 s/GB by its figures",
        ours: format!(
            "hybrid {}",
            links.iter().filter_map(|link| text(link)).collect::<Vec<_>>().join(", ")
        ),
        model: format!(
            "{} s/GB",
            links.iter().filter_map(|link| model(link)).collect::<Vec<_>>().join(", ")
        ),
        verdict: "linear: yes; the slopes follow from the rates of the links".to_owned(),
    }
}

fn blackout_row(cells: &[PaperCell]) -> Row {
    let range = |link: &str, mode: Mode| {
        let mine = cells.iter().filter(|cell| {
            cell.mode == mode && cell.link == link && cell.completed_runs().all(|run| run.postcopy)
        });
        let medians = SortedValues::new(
            mine.filter_map(|cell| Some(cell.median(|run| run.blackout)?.value * 1e3)),
        );
        let ends = medians
            .values()
            .first()
            .zip(medians.values().last())
            .map(|(low, high)| format!("{low:.0}–{high:.0}"));
        ends.unwrap_or_else(|| "–".to_owned())
    };
    let of = |link: &str| {
        format!("{link} {} and {} ms", range(link, Mode::Hybrid), range(link, Mode::Postcopy))
    };
    let model = cells
        .iter()
        .filter(|cell| cell.uses_postcopy() && cell.link != "gigabit" && cell.label != "thin");
    let model = SortedValues::new(
        model.filter_map(|cell| cell.full_size.blackout).map(|seconds| seconds * 1e3),
    );
    let ends = model
        .values()
        .first()
        .zip(model.values().last())
        .map(|(low, high)| format!("{low:.0}–{high:.0} ms"));
    Row {
        id: "C9",
        what:
            "post-copy: blackout, smallest and largest median over the sizes (hybrid and post-copy)"
                .to_owned(),
        paper: "200–700 ms; latency does not matter",
        ours: ["local", "dublin", "halifax"].map(of).join(", "),
        model: ends.unwrap_or_else(|| "–".to_owned()),
        verdict: "shorter; it includes the one-way delay of the link".to_owned(),
    }
}

fn peak_row(
    id: &'static str,
    link: &str,
    paper: f64,
    text: &'static str,
    cells: &[PaperCell],
) -> Row {
    let gbit = |estimate: Option<Estimate>| {
        estimate.map_or_else(|| "–".to_owned(), |seen| format_estimate(seen, "Gb/s", 2))
    };
    let (ours, hybrid) = both_modes(cells, link, "2GB", |run| run.peak, gbit);
    Row {
        id,
        what: format!("post-copy, {link}, 2GB: peak rate"),
        paper: text,
        ours,
        model: "–".to_owned(),
        verdict: compare_with_paper(hybrid, paper),
    }
}

fn bytes_row(cells: &[PaperCell]) -> Row {
    let gb = |estimate: Option<Estimate>| {
        estimate.map_or_else(|| "–".to_owned(), |seen| format_estimate(seen, "GB", 2))
    };
    let each =
        |link: &str| format!("{link}: {}", both_modes(cells, link, "2GB", |run| run.bytes, gb).0);
    let model = [Mode::Hybrid, Mode::Postcopy]
        .iter()
        .filter_map(|mode| find_cell(cells, *mode, "halifax", "2GB"))
        .map(|cell| format!("{:.2}", cell.full_size.bytes))
        .collect::<Vec<_>>()
        .join("; ");
    let hybrid = both_modes(cells, "halifax", "2GB", |run| run.bytes, gb).1;
    Row {
        id: "C13",
        what: "post-copy, 2GB: bytes sent".to_owned(),
        paper: "≈ 4.7 GB on all links",
        ours: ["local", "dublin", "halifax"].map(each).join(", "),
        model: format!("{model} GB"),
        verdict: format!(
            "hybrid {}, with a base that was chosen to match; post-copy would need a base of 2.7 GB",
            compare_with_paper(hybrid, 4.7)
        ),
    }
}
