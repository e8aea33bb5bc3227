//! docs/ulster.md and its figures are what the stored results give. After a change of either: `qemu-scripts/ulster --from fixtures/campaigns/ulster/results`.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};
use switchover::ulster::{Evidence, Verdict, campaign, figures, laws, page};

fn top(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn stored() -> Evidence {
    Evidence::read(&top("fixtures/campaigns/ulster"), &top("fixtures/campaigns/ulster/results"))
        .unwrap()
}

#[test]
fn the_page_and_its_figures_are_what_the_stored_results_give() {
    let (evidence, again) =
        (stored(), "run qemu-scripts/ulster --from fixtures/campaigns/ulster/results");
    let text = read_to_string(top("docs/ulster.md")).unwrap();
    assert!(page(&text, &evidence).unwrap() == text, "docs/ulster.md is another: {again}");
    for (name, svg) in figures(&evidence) {
        assert!(
            read_to_string(top("docs/ulster").join(name)).unwrap() == svg,
            "docs/ulster/{name} is another: {again}"
        );
        assert!(text.contains(&format!("ulster/{name}")), "docs/ulster.md does not show {name}");
    }
}

#[test]
fn every_cell_has_its_runs_and_no_law_has_too_few() {
    let evidence = stored();
    assert!(evidence.cells.iter().all(|cell| cell.runs.len() >= 10));
    assert!(laws(&evidence.cells).iter().all(|finding| finding.verdict != Verdict::TooFew));
}

/// A law that a run can break: the same campaign on a machine that did other things.
#[test]
fn a_busy_machine_blurs_the_threshold_and_the_law_says_so() {
    let campaigns = top("fixtures/campaigns/ulster");
    let cells = campaign(
        &campaigns.join("threshold.toml"),
        &campaigns.join("results/threshold-busy.parquet"),
    )
    .unwrap();
    let broken: Vec<String> = laws(&cells)
        .into_iter()
        .filter(|one| one.verdict == Verdict::Broken)
        .map(|one| one.of)
        .collect();
    assert_eq!(broken, ["dublin", "local"]);
}

#[test]
fn what_is_no_evidence_is_refused_with_the_reason() {
    let scratch = tempfile::tempdir().unwrap();
    let refused = |from: &Path| {
        let error = Evidence::read(&top("fixtures/campaigns/ulster"), from).unwrap_err();
        switchover::causes::with_causes(&error).replace(&from.display().to_string(), "FROM")
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
