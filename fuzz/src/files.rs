//! What lies in directories: of runs, of campaigns, of a QEMU that traces.

use super::{check_error, prints_and_reads, same};
use analysis::diagnose;
use analysis::downtime::trace::{TraceLog, parse};
use analysis::{Selection, results};
use record::{Run, SAMPLES, TRANSCRIPT, TranscriptRecord};
use scenario::Loader;
use std::cell::RefCell;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use switchover::campaign::definition::Overrides;
use switchover::campaign::{Definition, Journal};
use switchover_cli::report;
use tempfile::TempDir;

thread_local! {
    static SCRATCH: RefCell<Option<TempDir>> = const { RefCell::new(None) };
}

/// A directory with these files and no others, in memory where there is such a place.
fn directory(files: &[(&str, &[u8])], look: impl FnOnce(&Path)) {
    SCRATCH.with_borrow_mut(|scratch| {
        let make = || tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = scratch.get_or_insert_with(make).path().to_owned();
        let made: Vec<PathBuf> = files.iter().map(|(name, _)| path.join(name)).collect();
        for (path, (_, content)) in made.iter().zip(files) {
            fs::write(path, content).unwrap();
        }
        look(&path);
        for path in made {
            let _ = fs::remove_file(path);
        }
    });
}

/// Bytes of a stream, unless they are packed already.
fn packed(bytes: &[u8]) -> Vec<u8> {
    if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        bytes.to_vec()
    } else {
        zstd::encode_all(bytes, 1).unwrap()
    }
}

/// A trace file. What is read of it prints and reads to the same, and the order of its lines says
/// nothing.
pub fn trace(bytes: &[u8]) {
    let log = parse(bytes);
    let whole = TraceLog { not_understood: 0, without_time: 0, ..log.clone() };
    same(&parse(printed(&log).as_bytes()), &whole);
    let text = String::from_utf8_lossy(bytes);
    if let Some((lines, "")) = text.rsplit_once('\n') {
        let backwards: String = lines.split('\n').rev().flat_map(|line| [line, "\n"]).collect();
        same(&parse(backwards.as_bytes()), &log);
    }
}

fn printed(log: &TraceLog) -> String {
    let mut text = String::new();
    let at = |us: u64| format!("1@{}.{:06}:", us / 1_000_000, us % 1_000_000);
    for point in &log.checkpoints {
        let _ = writeln!(text, "{}vmstate_downtime_checkpoint {}", at(point.wall_us), point.name);
    }
    for device in &log.devices {
        let event = if device.saved { "save" } else { "load" };
        let kind = if device.iterable { "iterable" } else { "non-iterable" };
        let (name, instance) = (&device.device, device.instance);
        let _ = writeln!(
            text,
            "{}vmstate_downtime_{event} type={kind} idstr={name} instance_id={instance} \
                downtime={}",
            at(device.wall_us),
            device.us
        );
    }
    for page in &log.page_requests {
        let event = if page.added { "add new" } else { "del resolved" };
        let _ = writeln!(
            text,
            "{}postcopy_page_req_{event} page req {:#x} total 1",
            at(page.wall_us),
            page.address
        );
    }
    text
}

/// A transcript: each record prints and reads to the same; cut off anywhere, it gives the same
/// beginning.
pub fn transcript(bytes: &[u8]) {
    let whole = packed(bytes);
    let records = |content: &[u8]| {
        let mut all: Vec<TranscriptRecord> = Vec::new();
        directory(&[(TRANSCRIPT, content)], |path| {
            if let Err(error) = Run::open(path).transcript(|record| all.push(record)) {
                check_error(&error, TRANSCRIPT);
            }
        });
        all
    };
    let all = records(&whole);
    for record in &all {
        prints_and_reads(record);
    }
    let half = records(&whole[..whole.len() / 2]);
    // What was cut within a line that a part of it still reads as may differ in its last record.
    let sure = half.len().saturating_sub(1);
    same(&half[..sure].to_vec(), &all[..sure.min(all.len())].to_vec());
}

/// Files of a run directory: `=== NAME` and its content, several after each other. `.zst` are
/// packed unless they are.
pub fn run(bytes: &[u8]) {
    let mut files: Vec<(&str, Vec<u8>)> = Vec::new();
    for part in sections(bytes) {
        let (name, content) = part;
        if !NAMES.contains(&name) || files.iter().any(|(known, _)| *known == name) {
            continue;
        }
        files.push((name, if name.ends_with(".zst") { packed(content) } else { content.to_vec() }));
    }
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(name, content)| (*name, content.as_slice())).collect();
    directory(&files, read_run);
}

const NAMES: [&str; 10] = [
    "answers.jsonl.zst",
    "decisions.jsonl",
    "events.jsonl",
    "guest.source.log",
    "heartbeats.jsonl.zst",
    "link.jsonl.zst",
    "run.json",
    "samples.jsonl.zst",
    "scenario.toml",
    "switchovers.jsonl",
];

