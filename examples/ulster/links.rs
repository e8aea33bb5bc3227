//! Rows L1 to L3: what a plain sender gets through each of the paper's links as the campaigns have them, rates an eighth and times as they are, as iperf would say it;
//! and a byte's round trip. Given as the paper would: eight times the rate.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use switchover::clock::{monotonic_ns, sleep_until};
use switchover::link::Link;
use switchover::scenario::{self, LinkPreset};
use switchover::sockets::unix_pair;
use switchover::ulster::Throughput;

const REPEATS: u32 = 10;
const SCALE: u32 = 8;
/// Buffers fill first, then it counts.
const WARM_UP_NS: u64 = 300_000_000;
const COUNTED_NS: u64 = 1_000_000_000;
const PINGS: usize = 20;

pub(crate) fn measure(out: &Path) -> Result<(), Box<dyn Error>> {
    let mut text = String::new();
    // In turn, so that what drifts meets all alike.
    for _ in 0..REPEATS {
        for (name, preset) in [
            ("local", LinkPreset::Local),
            ("dublin", LinkPreset::Dublin),
            ("halifax", LinkPreset::Halifax),
        ] {
            let asked = scenario::Link { preset, scale: SCALE, ..scenario::Link::default() };
            let measured = Throughput {
                link: name.to_owned(),
                gbit: throughput(&asked)? * f64::from(SCALE),
                round_trip_ms: round_trip(&asked)?,
            };
            let _ = writeln!(text, "{}", serde_json::to_string(&measured)?);
        }
    }
    Ok(std::fs::write(out, text)?)
}

/// A link, and the two ends that it is between.
fn linked(asked: &scenario::Link) -> Result<(Link, UnixStream, UnixStream), Box<dyn Error>> {
    let link = Link::start(asked, |_| ())?;
    let ([here, near], [far, there]) = (unix_pair()?, unix_pair()?);
    link.join([near, far])?;
    Ok((link, here.into(), there.into()))
}

/// Gb/s, as they arrive.
fn throughput(asked: &scenario::Link) -> Result<f64, Box<dyn Error>> {
    let (link, mut here, mut there) = linked(asked)?;
    let writer = std::thread::spawn(move || {
        let block = vec![0x5a; 256 << 10];
        while here.write_all(&block).is_ok() {}
    });
    let mut buffer = vec![0; 256 << 10];
    let (began, mut from, mut got) = (monotonic_ns(), None, 0_u64);
    let gbit = loop {
        let bytes = there.read(&mut buffer)? as u64;
        let now = monotonic_ns();
        match from {
            None if now >= began + WARM_UP_NS => from = Some(now),
            None => {}
            Some(from) => {
                got += bytes;
                if now >= from + COUNTED_NS {
                    break got as f64 * 8.0 / (now - from) as f64;
                }
            }
        }
    };
    drop((there, link));
    let _ = writer.join();
    Ok(gbit)
}

/// Median of a byte there and back, ms.
fn round_trip(asked: &scenario::Link) -> Result<f64, Box<dyn Error>> {
    let (link, mut here, mut there) = linked(asked)?;
    let echo = std::thread::spawn(move || {
        let mut byte = [0];
        while there.read_exact(&mut byte).is_ok() && there.write_all(&byte).is_ok() {}
    });
    let mut times = Vec::new();
    for _ in 0..PINGS {
        sleep_until(monotonic_ns() + 1_000_000);
        let sent = monotonic_ns();
        here.write_all(&[1])?;
        here.read_exact(&mut [0])?;
        times.push((monotonic_ns() - sent) as f64 / 1e6);
    }
    drop((here, link));
    let _ = echo.join();
    times.sort_by(f64::total_cmp);
    Ok(times[PINGS / 2])
}
