//! The emulated link by itself, over pairs of unix sockets: how fast it is, how much it adds, how
//! well it keeps to its figures.
//!
//! - Unshaped: bytes a second against a plain loop of two `splice` calls and against `socat` (where
//!   it is installed), in turn.
//! - Added latency when idle: a byte there and back, with the link and without.
//! - Shaped: bytes a second over each 100 ms, against the rate; how far one-way delays are off at
//!   half the load; what is held at most.
//! - Throughput of one connection over a grid of windows and delays, against window / round trip.
//!
//! `--rounds N` (7), `--mib N` a transfer (1024), `--seconds S` a shaped run (3).

mod support;

use base::clock::{monotonic_ns, sleep_until};
use base::units::{Bytes, Micros, Rate};
use lab::link::{Link, Totals};
use migrate::sockets::unix_pair;
use nix::fcntl::{SpliceFFlags, splice};
use scenario::{Figures, LinkPreset};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitCode, Stdio};
use support::stats::{median, quantile, with_interval};
use support::{Arguments, Result, machine, say, verdict};

fn main() -> ExitCode {
    support::main(run)
}

fn run(arguments: &Arguments) -> Result<()> {
    let (rounds, mib) =
        (arguments.number("--rounds", 7, 2)?, arguments.number("--mib", 1024, 128)?);
    let seconds = arguments.number("--seconds", 3, 1)? as u64;
    say("link: the emulator alone, over unix sockets");
    say(&machine());
    unshaped(rounds, mib)?;
    for (name, asked) in [
        ("open", preset(LinkPreset::Open)),
        ("1 Gbit/s, no delay", shaped(Some(125_000_000), 0, None)),
    ] {
        idle(name, &asked, rounds)?;
    }
    for rate in [10 << 20, 100 << 20, 375_000_000, 875_000_000] {
        rate_kept(rate, seconds)?;
    }
    for (rate, delay_us) in [(100 << 20, 2750), (375_000_000, 2750), (375_000_000, 26_250)] {
        delay_kept(rate, delay_us, seconds)?;
    }
    held(seconds)?;
    grid(seconds)
}

fn preset(preset: LinkPreset) -> scenario::Link {
    scenario::Link { preset, ..scenario::Link::default() }
}

fn shaped(rate: Option<u64>, delay_us: u64, window: Option<u64>) -> scenario::Link {
    let figures = Figures {
        rate: rate.map(Rate),
        delay: Some(Micros(delay_us)),
        window: window.map(Bytes),
        ..Figures::default()
    };
    scenario::Link { figures, ..scenario::Link::default() }
}

/// A link, and the two ends that it is between.
fn linked(asked: &scenario::Link) -> Result<(Link, UnixStream, UnixStream)> {
    let link = Link::start(asked, |_| ())?;
    let ([here, near], [far, there]) = (unix_pair()?, unix_pair()?);
    link.join([near, far])?;
    Ok((link, here.into(), there.into()))
}

/// Sends `total` bytes from one to the other: bytes a second.
fn transfer(mut from: UnixStream, mut to: UnixStream, total: u64) -> Result<f64> {
    let began_ns = monotonic_ns();
    let writer = std::thread::spawn(move || {
        let block = vec![0x5a; 256 << 10];
        let mut left = total;
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
            if from.write_all(&block[..part]).is_err() {
                break;
            }
            left -= part as u64;
        }
        let _ = from.shutdown(Shutdown::Write);
    });
    let (mut buffer, mut got) = (vec![0; 256 << 10], 0);
    loop {
        match to.read(&mut buffer)? {
            0 => break,
            n => got += n as u64,
        }
    }
    let took_ns = monotonic_ns() - began_ns;
    let _ = writer.join();
    if got != total {
        return Err(format!("{got} of {total} bytes came over").into());
    }
    Ok(total as f64 / took_ns as f64 * 1e9)
}

