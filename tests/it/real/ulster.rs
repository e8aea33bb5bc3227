//! The paper's main point against real QEMU, in half a minute: fixtures/campaigns/ulster/quick.toml, and the laws that two runs of a cell can decide.

use crate::harness::{Scratch, Switchover, qemu};
use std::path::Path;
use switchover::ulster::laws::Law;
use switchover::ulster::{Finding, Verdict, campaign, laws};

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
    let cells = campaign(Path::new(QUICK), &done.out().join("results.parquet")).unwrap();
    let found = laws(&cells);
    let of =
        |law: Law| -> Vec<&Finding> { found.iter().filter(|finding| finding.law == law).collect() };
    for law in [Law::Completes, Law::Bytes] {
        assert_eq!(of(law).len(), 2, "{found:#?}");
        assert!(
            of(law).iter().all(|finding| finding.verdict == Verdict::Holds),
            "{found:#?}\n{}",
            done.story()
        );
    }
    assert!(
        of(Law::Completes).iter().all(|finding| finding.says.ends_with("in 0 of 4")),
        "{found:#?}"
    );
    // Two runs of two sizes cannot tell a line from a bend, nor sets that all are beyond the threshold where it is.
    let open = [Law::Threshold, Law::Blackout, Law::Straight]
        .map(|law| of(law).iter().all(|one| one.verdict == Verdict::TooFew));
    assert_eq!(open, [true; 3], "{found:#?}");
}
