//! Faults: whatever goes wrong, and whenever, exactly one copy of the guest runs, and what we say
//! of it is true.
//!
//! Map: `cell` what, to whom, when · `scene` one of them played · `stream` and `wire` ways that can
//! be cut · `disk` one that can be filled · `judge` the law · `table` the results as a page.

mod cell;
mod disk;
mod judge;
mod scene;
mod stream;
mod table;
mod wire;

use base::Side;
use cell::{Cell, Fault, How, Phase};
use judge::{Verdict, judge};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use scene::Scene;
use std::sync::Mutex;

/// Migrations at a time.
const WORKERS: usize = 2;

/// Plays them all; in their order.
fn play(cells: &[Cell]) -> Vec<Verdict> {
    let next = Mutex::new(cells.iter().enumerate());
    let verdicts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some((index, cell)) = next.lock().unwrap().next() else { return };
                    println!("{cell} ...");
                    let Some((scene, done)) = Scene::play(*cell) else { continue };
                    let verdict = judge(*cell, scene, &done);
                    println!("{cell}: {verdict}");
                    verdicts.lock().unwrap().push((index, verdict));
                }
            });
        }
    });
    let mut verdicts = verdicts.into_inner().unwrap();
    verdicts.sort_by_key(|(index, _)| *index);
    verdicts.into_iter().map(|(_, verdict)| verdict).collect()
}

fn assert_law(verdicts: &[Verdict]) {
    let broken: Vec<String> = verdicts
        .iter()
        .filter(|verdict| !verdict.broken.is_empty())
        .map(|verdict| format!("{}: {verdict}: {:?}", verdict.cell, verdict.broken))
        .collect();
    println!("{} played, {} against the law", verdicts.len(), broken.len());
    assert!(broken.is_empty(), "{broken:#?}");
}

/// What is most likely to go wrong, on 10.0. The whole of it: qemu-scripts/fault-matrix, which
/// names versions and the page to be written.
#[test]
fn the_law_holds_in_every_cell() {
    let Ok(versions) = std::env::var("SWITCHOVER_FAULTS") else {
        assert_law(&play(&subset()));
        return;
    };
    let known = ["7.2", "10.0", "newest"];
    let versions: Vec<&'static str> =
        known.into_iter().filter(|known| versions.split(' ').any(|one| one == *known)).collect();
    let mut cells: Vec<Cell> = versions.iter().flat_map(|version| Cell::all(version)).collect();
    if let Ok(only) = std::env::var("SWITCHOVER_FAULTS_ONLY") {
        cells.retain(|cell| cell.to_string().contains(&only));
    }
    let verdicts = play(&cells);
    if let Ok(page) = std::env::var("SWITCHOVER_FAULTS_PAGE") {
        std::fs::write(page, table::page(&versions, &verdicts)).unwrap();
    }
    assert_law(&verdicts);
}

fn subset() -> Vec<Cell> {
    let precopy = [
        (Phase::FirstPass, Fault::Kill(Side::Destination)),
        (Phase::FirstPass, Fault::CloseQmp(Side::Source)),
        (Phase::FirstPass, Fault::FillDisk),
        (Phase::LaterPass, Fault::KillDriver),
        (Phase::LaterPass, Fault::CutLink),
        (Phase::Device, Fault::Interrupt),
        (Phase::Device, Fault::CloseQmp(Side::Destination)),
        (Phase::Completing, Fault::Kill(Side::Source)),
        (Phase::Completing, Fault::KillDriver),
        (Phase::Completing, Fault::CutLink),
    ];
    let confirmed = [
        (Phase::Completing, Fault::CutLink),
        (Phase::Completing, Fault::StallLink),
        (Phase::FirstPass, Fault::Interrupt),
    ];
    let postcopy = [
        (Phase::Device, Fault::CutLink),
        (Phase::Device, Fault::Interrupt),
        (Phase::Device, Fault::CloseQmp(Side::Source)),
        (Phase::Postcopy, Fault::CutLink),
        (Phase::Postcopy, Fault::KillDriver),
        (Phase::Postcopy, Fault::Kill(Side::Source)),
        (Phase::Recover, Fault::CloseQmp(Side::Destination)),
        (Phase::Completing, Fault::SlowQmp(Side::Source)),
        (Phase::Completing, Fault::CutLink),
    ];
    let of = |how, cells: &[(Phase, Fault)]| -> Vec<Cell> {
        cells
            .iter()
            .map(|(phase, fault)| Cell { version: "10.0", how, phase: *phase, fault: *fault })
            .collect()
    };
    [of(How::Precopy, &precopy), of(How::Confirmed, &confirmed), of(How::Postcopy, &postcopy)]
        .concat()
}

/// Any fault at any moment, as a seed has it: more of them by qemu-scripts/fault-matrix.
#[test]
fn the_law_holds_in_a_soak() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let (count, seed) = (number("SWITCHOVER_SOAK", 4), number("SWITCHOVER_SEED", 1));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let all: Vec<Cell> = ["10.0", "newest"].into_iter().flat_map(Cell::all).collect();
    let pick = |random: &mut TestRng| all[usize::try_from(random.next_u32()).unwrap() % all.len()];
    let cells: Vec<Cell> = (0..count).map(|_| pick(&mut random)).collect();
    println!("{count} faults of seed {seed}");
    assert_law(&play(&cells));
}