/// What the open link is held against.
fn two_splices(from: OwnedFd, to: OwnedFd) {
    let Ok((out, inside)) = nix::unistd::pipe() else { return };
    let _ = nix::fcntl::fcntl(&inside, nix::fcntl::FcntlArg::F_SETPIPE_SZ(1 << 20));
    while let Ok(mut left @ 1..) =
        splice(&from, None, &inside, None, 1 << 20, SpliceFFlags::SPLICE_F_MOVE)
    {
        while left > 0 {
            let Ok(moved) = splice(&out, None, &to, None, left, SpliceFFlags::SPLICE_F_MOVE) else {
                return;
            };
            left -= moved;
        }
    }
    let _ = UnixStream::from(to).shutdown(Shutdown::Write);
}

struct Socat {
    child: Child,
    _directory: tempfile::TempDir,
}

impl Drop for Socat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn socat() -> Result<(Socat, UnixStream, UnixStream)> {
    let directory = tempfile::tempdir()?;
    let (at, to) = (directory.path().join("at"), directory.path().join("to"));
    let listener = std::os::unix::net::UnixListener::bind(&to)?;
    let words = [
        "-b262144".to_owned(),
        format!("UNIX-LISTEN:{}", at.display()),
        format!("UNIX-CONNECT:{}", to.display()),
    ];
    let child = Command::new("socat").args(words).stderr(Stdio::null()).spawn()?;
    let socat = Socat { child, _directory: directory };
    let deadline_ns = monotonic_ns() + 5_000_000_000;
    let here = loop {
        match UnixStream::connect(&at) {
            Ok(here) => break here,
            Err(error) if monotonic_ns() > deadline_ns => return Err(error.into()),
            Err(_) => sleep_until(monotonic_ns() + 2_000_000),
        }
    };
    Ok((socat, here, listener.accept()?.0))
}

fn unshaped(rounds: usize, mib: usize) -> Result<()> {
    let total = (mib as u64) << 20;
    let (mut ours, mut splices, mut socats) = (Vec::new(), Vec::new(), Vec::new());
    let has_socat = Command::new("socat")
        .arg("-V")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    for _ in 0..rounds {
        let ([here, near], [far, there]) = (unix_pair()?, unix_pair()?);
        let loop_thread = std::thread::spawn(move || two_splices(near, far));
        splices.push(transfer(here.into(), there.into(), total)?);
        let _ = loop_thread.join();
        let (link, here, there) = linked(&preset(LinkPreset::Open))?;
        ours.push(transfer(here, there, total)?);
        drop(link);
        if has_socat {
            let (running, here, there) = socat()?;
            socats.push(transfer(here, there, total)?);
            drop(running);
        }
    }
    let ratio = |to: &[f64]| -> Vec<f64> {
        ours.iter().zip(to).map(|(ours, theirs)| ours / theirs).collect()
    };
    let rate = format!("{:.2} GB/s", median(&ours) / 1e9);
    let of_splices = ratio(&splices);
    let figure = format!("{rate}, {} ×", with_interval(&of_splices, 2));
    verdict("unshaped, of a loop of two splices", &figure, "≥ 0.9 ×", median(&of_splices) >= 0.9);
    if has_socat {
        let of_socat = ratio(&socats);
        verdict(
            "unshaped, of socat",
            &format!("{} ×", with_interval(&of_socat, 2)),
            "> 1 ×",
            median(&of_socat) > 1.0,
        );
    } else {
        say("  unshaped, of socat: it is not installed here");
    }
    Ok(())
}

/// Median time of a byte there and back, ns.
fn round_trip(mut here: UnixStream, mut there: UnixStream) -> Result<f64> {
    let echo = std::thread::spawn(move || {
        let mut byte = [0];
        while there.read_exact(&mut byte).is_ok() && there.write_all(&byte).is_ok() {}
    });
    let mut times = Vec::new();
    for _ in 0..400 {
        sleep_until(monotonic_ns() + 200_000);
        let sent_ns = monotonic_ns();
        here.write_all(&[1])?;
        here.read_exact(&mut [0])?;
        times.push((monotonic_ns() - sent_ns) as f64);
    }
    drop(here);
    let _ = echo.join();
    Ok(median(&times))
}

