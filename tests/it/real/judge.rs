//! Is the guest right about its memory? A judge that asks neither the guest nor QEMU: both sides'
//! memory, byte by byte.
//!
//! The destination is held with `-S`, so that nothing has run on it, and its memory must be the
//! source's. Why it matters: under TCG two of our QEMUs really lose guest writes
//! (`harness::loses_writes`). We report such a run as corrupt; this is the proof that it is, and
//! that a guest which says "intact" is.

use super::cells;
use crate::harness::{Pair, Scratch, Switchover, Wish, qemu};
use serde_json::json;

/// Rounds of the mode that is judged; and how often that is tried, as pre-copy may finish before
/// post-copy begins.
const ROUNDS: usize = 4;
const TRIES: usize = 12;
const PAGE: usize = 4096;
/// Of the working set.
const PAGES: usize = 32 << 20 >> 12;
/// Of the guest's table: a generation of 8 bytes for each page of the working set.
const TABLE_PAGES: usize = PAGES * 8 / PAGE;

/// Whether this is page `index` of the working set: its first word is that index, inverted
/// (fixtures/guest/README.md).
fn index_of(page: &[u8]) -> Option<usize> {
    let index = usize::try_from(!u64::from_le_bytes(page[..8].try_into().unwrap())).unwrap();
    (index < PAGES).then_some(index)
}

/// How many pages differ, and what the guest says.
#[derive(Debug)]
struct Round {
    postcopy: bool,
    working_set: u64,
    /// Of the table, which the guest lays just before the working set.
    table: u64,
    /// What else there is: the guest's image and stack, the firmware's, unused memory.
    others: u64,
    intact: bool,
    bad: u64,
    live_errors: u64,
}

fn round(program: &str, rate: u64, how: &[&str]) -> Round {
    let scratch = Scratch::new();
    let wish = Wish { working_set: 32, rate, destination: &["-incoming", "defer", "-S"] };
    let mut pair = Pair::start(&scratch, program, program, &wish);
    let endpoints = pair.endpoints();
    let arguments: Vec<&str> =
        ["migrate"].into_iter().chain(endpoints.iter().map(String::as_str)).collect();
    let sampling = [
        "--source-sampling",
        &pair.source.samples(),
        "--destination-sampling",
        &pair.destination.samples(),
    ];
    let done = Switchover::new(&scratch, &arguments)
        .args(how)
        .args(&sampling)
        .args(&["--out", "run"])
        .run();
    done.assert_code(0);
    let summary = done.summary();
    assert_eq!(summary["outcome"], "completed", "{}", done.story());
    assert_eq!(pair.source.qmp.run_state(), "postmigrate");
    assert_ne!(pair.destination.qmp.run_state(), "running", "it was started with -S");

    let (source, destination) = (pair.source.memory(), pair.destination.memory());
    let first = source.chunks(PAGE).position(|page| index_of(page) == Some(0)).unwrap();
    let mut round = Round {
        postcopy: summary["postcopy_happened"] == true,
        working_set: 0,
        table: 0,
        others: 0,
        intact: false,
        bad: 0,
        live_errors: 0,
    };
    for (number, (here, there)) in source.chunks(PAGE).zip(destination.chunks(PAGE)).enumerate() {
        if here != there {
            let count = if index_of(here).is_some() {
                &mut round.working_set
            } else if (first - TABLE_PAGES..first).contains(&number) {
                &mut round.table
            } else {
                &mut round.others
            };
            *count += 1;
        }
    }

    pair.destination.qmp.execute("cont", json!({}));
    let verdict = pair.destination.check();
    (round.intact, round.bad, round.live_errors) =
        (verdict.intact, verdict.count("bad"), verdict.count("live_errors"));
    round
}

fn guest_and_comparison_agree(version: &'static str, rate: u64, how: &[&str]) {
    let Some(program) = qemu(version) else { return };
    let wanted = how.contains(&"hybrid");
    let mut rounds: Vec<Round> = Vec::new();
    while rounds.len() < TRIES
        && rounds.iter().filter(|round| round.postcopy == wanted).count() < ROUNDS
    {
        rounds.push(round(program, rate, how));
    }
    println!(
        "{version}: pages that differ of working set | table | others | the guest says | bad pages \
            | found before the check"
    );
    for round in &rounds {
        let Round { postcopy, working_set, table, others, intact, bad, live_errors } = round;
        let (verdict, mode) = (
            if *intact { "intact" } else { "corrupt" },
            if *postcopy { "" } else { " (by pre-copy)" },
        );
        println!(
            "{working_set:>3} | {table:>3} | {others:>3} | {verdict:<7} | {bad:>4} | \
                {live_errors:>4}{mode}"
        );
    }
    assert!(
        rounds.iter().any(|round| round.postcopy == wanted),
        "what was to be judged never happened"
    );
    for round in &rounds {
        match round {
            Round { working_set: 0, table: 0, others: 0, intact, .. } => {
                assert!(intact, "nothing differs: {round:?}");
            }
            // Of the guest's own variables it knows but one, the number of writes.
            Round { working_set: 0, table: 0, .. } => {}
            // Each page that differs is found once: when it is written, which mends it, or by the
            // check.
            Round { working_set, table: 0, others: 0, intact: false, bad, live_errors, .. } => {
                assert_eq!(bad + live_errors, *working_set, "{round:?}");
            }
            // A page of the table speaks for 512 pages.
            Round { intact, .. } => assert!(!intact, "the guest's memory differs: {round:?}"),
        }
    }
}

// What 11.1.3 loses writes by, in most runs: a first pass at full speed, then post-copy at once. On
// 10.0 pre-copy would mostly finish first that way.
const EARLY: &[&str] =
    &["--mode", "hybrid", "--downtime-limit", "1ms", "--max-bandwidth", "unlimited"];
const SOON: &[&str] =
    &["--mode", "hybrid", "--downtime-limit", "1ms", "--max-bandwidth", "256MiB/s"];
const PRECOPY: &[&str] = &["--mode", "precopy"];

cells! { guest_and_comparison_agree;
    the_guest_and_a_comparison_of_memory_agree_on_pre_copy_of_7_2: "7.2", 50, PRECOPY;
    the_guest_and_a_comparison_of_memory_agree_on_pre_copy_of_10_0: "10.0", 50, PRECOPY;
    the_guest_and_a_comparison_of_memory_agree_on_pre_copy_of_the_newest: "newest", 50, PRECOPY;
    the_guest_and_a_comparison_of_memory_agree_on_post_copy_of_10_0: "10.0", 400, SOON;
    the_guest_and_a_comparison_of_memory_agree_on_post_copy_of_the_newest: "newest", 100, EARLY;
}
