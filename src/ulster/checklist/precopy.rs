//! Rows P1 to P5: which stressed memory converges, and its blackout.

use super::super::cells::Cell;
use super::super::tables::{millis, seconds};
use super::{Row, find};
use crate::campaign::statistics::SortedValues;
use crate::scenario::Mode;

/// The paper's links, the fastest first.
const LINKS: [&str; 3] = ["local", "dublin", "halifax"];
/// Row P5, s.
const BLACKOUT: std::ops::RangeInclusive<f64> = 0.3..=0.4;

pub(super) fn rows(cells: &[Cell]) -> Vec<Row> {
    vec![most(cells), beyond(cells), thin_only(cells), half_as_much_more(cells), blackout(cells)]
}

fn row(
    id: &'static str,
    what: &str,
    paper: &'static str,
    [ours, model, verdict]: [String; 3],
) -> Row {
    Row { id, what: what.to_owned(), paper, ours, model, verdict }
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

/// Pre-copy at QEMU's own limit.
fn of<'a>(cells: &'a [Cell], link: &str) -> impl Iterator<Item = &'a Cell> {
    cells.iter().filter(move |cell| {
        cell.mode == Mode::Precopy
            && cell.link == link
            && !cell.runs.is_empty()
            && cell.limit < 0.35
    })
}

/// The largest set of which all converge, and the smallest of which none does.
fn bracket<'a>(cells: &'a [Cell], link: &str) -> (Option<&'a Cell>, Option<&'a Cell>) {
    let by_size = |one: &&Cell, other: &&Cell| one.stressed.total_cmp(&other.stressed);
    let converge = of(cells, link).filter(|cell| cell.all_completed()).max_by(by_size);
    let stuck = of(cells, link).filter(|cell| cell.completed().count() == 0).min_by(by_size);
    (converge, stuck)
}

fn count(cell: Option<&Cell>) -> String {
    let said =
        |cell: &Cell| format!("{} {} of {}", cell.label, cell.completed().count(), cell.runs.len());
    cell.map_or_else(|| "?".to_owned(), said)
}

fn between(cells: &[Cell], link: &str) -> String {
    let (converge, stuck) = bracket(cells, link);
    format!("{}, {}", count(converge), count(stuck))
}

/// Whether the model says of each cell what happened.
fn foretold(cells: &[Cell], link: &str) -> String {
    let mine: Vec<&Cell> = of(cells, link).collect();
    let right = mine
        .iter()
        .filter(|cell| cell.runs.iter().all(|run| run.completed == cell.whole.completes))
        .count();
    format!("foretold in {right} of {} cells", mine.len())
}

fn most(cells: &[Cell]) -> Row {
    let patient = cells.iter().find(|cell| cell.mode == Mode::Precopy && cell.limit > 0.35);
    let time = seconds(patient.and_then(|cell| cell.median(|run| run.total)));
    let ours =
        format!("{}; at a limit of 400 ms {}: {time}", between(cells, "local"), count(patient));
    let model = patient.map_or_else(|| "–".to_owned(), |cell| format!("{:.2} s", cell.whole.total));
    let is = patient.is_some_and(Cell::all_completed);
    let verdict = if is {
        "the memory, if the limit was 400 ms; not the time".to_owned()
    } else {
        yes(false)
    };
    row("P1", "pre-copy, local: converges up to; takes", "400 MB; ≈ 15 s", [ours, model, verdict])
}

fn beyond(cells: &[Cell]) -> Row {
    let cell = find(cells, Mode::Precopy, "local", "400MB");
    let verdict = yes(cell.is_some_and(|cell| cell.completed().count() == 0));
    let ours = format!("at 300 ms {}", count(cell));
    row(
        "P2",
        "pre-copy, local: beyond the threshold",
        "fails",
        [ours, foretold(cells, "local"), verdict],
    )
}

fn thin_only(cells: &[Cell]) -> Row {
    let least = |link: &str| bracket(cells, link).1.map(|cell| cell.stressed);
    let is = least("halifax").zip(least("local")).is_some_and(|(halifax, local)| halifax < local);
    let ours = [between(cells, "halifax"), foretold(cells, "halifax"), yes(is)];
    row("P3", "pre-copy, Halifax: converges", "light or thin only", ours)
}

fn half_as_much_more(cells: &[Cell]) -> Row {
    let ((dublin, above), (halifax, beyond)) =
        (bracket(cells, "dublin"), bracket(cells, "halifax"));
    let (times, verdict) = match (dublin, above, halifax, beyond) {
        (Some(dublin), Some(above), Some(halifax), Some(beyond)) => {
            let (least, most) =
                (dublin.stressed / beyond.stressed, above.stressed / halifax.stressed);
            (
                format!("{least:.1} to {most:.1} times Halifax's"),
                if least > 1.5 { "more".to_owned() } else { yes(true) },
            )
        }
        _ => ("?".to_owned(), "not measured".to_owned()),
    };
    let ours = format!("{}: {times}", between(cells, "dublin"));
    row(
        "P4",
        "pre-copy, Dublin: converges",
        "up to 50 % more than Halifax",
        [ours, foretold(cells, "dublin"), verdict],
    )
}

fn blackout(cells: &[Cell]) -> Row {
    let (mut said, mut models, mut inside, mut all) = (Vec::new(), Vec::new(), 0, 0);
    for link in LINKS {
        let medians = of(cells, link)
            .filter(|cell| cell.all_completed())
            .filter_map(|cell| cell.median(|run| run.blackout));
        let medians = SortedValues::new(medians.map(|seen| seen.value));
        inside += medians.values().iter().filter(|seconds| BLACKOUT.contains(seconds)).count();
        all += medians.values().len();
        let Some(largest) = bracket(cells, link).0 else { continue };
        let least = medians.values().first().map_or(0.0, |least| least * 1e3);
        said.push(format!(
            "{link} from {least:.0} ms to {} ({})",
            millis(largest.median(|run| run.blackout)),
            largest.label
        ));
        models.push(
            largest
                .whole
                .blackout
                .map_or_else(|| "–".to_owned(), |seconds| format!("{:.0}", seconds * 1e3)),
        );
    }
    let verdict = if inside == all { yes(all > 0) } else { format!("{inside} of {all} cells") };
    let ours = [said.join(", "), format!("at most {} ms", models.join(", ")), verdict];
    row("P5", "pre-copy that converges: blackout", "300–400 ms in all cases", ours)
}
