//! docs/ulster.md and its figures must match the stored results. After a change of either, run
//! `qemu-scripts/ulster --from fixtures/campaigns/ulster/results`.

use ::ulster::{Evidence, Verdict, check_expectations, draw_figures, load_cells, render_page};
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

fn top(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn stored() -> Evidence {
    Evidence::load(&top("fixtures/campaigns/ulster"), &top("fixtures/campaigns/ulster/results"))
        .unwrap()
}

#[test]
fn the_page_and_its_figures_match_the_stored_results() {
    let (evidence, again) =
        (stored(), "run qemu-scripts/ulster --from fixtures/campaigns/ulster/results");
    let text = read_to_string(top("docs/ulster.md")).unwrap();
    assert!(render_page(&text, &evidence).unwrap() == text, "docs/ulster.md is outdated: {again}");
    for (name, svg) in draw_figures(&evidence) {
        assert!(
            read_to_string(top("docs/ulster").join(name)).unwrap() == svg,
            "docs/ulster/{name} is outdated: {again}"
        );
        assert!(text.contains(&format!("ulster/{name}")), "docs/ulster.md does not show {name}");
    }
}

#[test]
fn every_cell_has_its_runs_and_every_expectation_is_decided() {
    let evidence = stored();
    assert!(evidence.cells.iter().all(|cell| cell.runs.len() >= 10));
    assert!(
        check_expectations(&evidence.cells)
            .iter()
            .all(|finding| finding.verdict != Verdict::TooFewRuns)
    );
}

/// The same campaign on a machine that ran other processes.
#[test]
fn on_a_busy_machine_the_threshold_is_reported_as_violated() {
    let campaigns = top("fixtures/campaigns/ulster");
    let cells = load_cells(
        &campaigns.join("threshold.toml"),
        &campaigns.join("results/threshold-busy.parquet"),
    )
    .unwrap();
    let violated: Vec<String> = check_expectations(&cells)
        .into_iter()
        .filter(|one| one.verdict == Verdict::Violated)
        .map(|one| one.subject)
        .collect();
    assert_eq!(violated, ["dublin", "local"]);
}

#[test]
fn refuses_missing_and_damaged_evidence_and_says_why() {
    let scratch = tempfile::tempdir().unwrap();
    let refused = |from: &Path| {
        let error = Evidence::load(&top("fixtures/campaigns/ulster"), from).unwrap_err();
        base::causes::with_causes(&error).replace(&from.display().to_string(), "FROM")
    };
    assert_eq!(
        refused(scratch.path()),
        "cannot read FROM/links.json: No such file or directory (os error 2)"
    );
    std::fs::write(scratch.path().join("links.json"), "{}\n").unwrap();
    assert_eq!(
        refused(scratch.path()),
        "cannot read FROM/links.json: missing field `link` at line 1 column 2"
    );
    std::fs::write(scratch.path().join("links.json"), "").unwrap();
    std::fs::write(scratch.path().join("curves.json"), "").unwrap();
    assert_eq!(
        refused(scratch.path()),
        "cannot read FROM/threshold.parquet: No such file or directory (os error 2)"
    );
}
