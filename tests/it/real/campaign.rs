//! Campaigns against real QEMU: what is finished is never done again nor lost, whatever ends it;
//! and what cannot be run is a result.

use crate::harness::{Done, Scratch, Switchover, qemu};
use analysis::{RunRow, RunStatus, results};
use nix::sys::signal::Signal;
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use record::Outcome;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use switchover::campaign::Journal;

const SMALL: &str = "[set]\nguest.memory = \"64MiB\"\nguest.working_set = \"16MiB\"\nguest.rate = \
    \"20MiB/s\"\nqemu.accel = \"tcg\"\n";

/// `sweep` of this campaign, with more after it that is laid over.
fn sweep(scratch: &Scratch, qemu: &str, campaign: &str, more: &[&str]) -> Switchover {
    sweep_to(&scratch.join("campaign"), scratch, qemu, campaign, more)
}

fn sweep_to(
    out: &Path,
    scratch: &Scratch,
    qemu: &str,
    campaign: &str,
    more: &[&str],
) -> Switchover {
    let file = scratch.file("c.toml", &format!("{campaign}{SMALL}"));
    Switchover::new(scratch, &["sweep"]).arg(file).args(&["--qemu", qemu]).args(more).out(out)
}

fn rows(done: &Done) -> Vec<RunRow> {
    Journal::read(&done.out().join("visits.jsonl"))
        .unwrap()
        .into_iter()
        .flat_map(|visited| visited.rows)
        .collect()
}

/// How often there is each run of each cell.
fn counts(rows: &[RunRow]) -> BTreeMap<(u32, u32), usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry((row.cell, row.repeat)).or_default() += 1;
    }
    counts
}

/// Each of so many cells so often, once.
fn each_once(cells: u32, repeats: u32) -> BTreeMap<(u32, u32), usize> {
    (1..=cells).flat_map(|cell| (1..=repeats).map(move |repeat| ((cell, repeat), 1))).collect()
}

#[test]
fn a_campaign_gives_a_row_for_each_run_and_what_differs() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let campaign = "repeats = 6\ntogether = 3\nwarm_up = 1\nkeep = \"failed\"\n[vary]\nmode = \
        [\"precopy\", \"postcopy\"]\n\
                    [baseline]\nmode = \"precopy\"\n";
    let done = sweep(&scratch, qemu, campaign, &["--fail-if", "completed < 10 %"]).run();
    done.assert_code(0);
    assert_eq!(counts(&rows(&done)), each_once(2, 6), "{}", done.story());
    assert!(rows(&done).iter().all(RunRow::is_successful), "{}", done.story());
    assert!(
        done.stdout.contains("postcopy against precopy: 6 and 6 runs, 6 pairs"),
        "{}",
        done.stdout
    );
    assert!(done.stdout.contains("check       passed: completed < 10 %"), "{}", done.stdout);
    // Only those that failed are kept, and none did.
    assert_eq!(std::fs::read_dir(done.out().join("runs")).unwrap().count(), 0);
    let (name, read) = results::read(&done.out().join("results.parquet")).unwrap();
    assert_eq!((name.as_str(), read.len()), ("c", 12));
    assert!(
        read.iter().all(|row| row.values["time_us.total"] > 0.0 && row.settings[0].key == "mode")
    );
    let alone =
        Switchover::new(&scratch, &["compare", "campaign", "--json", "--metric", "time_us.total"])
            .run();
    alone.assert_code(0);
    let json: Value = serde_json::from_str(&alone.stdout).unwrap();
    assert_eq!(json["comparisons"][0]["pairs"], 6, "{json}");
    // A kept baseline, against which later runs are held.
    Switchover::new(&scratch, &["compare", "campaign:mode=precopy", "--keep", "kept.json"])
        .run()
        .assert_code(0);
    let limit =
        ["compare", "kept.json", "campaign:mode=postcopy", "--fail-if", "time_us.total > 0.01 ms"];
    Switchover::new(&scratch, &limit).run().assert_code(4);
    scratch.assert_clean();
}

/// A run that does not converge is the last of its guest; the next has a fresh one.
#[test]
fn where_a_guest_goes_on_and_on_each_run_that_does_not_converge_counts() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let stuck = [
        "--set",
        "limits.bandwidth=10MiB/s",
        "--set",
        "limits.downtime=1ms",
        "--set",
        "give_up.after=300ms",
    ];
    let done = sweep(&scratch, qemu, "repeats = 3\ntogether = 3\n", &stuck).run();
    done.assert_code(0);
    assert_eq!(counts(&rows(&done)), each_once(1, 3), "{}", done.story());
    assert!(
        rows(&done).iter().all(|row| row.status == RunStatus::Migrated(Outcome::NotConverged)),
        "{:?}",
        rows(&done)
    );
    scratch.assert_clean();
}

