//! What the fuzzer calls (fuzz/src), called with its seeds and with seeds that were changed a
//! little. The fuzzer looks for longer: `qemu-scripts/fuzz`.

#[expect(unreachable_pub, reason = "the fuzzer's programs are in another crate")]
#[path = "../../../fuzz/src/lib.rs"]
mod targets;

use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use targets::TARGETS;

/// So many changed seeds of each target: a few seconds in all.
const CASES: u32 = 150;

fn seeds(target: &str) -> BTreeMap<String, Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let entries =
        fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn every_target_has_seeds_and_a_program_and_holds_its_laws_on_them() {
    let manifest = include_str!("../../../fuzz/Cargo.toml");
    for (name, call) in TARGETS {
        assert!(
            manifest.contains(&format!("name = \"{name}\"\npath = \"targets/{name}.rs\"")),
            "{name} is no program of fuzz/Cargo.toml"
        );
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name}");
        for (seed, bytes) in seeds {
            println!("{name}: {seed}");
            call(&bytes);
        }
    }
}

/// The seeds are to lead somewhere: each of them is understood, not refused at the door.
#[test]
fn the_seeds_of_texts_are_understood() {
    for (name, bytes) in seeds("scenario") {
        let text = String::from_utf8(bytes).unwrap();
        let toml = text.split('\0').next().unwrap();
        let loaded = scenario::Loader::new().text(&name, toml).and_then(|loader| loader.load());
        loaded.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// One change: some bytes removed, doubled, overwritten, or taken from elsewhere.
#[derive(Clone, Debug)]
struct Change {
    at: Index,
    length: usize,
    kind: u8,
    bytes: Vec<u8>,
}

fn change() -> impl Strategy<Value = Change> {
    (any::<Index>(), 0usize..40, 0u8..5, prop::collection::vec(any::<u8>(), 1..8))
        .prop_map(|(at, length, kind, bytes)| Change { at, length, kind, bytes })
}

fn changed(mut seed: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for Change { at, length, kind, bytes } in changes {
        if seed.is_empty() {
            break;
        }
        let at = at.index(seed.len());
        let end = (at + length).min(seed.len());
        match kind {
            0 => drop(seed.drain(at..end)),
            1 => {
                let part = seed[at..end].to_vec();
                drop(seed.splice(at..at, part));
            }
            2 => drop(seed.splice(at..at, bytes.iter().copied())),
            3 => drop(seed.splice(at..end, bytes.iter().copied())),
            _ => seed[at] ^= 1 << (bytes[0] % 8),
        }
    }
    seed
}

fn hold(target: &str) {
    let (_, call) = TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    let seeds: Vec<Vec<u8>> = seeds(target).into_values().collect();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) };
    proptest!(config, |(seed in any::<Index>(), changes in prop::collection::vec(change(), 1..4))| {
        call(&changed(seeds[seed.index(seeds.len())].clone(), &changes));
    });
}

/// A test for each, so that they run side by side and a failure names the target.
macro_rules! laws_hold_of_changed_seeds {
    ($($target:ident)*) => { $(#[test] fn $target() { hold(stringify!($target)); })* };
}

mod changed_seeds {
    use super::hold;
    laws_hold_of_changed_seeds!(campaign policy run samples scenario text trace transcript wire);
}
