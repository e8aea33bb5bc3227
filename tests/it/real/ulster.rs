//! The paper's main result with real QEMU in half a minute: fixtures/campaigns/ulster/quick.toml,
//! and the expectations that two runs of a cell can decide.

use crate::harness::{Scratch, Switchover, qemu};
use ::ulster::expectations::Expectation;
use ::ulster::{Finding, Verdict, check_expectations, load_cells};
use std::path::Path;

const QUICK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/campaigns/ulster/quick.toml");

#[test]
fn post_copy_completes_where_pre_copy_does_not_and_hybrid_sends_twice_what_it_stresses() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let done = Switchover::new(&scratch, &["sweep"])
        .arg(QUICK)
        .args(&["--qemu", qemu])
        .out(&scratch.join("quick"))
        .run();
    done.assert_code(0);
    scratch.assert_clean();
    let cells = load_cells(Path::new(QUICK), &done.out().join("results.parquet")).unwrap();
    let found = check_expectations(&cells);
    let of = |expectation: Expectation| -> Vec<&Finding> {
        found.iter().filter(|finding| finding.expectation == expectation).collect()
    };
    for expectation in [Expectation::Completes, Expectation::BytesSent] {
        assert_eq!(of(expectation).len(), 2, "{found:#?}");
        assert!(
            of(expectation).iter().all(|finding| finding.verdict == Verdict::Holds),
            "{found:#?}\n{}",
            done.story()
        );
    }
    assert!(
        of(Expectation::Completes).iter().all(|finding| finding.detail.ends_with("in 0 of 4")),
        "{found:#?}"
    );
    // Two runs of two sizes cannot distinguish a line from a bend, and cells that are all beyond
    // the threshold do not show where it is.
    let open = [Expectation::Threshold, Expectation::PrecopyBlackout, Expectation::LinearTime]
        .map(|expectation| of(expectation).iter().all(|one| one.verdict == Verdict::TooFewRuns));
    assert_eq!(open, [true; 3], "{found:#?}");
}