/// At any moment, also while it writes; then on, and killed again, until it is done.
#[test]
fn killed_at_random_moments_it_makes_each_run_once() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let campaign = "repeats = 3\n[vary]\nmode = [\"precopy\", \"postcopy\"]\nguest.pattern = \
        [\"random\", \"sequential\"]\n";
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut more: &[&str] = &["--resume"];
    let mut running = sweep(&scratch, qemu, campaign, &[]).start();
    for _ in 0..6 {
        std::thread::park_timeout(Duration::from_millis(u64::from(200 + random.next_u32() % 1800)));
        running.signal(Signal::SIGKILL);
        running.wait();
        crate::harness::eventually("nothing is left behind", || {
            scratch.leftovers().is_empty().then_some(())
        });
        // Killed before it had made its directory, there is nothing to go on with.
        more = if scratch.join("campaign/campaign.json").exists() { &["--resume"] } else { &[] };
        if more.is_empty() {
            let _ = std::fs::remove_dir_all(scratch.join("campaign"));
        }
        running = sweep(&scratch, qemu, campaign, more).start();
    }
    let done = running.wait();
    done.assert_code(0);
    assert_eq!(counts(&rows(&done)), each_once(4, 3), "{}", done.story());
    assert_eq!(results::read(&done.out().join("results.parquet")).unwrap().1.len(), 12);
    // Done is done.
    let again = sweep(&scratch, qemu, campaign, more).run();
    again.assert_code(0);
    assert!(!again.stdout.contains("visits in"), "{}", again.stdout);
    scratch.assert_clean();
}

#[test]
fn interrupted_it_stops_at_once_and_goes_on_later() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let campaign = "repeats = 3\n[vary]\nmode = [\"precopy\", \"postcopy\"]\n";
    let mut running = sweep(&scratch, qemu, campaign, &[]).start();
    crate::harness::eventually("a visit is made", || {
        std::fs::read_to_string(scratch.join("campaign/visits.jsonl"))
            .ok()?
            .contains('\n')
            .then_some(())
    });
    running.signal(Signal::SIGINT);
    let stopped = running.wait();
    assert!(stopped.status.code().is_none(), "{}", stopped.story());
    assert!(stopped.stdout.contains("are left: continue with --resume"), "{}", stopped.stdout);
    let done = sweep(&scratch, qemu, campaign, &["--resume"]).run();
    done.assert_code(0);
    assert_eq!(counts(&rows(&done)), each_once(2, 3));
    scratch.assert_clean();
}

