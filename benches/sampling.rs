//! Sampling flat out, while a migration is active: how near we are to what QEMU can answer at all.
//!
//! Three clients ask `query-migrate` on the same QMP socket of the same source, in turn, in rounds:
//! bare      a blocking loop that looks for the line end and asks again: nothing can be faster from
//! one connection; sampler   `observe::Sampler` at `max`, into a real run directory: lines,
//! batches, zstd, the file; qemu.qmp  QEMU's own Python library, in a loop
//! (benches/peers/qemu_qmp_loop.py). Each round gives a ratio of neighbours in time, and the median
//! of those is the figure: a busy machine slows all alike.
//!
//! Targets: sampler ≥ 95 % of bare; ≥ 2 × qemu.qmp; ≤ 15 µs of our CPU a sample (whole process: the
//! sampler's thread, the record's writer with its compression, start and end of both; not the
//! conversion to Parquet, which is after the migration).
//!
//! `--rounds N` (12), `--seconds S` a client and round (1).

mod support;

use base::Side;
use base::clock::{monotonic_ns, process_cpu_ns, sleep_until};
use base::units::SampleRate;
use migrate::observe::{Latest, Sampler};
use qmp::{BlockingSession, Endpoint};
use record::RunDir;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;
use support::qemu::Migrating;
use support::stats::{median, quantile};
use support::{Arguments, Result, machine, qemu_program, say, verdict, version_text};

const DEADLINE: Duration = Duration::from_secs(10);
const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/qemu_qmp_loop.py");
const VENV: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench-venv");

/// One client's part of one round.
#[derive(Clone, Copy)]
struct Part {
    per_second: f64,
    cpu_us: f64,
}

fn main() -> ExitCode {
    support::main(run)
}

fn run(arguments: &Arguments) -> Result<()> {
    let rounds = arguments.number("--rounds", 12, 2)?;
    let seconds: f64 = match arguments.value("--seconds") {
        Some(text) => text.parse()?,
        None if arguments.quick => 0.2,
        None => 1.0,
    };
    let program = qemu_program()?;
    let python = python();
    let mut qemu = Migrating::start(&program)?;
    let bytes = qemu.still_active()?;
    say(&format!(
        "sampling: query-migrate flat out during an active migration; {}",
        version_text(&program)?
    ));
    say(&format!(
        "{}; {rounds} rounds of {seconds} s a client; an answer has about {bytes} bytes",
        machine()
    ));

    let mut parts: [Vec<Part>; 3] = Default::default();
    for round in 0..rounds {
        // Each client goes first, second and third alike.
        for client in 0..3 {
            let client = (client + round) % 3;
            let part = match (client, &python) {
                (0, _) => bare(&qemu.socket(), seconds)?,
                (1, _) => sampler(&qemu.socket(), seconds)?,
                (_, Ok(python)) => qemu_qmp(python, &qemu.socket(), seconds)?,
                (_, Err(_)) => continue,
            };
            parts[client].push(part);
        }
        qemu.still_active()?;
    }

    say("");
    say("  client        answers/s: median   quartiles        client CPU, µs an answer");
    for (name, parts) in ["bare", "sampler", "qemu.qmp"].iter().zip(&parts) {
        let rate: Vec<f64> = parts.iter().map(|part| part.per_second).collect();
        let cpu: Vec<f64> = parts.iter().map(|part| part.cpu_us).collect();
        if !parts.is_empty() {
            let (low, high) = (quantile(&rate, 0.25), quantile(&rate, 0.75));
            say(&format!(
                "  {name:<10} {:>20.0}   {low:>5.0} .. {high:<5.0} {:>22.1}",
                median(&rate),
                median(&cpu)
            ));
        }
    }
    say("");
    let ratio = |ours: &[Part], theirs: &[Part]| -> Vec<f64> {
        ours.iter().zip(theirs).map(|(ours, theirs)| ours.per_second / theirs.per_second).collect()
    };
    let of_bare = ratio(&parts[1], &parts[0]);
    let figure = format!(
        "{:.1} % (quartiles {:.1}, {:.1})",
        median(&of_bare) * 100.0,
        quantile(&of_bare, 0.25) * 100.0,
        quantile(&of_bare, 0.75) * 100.0
    );
    verdict("sampler, of the bare loop's rate", &figure, "≥ 95 %", median(&of_bare) >= 0.95);
    match &python {
        Ok(_) => {
            let of_python = ratio(&parts[1], &parts[2]);
            verdict(
                "sampler, of qemu.qmp's rate",
                &format!("{:.2} x", median(&of_python)),
                "≥ 2 x",
                median(&of_python) >= 2.0,
            );
        }
        Err(reason) => say(&format!("  no row for qemu.qmp: {reason}")),
    }
    let cpu = median(&parts[1].iter().map(|part| part.cpu_us).collect::<Vec<_>>());
    verdict(
        "our CPU a sample (sampler and record-writer)",
        &format!("{cpu:.1} µs"),
        "≤ 15 µs",
        cpu <= 15.0,
    );
    Ok(())
}

