//! Rows P1 to P5: with how much stressed memory pre-copy converges, and its blackout.

use super::super::cells::{PaperCell, find_cell};
use super::super::tables::{format_millis, format_seconds};
use super::row::Row;
use analysis::statistics::SortedValues;
use scenario::Mode;

/// The paper's links, the fastest first.
const LINKS: [&str; 3] = ["local", "dublin", "halifax"];
/// The blackouts that the paper states, for row P5, in seconds.
const STATED_BLACKOUT: std::ops::RangeInclusive<f64> = 0.3..=0.4;

pub(super) fn rows(cells: &[PaperCell]) -> Vec<Row> {
    vec![
        largest_row(cells),
        beyond_row(cells),
        halifax_row(cells),
        dublin_row(cells),
        blackout_row(cells),
    ]
}

fn row(
    id: &'static str,
    what: &str,
    paper: &'static str,
    [ours, model, verdict]: [String; 3],
) -> Row {
    Row { id, what: what.to_owned(), paper, ours, model, verdict }
}

fn yes_or_no(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

/// Iterates over the cells of pre-copy at QEMU's default downtime-limit.
fn precopy_cells<'a>(cells: &'a [PaperCell], link: &str) -> impl Iterator<Item = &'a PaperCell> {
    cells.iter().filter(move |cell| {
        cell.mode == Mode::Precopy
            && cell.link == link
            && !cell.runs.is_empty()
            && cell.limit < 0.35
    })
}

/// Returns the largest cell in which all runs converge, and the smallest in which none does.
fn find_threshold<'a>(
    cells: &'a [PaperCell],
    link: &str,
) -> (Option<&'a PaperCell>, Option<&'a PaperCell>) {
    let by_size =
        |one: &&PaperCell, other: &&PaperCell| one.stressed_gb.total_cmp(&other.stressed_gb);
    let converge = precopy_cells(cells, link).filter(|cell| cell.all_completed()).max_by(by_size);
    let not_converging = precopy_cells(cells, link)
        .filter(|cell| cell.completed_runs().count() == 0)
        .min_by(by_size);
    (converge, not_converging)
}

fn count(cell: Option<&PaperCell>) -> String {
    let text = |cell: &PaperCell| {
        format!("{} {} of {}", cell.label, cell.completed_runs().count(), cell.runs.len())
    };
    cell.map_or_else(|| "?".to_owned(), text)
}

fn between(cells: &[PaperCell], link: &str) -> String {
    let (converge, not_converging) = find_threshold(cells, link);
    format!("{}, {}", count(converge), count(not_converging))
}

/// Says for how many cells the model predicts the outcome.
fn count_predicted(cells: &[PaperCell], link: &str) -> String {
    let mine: Vec<&PaperCell> = precopy_cells(cells, link).collect();
    let right = mine
        .iter()
        .filter(|cell| cell.runs.iter().all(|run| run.completed == cell.full_size.completes))
        .count();
    format!("predicted in {right} of {} cells", mine.len())
}

fn largest_row(cells: &[PaperCell]) -> Row {
    let longer_limit = cells.iter().find(|cell| cell.mode == Mode::Precopy && cell.limit > 0.35);
    let time = format_seconds(longer_limit.and_then(|cell| cell.median(|run| run.total)));
    let ours = format!(
        "{}; at a limit of 400 ms {}: {time}",
        between(cells, "local"),
        count(longer_limit)
    );
    let model = longer_limit
        .map_or_else(|| "–".to_owned(), |cell| format!("{:.2} s", cell.full_size.total));
    let all_completed = longer_limit.is_some_and(PaperCell::all_completed);
    let verdict = if all_completed {
        "the memory, if the limit was 400 ms; not the time".to_owned()
    } else {
        yes_or_no(false)
    };
    row("P1", "pre-copy, local: converges up to; takes", "400 MB; ≈ 15 s", [ours, model, verdict])
}

fn beyond_row(cells: &[PaperCell]) -> Row {
    let cell = find_cell(cells, Mode::Precopy, "local", "400MB");
    let verdict = yes_or_no(cell.is_some_and(|cell| cell.completed_runs().count() == 0));
    let ours = format!("at 300 ms {}", count(cell));
    row(
        "P2",
        "pre-copy, local: beyond the threshold",
        "fails",
        [ours, count_predicted(cells, "local"), verdict],
    )
}

fn halifax_row(cells: &[PaperCell]) -> Row {
    let least = |link: &str| find_threshold(cells, link).1.map(|cell| cell.stressed_gb);
    let is = least("halifax").zip(least("local")).is_some_and(|(halifax, local)| halifax < local);
    let ours = [between(cells, "halifax"), count_predicted(cells, "halifax"), yes_or_no(is)];
    row("P3", "pre-copy, Halifax: converges", "light or thin only", ours)
}

fn dublin_row(cells: &[PaperCell]) -> Row {
    let ((dublin, above), (halifax, beyond)) =
        (find_threshold(cells, "dublin"), find_threshold(cells, "halifax"));
    let (times, verdict) = match (dublin, above, halifax, beyond) {
        (Some(dublin), Some(above), Some(halifax), Some(beyond)) => {
            let (least, most) =
                (dublin.stressed_gb / beyond.stressed_gb, above.stressed_gb / halifax.stressed_gb);
            (
                format!("{least:.1} to {most:.1} times Halifax's"),
                if least > 1.5 { "more".to_owned() } else { yes_or_no(true) },
            )
        }
        _ => ("?".to_owned(), "not measured".to_owned()),
    };
    let ours = format!("{}: {times}", between(cells, "dublin"));
    row(
        "P4",
        "pre-copy, Dublin: converges",
        "up to 50 % more than Halifax",
        [ours, count_predicted(cells, "dublin"), verdict],
    )
}

fn blackout_row(cells: &[PaperCell]) -> Row {
    let (mut texts, mut models, mut inside, mut all) = (Vec::new(), Vec::new(), 0, 0);
    for link in LINKS {
        let medians = precopy_cells(cells, link)
            .filter(|cell| cell.all_completed())
            .filter_map(|cell| cell.median(|run| run.blackout));
        let medians = SortedValues::new(medians.map(|seen| seen.value));
        inside +=
            medians.values().iter().filter(|seconds| STATED_BLACKOUT.contains(seconds)).count();
        all += medians.values().len();
        let Some(largest) = find_threshold(cells, link).0 else { continue };
        let least = medians.values().first().map_or(0.0, |least| least * 1e3);
        texts.push(format!(
            "{link} from {least:.0} ms to {} ({})",
            format_millis(largest.median(|run| run.blackout)),
            largest.label
        ));
        models.push(
            largest
                .full_size
                .blackout
                .map_or_else(|| "–".to_owned(), |seconds| format!("{:.0}", seconds * 1e3)),
        );
    }
    let verdict =
        if inside == all { yes_or_no(all > 0) } else { format!("{inside} of {all} cells") };
    let ours = [texts.join(", "), format!("at most {} ms", models.join(", ")), verdict];
    row("P5", "pre-copy that converges: blackout", "300–400 ms in all cases", ours)
}