#[test]
fn cells_that_cannot_be_run_are_results_and_the_rest_goes_on() {
    let Some(qemu) = qemu("7.2") else { return };
    let scratch = Scratch::new();
    // 7.2 has no dirty-limit; and nothing of the third fits through in its time.
    let campaign = "repeats = 2\ntimeout = \"30s\"\n[vary]\n\
                    how = [{ name = \"plain\" }, { name = \"new\", capabilities.no-such-thing = \
                    true }, { name = \"slow\", \
                    limits.bandwidth = \"1MiB/s\", guest.rate = \"200MiB/s\", timeout = \"300ms\" \
                    }]\n";
    let done = sweep(&scratch, qemu, campaign, &["--json"]).run();
    done.assert_code(0);
    let json: Value = serde_json::from_str(&done.stdout).unwrap();
    let outcomes = |cell: usize| json["cells"][cell]["outcomes"].to_string();
    assert_eq!(outcomes(0), r#"{"completed":2}"#, "{}", done.story());
    assert_eq!(outcomes(1), r#"{"not-started":2}"#);
    assert_eq!(outcomes(2), r#"{"not-converged":2}"#);
    let reasons: Vec<String> =
        rows(&done).into_iter().filter(|row| row.cell == 2).map(|row| row.reason).collect();
    assert!(reasons.iter().all(|reason| reason.contains("no-such-thing")), "{reasons:?}");
    scratch.assert_clean();
}

#[test]
fn a_visit_that_takes_too_long_is_ended_safely() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let campaign = "repeats = 1\ntimeout = \"1s\"\n[vary]\nlimits.bandwidth = \
        [\"1MiB/s\"]\nguest.content = [\"random\"]\n";
    let done = sweep(&scratch, qemu, campaign, &[]).run();
    done.assert_code(0);
    assert_eq!(rows(&done)[0].status.name(), "timed-out", "{}", done.story());
    scratch.assert_clean();
}

#[test]
fn a_campaign_of_which_nothing_can_be_run_lacks_something() {
    let scratch = Scratch::new();
    let done = sweep(&scratch, "/nonexistent/qemu", "repeats = 2\n", &[]).run();
    done.assert_code(5);
    assert!(
        done.stdout.contains("2 × not-started: cannot start /nonexistent/qemu"),
        "{}",
        done.stdout
    );
}

#[test]
fn a_directory_of_another_campaign_and_what_is_no_campaign_are_refused_and_left_alone() {
    let scratch = Scratch::new();
    let call =
        |campaign: &str, more: &[&str]| sweep(&scratch, "/nonexistent/qemu", campaign, more).run();
    let refused = |done: Done, words: &str| {
        done.assert_code(2);
        assert!(done.stderr.contains(words), "`{words}` is not in {}", done.stderr);
    };
    refused(call("", &["--resume"]), "has no campaign to resume");
    call("repeats = 1\n", &[]).assert_code(5);
    let before = std::fs::read(scratch.join("campaign/visits.jsonl")).unwrap();
    refused(call("", &[]), "exists already; continue it with --resume");
    refused(
        call("[vary]\nguest.seed = [1, 2]\n", &["--resume"]),
        "belongs to another campaign: it has 1 cells, not 2",
    );
    refused(
        call("name = \"d\"\n", &["--resume"]),
        "belongs to another campaign: its name is \"c\", not \"d\"",
    );
    refused(call("[vary]\nmode = []\n", &[]), "[vary] mode is an empty list");
    let json = std::fs::read_to_string(scratch.join("campaign/campaign.json")).unwrap();
    std::fs::write(
        scratch.join("campaign/campaign.json"),
        json.replace("switchover.campaign/1", "switchover.campaign/9"),
    )
    .unwrap();
    refused(call("repeats = 1\n", &["--resume"]), "its schema is \"switchover.campaign/9\"");
    assert_eq!(std::fs::read(scratch.join("campaign/visits.jsonl")).unwrap(), before);
    refused(Switchover::new(&scratch, &["compare", "campaign"]).run(), "has no baseline");
    refused(
        Switchover::new(&scratch, &["compare", "none", "campaign"]).run(),
        "none is not a campaign",
    );
    refused(
        Switchover::new(&scratch, &["compare", "campaign:mode=warp", "campaign"]).run(),
        "no run has these settings",
    );
}

#[test]
fn dry_run_says_what_it_will_take_and_runs_nothing() {
    let scratch = Scratch::new();
    let done = sweep(
        &scratch,
        "/nonexistent/qemu",
        "repeats = 4\n[vary]\nmode = [\"precopy\", \"hybrid\"]\n",
        &["--dry-run"],
    )
    .run();
    done.assert_code(0);
    assert!(done.stdout.starts_with("c: 2 cells, 8 visits, 8 runs, about "), "{}", done.stdout);
    assert!(!scratch.join("campaign").exists());
}

/// Nothing that was finished is lost, and it goes on when there is room.
#[test]
fn a_disk_that_fills_ends_it_and_room_lets_it_go_on() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let disk = scratch.join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "switchover-campaign"])
        .arg(&disk)
        .output()
        .unwrap();
    if !mount.status.success() {
        println!(
            "not played: no small file system: {}",
            String::from_utf8_lossy(&mount.stderr).trim()
        );
        return;
    }
    let _unmount = Unmount(&disk);
    let campaign = "repeats = 6\n[vary]\nmode = [\"precopy\", \"postcopy\"]\n";
    let on_disk = |more: &[&str]| sweep_to(&disk.join("campaign"), &scratch, qemu, campaign, more);
    // Filled but for a few runs' worth.
    std::fs::write(disk.join("filler"), vec![1; 700_000]).unwrap();
    let full = on_disk(&[]).run();
    full.assert_code(9);
    assert!(full.stderr.contains("free some space, and continue with --resume"), "{}", full.stderr);
    let kept = rows(&full);
    assert!(kept.len() < 12, "the disk did not fill");
    std::fs::remove_file(disk.join("filler")).unwrap();
    let mount = Command::new("mount").args(["-o", "remount,size=64m"]).arg(&disk).status().unwrap();
    assert!(mount.success());
    let done = on_disk(&["--resume"]).run();
    done.assert_code(0);
    assert_eq!(counts(&rows(&done)), each_once(2, 6));
    assert_eq!(rows(&done)[..kept.len()], kept);
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[test]
fn duckdb_answers_the_examples() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let campaign = "repeats = 2\n[vary]\nmode = [\"precopy\", \"postcopy\"]\nlink.preset = \
        [\"none\", \"local\"]\n";
    let done = sweep(&scratch, qemu, campaign, &[]).run();
    done.assert_code(0);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/qemu-scripts/queries");
    let output = Command::new(script).arg(done.out().join("results.parquet")).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.code() == Some(3) {
        println!("not asked: {}", text(&output.stderr).trim());
        return;
    }
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answers = text(&output.stdout);
    for number in 1..=5 {
        assert!(answers.contains(&format!("-- {number}. ")), "{answers}");
    }
    assert!(answers.contains("mode=precopy link.preset=none"), "{answers}");
}
