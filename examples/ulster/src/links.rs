//! Measures rows L1 to L3: the throughput of a plain sender over each of the paper's links, as
//! iperf measures it, and the round trip of one byte. The links have an eighth of the paper's
//! rates, so the measured rates are multiplied by eight.

use base::clock::{monotonic_ns, sleep_until};
use lab::link::Link;
use migrate::sockets::unix_pair;
use scenario::LinkPreset;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use ulster::Throughput;

const REPEATS: u32 = 10;
const SCALE: u32 = 8;
/// The time in which the buffers fill, before bytes are counted.
const WARM_UP_NS: u64 = 300_000_000;
const MEASURED_NS: u64 = 1_000_000_000;
const PINGS: usize = 20;

pub(crate) fn measure(out: &Path) -> Result<(), Box<dyn Error>> {
    let mut text = String::new();
    // The links take turns, so that a drift affects all of them alike.
    for _ in 0..REPEATS {
        for (name, preset) in [
            ("local", LinkPreset::Local),
            ("dublin", LinkPreset::Dublin),
            ("halifax", LinkPreset::Halifax),
        ] {
            let settings = scenario::Link { preset, scale: SCALE, ..scenario::Link::default() };
            let measured = Throughput {
                link: name.to_owned(),
                gbit: measure_throughput(&settings)? * f64::from(SCALE),
                round_trip_ms: measure_round_trip(&settings)?,
            };
            let _ = writeln!(text, "{}", serde_json::to_string(&measured)?);
        }
    }
    Ok(std::fs::write(out, text)?)
}

/// Starts a link and returns it with its two ends.
fn start_link(settings: &scenario::Link) -> Result<(Link, UnixStream, UnixStream), Box<dyn Error>> {
    let link = Link::start(settings, |_| ())?;
    let ([here, near], [far, there]) = (unix_pair()?, unix_pair()?);
    link.join([near, far])?;
    Ok((link, here.into(), there.into()))
}

/// Measures the rate of arriving bytes in Gb/s.
fn measure_throughput(settings: &scenario::Link) -> Result<f64, Box<dyn Error>> {
    let (link, mut here, mut there) = start_link(settings)?;
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
                if now >= from + MEASURED_NS {
                    break got as f64 * 8.0 / (now - from) as f64;
                }
            }
        }
    };
    drop((there, link));
    let _ = writer.join();
    Ok(gbit)
}

/// Measures the median round trip of one byte in milliseconds.
fn measure_round_trip(settings: &scenario::Link) -> Result<f64, Box<dyn Error>> {
    let (link, mut here, mut there) = start_link(settings)?;
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
    Ok(f64::midpoint(times[PINGS / 2 - 1], times[PINGS / 2]))
}