fn idle(name: &str, asked: &scenario::Link, rounds: usize) -> Result<()> {
    let mut added = Vec::new();
    for _ in 0..rounds {
        let (here, there) = UnixStream::pair()?;
        let plain = round_trip(here, there)?;
        let (_link, here, there) = linked(asked)?;
        added.push((round_trip(here, there)? - plain) / 2000.0);
    }
    let met = median(&added) <= 50.0;
    verdict(
        &format!("added to a byte's way when idle, {name}"),
        &format!("{} µs", with_interval(&added, 1)),
        "≤ 50 µs",
        met,
    );
    Ok(())
}

fn rate_kept(rate: u64, seconds: u64) -> Result<()> {
    let (link, mut here, mut there) = linked(&shaped(Some(rate), 1000, None))?;
    let writer = std::thread::spawn(move || {
        let block = vec![0x5a; 64 << 10];
        while here.write_all(&block).is_ok() {}
    });
    let (mut buffer, mut seen, mut got) = (vec![0; 256 << 10], Vec::new(), 0u64);
    let began_ns = monotonic_ns();
    // The first tenth of a second fills buffers.
    while monotonic_ns() < began_ns + 100_000_000 + seconds * 1_000_000_000 {
        got += there.read(&mut buffer)? as u64;
        seen.push((monotonic_ns(), got));
    }
    drop((there, link));
    let _ = writer.join();
    let at = |ns: u64| seen[seen.partition_point(|(at_ns, _)| *at_ns <= ns).saturating_sub(1)].1;
    let starts = (0..).map(|step| began_ns + 100_000_000 + step * 5_000_000);
    let last_ns = seen.last().map_or(0, |(ns, _)| *ns);
    let off: Vec<f64> = starts
        .take_while(|start| start + 100_000_000 < last_ns)
        .map(|start| {
            ((at(start + 100_000_000) - at(start)) as f64 / (rate as f64 / 10.0) - 1.0) * 100.0
        })
        .collect();
    let worst =
        off.iter().fold(0f64, |worst, off| if off.abs() > worst.abs() { *off } else { worst });
    let within = off.iter().filter(|off| off.abs() <= 1.0).count() * 1000 / off.len().max(1);
    let figure = format!("worst {worst:+.2} %; {}.{} % are within", within / 10, within % 10);
    verdict(
        &format!("rate over any 100 ms, {} MB/s", rate / 1_000_000),
        &figure,
        "within 1 %",
        worst.abs() <= 1.0,
    );
    Ok(())
}

fn delay_kept(rate: u64, delay_us: u64, seconds: u64) -> Result<()> {
    let (_link, mut here, there) = linked(&shaped(Some(rate), delay_us, None))?;
    // Half the load, in a message a millisecond.
    let size = usize::try_from(rate / 2000)?;
    let count = usize::try_from(seconds * 1000)?;
    let reader = std::thread::spawn(move || {
        let mut there = there;
        let (mut message, mut arrived) = (vec![0; size], Vec::with_capacity(count));
        while there.read_exact(&mut message).is_ok() {
            arrived.push(monotonic_ns());
        }
        arrived
    });
    let (message, mut sent) = (vec![1; size], Vec::with_capacity(count));
    let began_ns = monotonic_ns();
    for at in 0..count as u64 {
        sleep_until(began_ns + at * 1_000_000);
        sent.push(monotonic_ns());
        here.write_all(&message)?;
    }
    here.shutdown(Shutdown::Write)?;
    let arrived = reader.join().map_err(|_| "the reader broke")?;
    let should_ns = delay_us as f64 * 1000.0 + size as f64 / rate as f64 * 1e9;
    let off: Vec<f64> = sent
        .iter()
        .zip(&arrived)
        .map(|(sent, arrived)| ((arrived - sent) as f64 - should_ns).abs() / 1e6)
        .collect();
    let figure = format!("p50 {:.3}, p99 {:.3} ms", median(&off), quantile(&off, 0.99));
    let name = format!(
        "delay at half load, {} MB/s, {:.2} ms",
        rate / 1_000_000,
        delay_us as f64 / 1000.0
    );
    verdict(&name, &figure, "p99 ≤ 0.3 ms", quantile(&off, 0.99) <= 0.3);
    Ok(())
}