fn sections(bytes: &[u8]) -> Vec<(&str, &[u8])> {
    let mut all = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(4).position(|part| part == b"=== ") {
        rest = &rest[at + 4..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { break };
        let name = std::str::from_utf8(&rest[..end]).unwrap_or_default();
        rest = &rest[end + 1..];
        let length = rest.windows(4).position(|part| part == b"=== ").unwrap_or(rest.len());
        all.push((name, &rest[..length]));
    }
    all
}

fn read_run(path: &Path) {
    let run = Run::open(path);
    let named = path.display().to_string();
    let summary = run.summary();
    let switchovers =
        run.switchovers().inspect_err(|error| check_error(error, &named)).unwrap_or_default();
    for result in [
        run.events().map(drop),
        run.decisions().map(drop),
        run.heartbeats().map(drop),
        run.samples(drop),
        run.convergence_samples(drop),
    ] {
        if let Err(error) = result {
            check_error(&error, &named);
        }
    }
    let (flows, answers, lines) = (run.flows(), run.answers(), run.guest_lines(0));
    assert!(
        flows.is_sorted_by_key(|record| record.flow.at_ns)
            && answers.is_sorted_by_key(|record| record.answered.arrived_ns)
    );
    assert!(lines.iter().all(|(_, line)| !line.contains('\n')));
    let mut loader = Loader::new();
    let scenario = loader.file(&path.join("scenario.toml")).and_then(|loader| loader.load());
    if let Ok(scenario) = scenario
        && let Ok(diagnosis) = diagnose(&run, &scenario)
    {
        let _ = report::format_diagnosis(&diagnosis);
    }
    match summary {
        Ok(summary) => {
            prints_and_reads(&summary);
            let _ = report::format_summary(
                &summary,
                &switchovers,
                &analysis::Timeline::default(),
                path,
            );
            for check in ["downtime.best.us > 300ms", "outcome == completed"] {
                let _ = report::evaluate_check(check, &summary);
            }
        }
        Err(error) => check_error(&error, &named),
    }
}

/// Parquet: samples of a run, and results of a campaign.
pub fn samples(bytes: &[u8]) {
    directory(&[(SAMPLES, bytes)], |path| {
        let run = Run::open(path);
        for result in [run.samples(drop), run.convergence_samples(drop)] {
            if let Err(error) = result {
                check_error(&error, SAMPLES);
            }
        }
        if let Err(error) = results::read(&path.join(SAMPLES)) {
            check_error(&error, SAMPLES);
        }
    });
}

/// What a campaign has: its definition, its journal or a table that was kept, as the first line
/// says.
pub fn campaign(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (kind, content) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    match kind {
        b"journal" => directory(&[("visits.jsonl", content)], journal),
        b"table" => directory(&[("table.json", content)], |path| {
            let path = path.join("table.json");
            match (Selection { path, settings: Vec::new() }).load_table() {
                Ok(table) => prints_and_reads(&table),
                Err(error) => check_error(&error, "table.json"),
            }
        }),
        _ => definition(&String::from_utf8_lossy(content)),
    }
}

fn journal(path: &Path) {
    let path = path.join("visits.jsonl");
    let read = Journal::read(&path);
    match (Journal::open(&path), read) {
        (Ok(journal), Ok(read)) => {
            assert!(journal.visits == read);
            // What was no whole line is cut off, and the rest is the same.
            assert!(Journal::read(&path).unwrap() == read);
            for visited in &read {
                prints_and_reads(visited);
            }
        }
        (Err(one), Err(two)) => {
            same(&one.to_string(), &two.to_string());
            assert!(one.to_string().starts_with("line "), "{one}");
        }
        (one, two) => panic!("{:?} and {:?}", one.map(drop), two.map(drop)),
    }
}

fn definition(text: &str) {
    let definition = match Definition::from_toml(
        "fuzzed.toml",
        "fuzzed",
        Path::new("/nowhere"),
        text,
        &Overrides::default(),
    ) {
        Ok(definition) => definition,
        Err(error) => return check_error(&error, "fuzzed.toml"),
    };
    assert!(
        definition
            .cells
            .iter()
            .map(|cell| cell.number)
            .eq(1..=u32::try_from(definition.cells.len()).unwrap())
    );
    if definition.cells.len() * definition.repeats as usize > 10_000 {
        return;
    }
    // Every cell has all its runs, and each visit is made once.
    let visits = definition.visits(None);
    let runs: u64 =
        visits.iter().map(|visit| u64::from(definition.runs_in_round(visit.round))).sum();
    assert_eq!(runs, definition.cells.len() as u64 * u64::from(definition.repeats));
    let mut once = visits.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), visits.len());
}