/// Counts answers from the first to the last one, so that connecting does not count.
fn bare(socket: &Path, seconds: f64) -> Result<Part> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut buffer = vec![0; 64 << 10];
    line(&mut stream, &mut buffer)?;
    stream.write_all(br#"{"execute":"qmp_capabilities"}"#)?;
    line(&mut stream, &mut buffer)?;

    let cpu_ns = process_cpu_ns();
    let mut answers = 0u64;
    let mut first_ns = 0;
    loop {
        stream.write_all(br#"{"execute":"query-migrate"}"#)?;
        line(&mut stream, &mut buffer)?;
        answers += 1;
        let now_ns = monotonic_ns();
        if answers == 1 {
            first_ns = now_ns;
        }
        let spent = (now_ns - first_ns) as f64 / 1e9;
        if spent >= seconds {
            let cpu_us = (process_cpu_ns() - cpu_ns) as f64 / 1e3 / answers as f64;
            return Ok(Part { per_second: (answers - 1) as f64 / spent, cpu_us });
        }
    }
}

fn line(stream: &mut UnixStream, buffer: &mut [u8]) -> Result<()> {
    loop {
        let read = stream.read(buffer)?;
        if read == 0 {
            return Err(std::io::Error::from(ErrorKind::UnexpectedEof).into());
        }
        if buffer[..read].contains(&b'\n') {
            return Ok(());
        }
    }
}

fn sampler(socket: &Path, seconds: f64) -> Result<Part> {
    let directory = tempfile::tempdir()?;
    let record = RunDir::create(&directory.path().join("run"), "", false)?;
    let connection =
        BlockingSession::connect("source", &Endpoint::Unix(socket.to_owned()), DEADLINE)?;
    let cpu_ns = process_cpu_ns();
    let sampler = Sampler::start(
        Side::Source,
        connection,
        SampleRate::Max,
        record.sink(),
        Latest::default(),
    )?;
    sleep_until(monotonic_ns() + u64::try_from(Duration::from_secs_f64(seconds).as_nanos())?);
    let (report, _) = sampler.stop();
    record.discard();
    let cpu_us = (process_cpu_ns() - cpu_ns) as f64 / 1e3 / report.samples as f64;
    Ok(Part { per_second: report.rate_hz, cpu_us })
}

fn qemu_qmp(python: &Path, socket: &Path, seconds: f64) -> Result<Part> {
    #[derive(serde::Deserialize)]
    struct Printed {
        answers: u64,
        seconds: f64,
        cpu_seconds: f64,
    }
    let output = Command::new(python).arg(PEER).arg(socket).arg(seconds.to_string()).output()?;
    if !output.status.success() {
        return Err(format!("{PEER}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let printed: Printed = serde_json::from_slice(&output.stdout)?;
    let answers = printed.answers as f64;
    Ok(Part { per_second: answers / printed.seconds, cpu_us: printed.cpu_seconds * 1e6 / answers })
}

/// A Python that has qemu.qmp: made once, under target. Or why there is none.
fn python() -> std::result::Result<PathBuf, String> {
    let python = Path::new(VENV).join("bin/python");
    let has_it = || {
        Command::new(&python)
            .args(["-c", "import qemu.qmp"])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if has_it() {
        return Ok(python);
    }
    let step = |command: &mut Command| {
        let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or_default();
        if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {last}")) }
    };
    step(Command::new("python3").args(["-m", "venv", VENV]))?;
    step(Command::new(&python).args(["-m", "pip", "install", "--quiet", "qemu.qmp"]))?;
    if has_it() {
        Ok(python)
    } else {
        Err("qemu.qmp was installed and cannot be imported".to_owned())
    }
}