/// A receiver that takes nothing, and one that takes all.
fn held(seconds: u64) -> Result<()> {
    let asked = scenario::Link { preset: LinkPreset::Halifax, ..scenario::Link::default() };
    let way = asked.directions()[0];
    let limit = way.window.map_or(0, |window| window.0) + way.buffer.0;
    for (name, reads) in
        [("a receiver that takes all", true), ("a receiver that takes nothing", false)]
    {
        let before = resident();
        let (link, mut here, mut there) = linked(&asked)?;
        here.set_write_timeout(Some(std::time::Duration::from_millis(500)))?;
        let writer = std::thread::spawn(move || {
            let block = vec![0x5a; 64 << 10];
            while here.write_all(&block).is_ok() {}
        });
        let until_ns = monotonic_ns() + seconds * 1_000_000_000;
        let mut buffer = vec![0; 256 << 10];
        while reads && monotonic_ns() < until_ns {
            let _ = there.read(&mut buffer)?;
        }
        if !reads {
            sleep_until(until_ns);
        }
        let grown = resident().saturating_sub(before);
        drop(there);
        let Totals { there: passed, .. } = link.stop();
        let _ = writer.join();
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let figure = format!("{:.1} MiB held, RSS +{:.1}", mib(passed.max_held), mib(grown));
        verdict(
            &format!("halifax, {name}"),
            &figure,
            &format!("≤ {:.0} MiB", mib(limit)),
            passed.max_held <= limit,
        );
    }
    Ok(())
}

fn resident() -> u64 {
    let mut text = String::new();
    let _ = File::open("/proc/self/statm").and_then(|mut file| file.read_to_string(&mut text));
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn grid(seconds: u64) -> Result<()> {
    say("");
    say("  throughput of one connection, of min(rate, window / round trip); rate 3 Gbit/s");
    say("    window \\ delay      0.1 ms        2.75 ms       26.25 ms");
    let (rate, mut worst) = (375_000_000u64, 0f64);
    for window in [64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20] {
        let mut line = format!("    {:>10}", Bytes(window).to_string());
        for delay_us in [100, 2750, 26_250] {
            let (link, mut here, mut there) = linked(&shaped(Some(rate), delay_us, Some(window)))?;
            let writer = std::thread::spawn(move || {
                let block = vec![0x5a; 64 << 10];
                while here.write_all(&block).is_ok() {}
            });
            let mut buffer = vec![0; 256 << 10];
            let settle_ns = monotonic_ns() + 200_000_000;
            while monotonic_ns() < settle_ns {
                let _ = there.read(&mut buffer)?;
            }
            let (from_ns, mut got) = (monotonic_ns(), 0u64);
            while monotonic_ns() < from_ns + seconds * 500_000_000 {
                got += there.read(&mut buffer)? as u64;
            }
            let seen = got as f64 / (monotonic_ns() - from_ns) as f64 * 1e9;
            drop((there, link));
            let _ = writer.join();
            let should = (window as f64 / (2.0 * delay_us as f64 / 1e6)).min(rate as f64);
            let share = seen / should;
            worst = if (share - 1.0).abs() > worst.abs() { share - 1.0 } else { worst };
            let _ = write!(line, "  {:>6.1} {share:.3}", seen / 1e6);
        }
        say(&format!("{line}   (MB/s, share)"));
    }
    verdict(
        "throughput against the formula, worst",
        &format!("{:+.1} %", worst * 100.0),
        "none",
        true,
    );
    Ok(())
}
