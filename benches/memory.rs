//! What a million samples cost in memory, on their real way: `observe::Sampler` at `max`, the
//! record's writer, `RunDir::close`.
//!
//! The QEMU is a child process (this program again, so that its memory does not count) that answers
//! like 10.0 in the middle of a migration, with counters that move. It answers some ten times
//! faster than a QEMU, so nothing here says how fast QEMU is.
//!
//! Growth is against our VmRSS before the sampler starts. The peak is VmHWM, reset
//! (/proc/self/clear_refs) before each part.
//!
//! Target: growth of RSS ≤ 20 MB, even at its peak.
//!
//! `--samples N` (1000000).

mod support;

use base::Side;
use base::clock::{monotonic_ns, process_cpu_ns, sleep_until};
use base::units::SampleRate;
use migrate::observe::{Latest, Sampler};
use qmp::{BlockingSession, Endpoint};
use record::RunDir;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;
use support::memory::{Memory, reset_peak};
use support::{Arguments, Result, machine, say, verdict};

const ANSWER: &str = include_str!("support/query-migrate.json");
const GREETING: &[u8] = b"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 2, \"minor\": 0, \
    \"major\": 10}, \"package\": \"\"}, \"capabilities\": [\"oob\"]}}\r\n";

fn main() -> ExitCode {
    support::main(run)
}

fn run(arguments: &Arguments) -> Result<()> {
    let samples = arguments.number("--samples", 1_000_000, 20_000)?;
    if let Some(socket) = arguments.value("--serve") {
        return serve(Path::new(socket), samples);
    }
    say(&format!("memory: {samples} samples, from the sampler to Parquet"));
    say(&machine());

    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("qmp");
    let count = samples.to_string();
    let mut child = Command::new(std::env::current_exe()?)
        .arg("--serve")
        .arg(&socket)
        .args(["--samples", &count])
        .spawn()?;
    while !socket.exists() {
        sleep_until(monotonic_ns() + 1_000_000);
    }
    let connection =
        BlockingSession::connect("source", &Endpoint::Unix(socket), Duration::from_secs(10))?;
    let record = RunDir::create(&directory.path().join("run"), "", false)?;

    let before = Memory::now()?;
    reset_peak()?;
    let (began_ns, cpu_ns) = (monotonic_ns(), process_cpu_ns());
    let sampler = Sampler::start(
        Side::Source,
        connection,
        SampleRate::Max,
        record.sink(),
        Latest::default(),
    )?;
    child.wait()?;
    let (report, _) = sampler.stop();
    let (sampling_s, sampling_cpu) = (seconds_since(began_ns), process_cpu_ns() - cpu_ns);
    let sampled = Memory::now()?;

    reset_peak()?;
    let (began_ns, cpu_ns) = (monotonic_ns(), process_cpu_ns());
    let mut rows = 0u64;
    let closed = record.close(|_| rows += 1)?;
    let (closing_s, closing_cpu) = (seconds_since(began_ns), process_cpu_ns() - cpu_ns);
    let converted = Memory::now()?;
    if report.samples != samples as u64 || rows != samples as u64 {
        return Err(format!(
            "{samples} answers were given, {} were taken, {rows} are in the record",
            report.samples
        )
        .into());
    }
    let file = std::fs::metadata(closed.path().join(record::SAMPLES))?.len();

    let per_sample = |ns: u64| ns as f64 / 1e3 / samples as f64;
    say("");
    say("  MB over the start          peak      then    seconds    CPU, µs a sample");
    for (name, memory, seconds, cpu) in [
        ("sampling", sampled, sampling_s, sampling_cpu),
        ("close (to Parquet)", converted, closing_s, closing_cpu),
    ] {
        let over = |bytes: f64| bytes - before.now;
        say(&format!(
            "  {name:<20} {:>10.1} {:>9.1} {seconds:>10.1} {:>19.2}",
            over(memory.peak),
            over(memory.now),
            per_sample(cpu)
        ));
    }
    say(&format!(
        "  at the start {:.1} MB; samples.parquet has {:.1} MB, {:.1} bytes a sample",
        before.now,
        file as f64 / 1e6,
        file as f64 / samples as f64
    ));
    say("");
    let peak = sampled.peak.max(converted.peak) - before.now;
    verdict("growth of RSS at its peak", &format!("{peak:.1} MB"), "≤ 20 MB", peak <= 20.0);
    say(&format!("  conversion: {:.2} µs a sample", closing_s * 1e6 / samples as f64));
    Ok(())
}

fn seconds_since(began_ns: u64) -> f64 {
    (monotonic_ns() - began_ns) as f64 / 1e9
}

/// The child: a QMP server for one client, that goes away after so many answers.
fn serve(socket: &Path, samples: usize) -> Result<()> {
    let listener = UnixListener::bind(socket)?;
    let (mut stream, _) = listener.accept()?;
    stream.write_all(GREETING)?;
    let mut request = [0; 4096];
    read_request(&mut stream, &mut request)?;
    stream.write_all(b"{\"return\": {}}\r\n")?;

    let mut answer = Vec::new();
    for number in 0..samples {
        read_request(&mut stream, &mut request)?;
        answer.clear();
        answer_to(&mut answer, number, samples)?;
        stream.write_all(&answer)?;
    }
    Ok(())
}

/// The answer number `number`: the members that move in a migration (`@` in the file), moved.
fn answer_to(answer: &mut Vec<u8>, number: usize, samples: usize) -> Result<()> {
    let sent = number * 4137;
    let moving =
        [number / 8, (samples - number) * 4096, sent, sent - number, number * 4096, number];
    let mut pieces = ANSWER.trim_end().split('@');
    write!(answer, "{}", pieces.next().unwrap_or_default())?;
    for (value, piece) in moving.iter().zip(pieces) {
        write!(answer, "{value}{piece}")?;
    }
    answer.extend_from_slice(b"\r\n");
    Ok(())
}

/// One request: they come one at a time and in one piece, ending with a brace.
fn read_request(stream: &mut std::os::unix::net::UnixStream, buffer: &mut [u8]) -> Result<()> {
    loop {
        let read = stream.read(buffer)?;
        if read == 0 || buffer[..read].ends_with(b"}") {
            return Ok(());
        }
    }
}
