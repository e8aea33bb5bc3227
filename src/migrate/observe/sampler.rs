//! Sampling `query-migrate` on one side, at a rate or flat out.
//!
//! On a QMP connection of its own a sampler is a blocking thread ([`Sampler`]): what it costs is
//! then one system call each way and the next query leaves before the last answer is looked at.
//! Where one connection is all there is, [`SharedSampler`] asks through the session, behind every
//! command that drives the migration.

use base::Side;
use base::clock::{Stamp, monotonic_ns};
use base::units::SampleRate;
use hdrhistogram::Histogram;
use qmp::{BlockingSession, MigrationInfo, Request, Session};
use record::{Entry, SampledSide, Sink, append_line};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const QUERY: &[u8] = br#"{"execute":"query-migrate"}"#;
/// A batch goes to the record when it is this large or this old.
const BATCH_BYTES: usize = 64 << 10;
const BATCH_AGE_NS: u64 = 100_000_000;
/// The latest sample is parsed at most this often; the driver reads it every 20 ms.
const PARSE_EVERY_NS: u64 = 10_000_000;
/// A sampler on a shared session that waits for its next slot checks this often whether it should
/// stop.
const STOP_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Answers that take longer are counted as this long.
const MAX_RTT_US: u64 = 600_000_000;
const SHARED_DEADLINE: Duration = Duration::from_secs(10);

/// The latest sample of one side, for the loop that drives.
#[derive(Clone, Debug, Default)]
pub struct Latest(Arc<Mutex<Option<(u64, MigrationInfo)>>>);

impl Latest {
    /// When it was asked for (ns) and what it says. Takes it: the same sample is not given twice.
    #[must_use]
    pub fn take(&self) -> Option<(u64, MigrationInfo)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, at_ns: u64, info: MigrationInfo) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((at_ns, info));
    }
}

/// What one sampler gathers: lines for the record, figures about itself.
#[derive(Debug)]
struct Log {
    side: Side,
    sink: Sink,
    latest: Latest,
    batch: Vec<u8>,
    batch_began_ns: u64,
    parsed_ns: u64,
    rtt_us: Option<Histogram<u64>>,
    first_ns: u64,
    last_ns: u64,
    longest_gap_ns: u64,
    samples: u64,
}

impl Log {
    fn new(side: Side, sink: Sink, latest: Latest) -> Log {
        Log {
            side,
            sink,
            latest,
            batch: Vec::with_capacity(BATCH_BYTES * 2),
            batch_began_ns: 0,
            parsed_ns: 0,
            // With bounds: a histogram that grows by itself clamps in `saturating_record` instead
            // of growing.
            rtt_us: Histogram::new_with_bounds(1, MAX_RTT_US, 3).ok(),
            first_ns: 0,
            last_ns: 0,
            longest_gap_ns: 0,
            samples: 0,
        }
    }

    /// `answer` is QEMU's line.
    fn add(&mut self, sent_ns: u64, received_ns: u64, pass: u64, answer: &[u8]) {
        if self.samples == 0 {
            (self.first_ns, self.batch_began_ns) = (received_ns, received_ns);
        } else {
            self.longest_gap_ns = self.longest_gap_ns.max(received_ns - self.last_ns);
        }
        self.samples += 1;
        self.last_ns = received_ns;
        if let Some(rtt) = &mut self.rtt_us {
            rtt.saturating_record((received_ns - sent_ns) / 1000);
        }
        append_line(&mut self.batch, self.side, sent_ns, received_ns, pass, answer);
        if received_ns - self.parsed_ns >= PARSE_EVERY_NS {
            self.parsed_ns = received_ns;
            self.publish(sent_ns, answer);
        }
        if self.batch.len() >= BATCH_BYTES || received_ns - self.batch_began_ns >= BATCH_AGE_NS {
            self.flush(received_ns);
        }
    }

    fn publish(&self, at_ns: u64, answer: &[u8]) {
        #[derive(serde::Deserialize)]
        struct Answer {
            #[serde(rename = "return")]
            value: MigrationInfo,
        }
        if let Ok(answer) = serde_json::from_slice::<Answer>(answer) {
            self.latest.put(at_ns, answer.value);
        }
    }

    fn flush(&mut self, now_ns: u64) {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_BYTES * 2));
        self.batch_began_ns = now_ns;
        if !batch.is_empty() {
            self.sink.give_and_wait(Entry::Samples(batch));
        }
    }

    fn finish(mut self) -> SampledSide {
        self.flush(self.last_ns);
        let quantile = |q| self.rtt_us.as_ref().map_or(0, |rtt| rtt.value_at_quantile(q));
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts and nanoseconds of one run fit into 53 bits"
        )]
        let per_second = |count: u64, span_ns: u64| {
            if span_ns == 0 { 0.0 } else { count as f64 * 1e9 / span_ns as f64 }
        };
        let rate_hz = per_second(self.samples.saturating_sub(1), self.last_ns - self.first_ns);
        SampledSide {
            samples: self.samples,
            rate_hz: (rate_hz * 10.0).round() / 10.0,
            rtt_p50_us: quantile(0.5),
            rtt_p99_us: quantile(0.99),
            rtt_max_us: self.rtt_us.as_ref().map_or(0, Histogram::max),
            longest_gap_us: self.longest_gap_ns / 1000,
        }
    }
}

/// When the next sample is due.
struct Schedule {
    period_ns: u64,
    due_ns: u64,
}

impl Schedule {
    fn new(rate: SampleRate) -> Schedule {
        let period_ns = match rate {
            SampleRate::Hertz(hz) => 1_000_000_000 / u64::from(hz),
            SampleRate::Max | SampleRate::Off => 0,
        };
        Schedule { period_ns, due_ns: monotonic_ns() }
    }

    /// The next slot that is not over; slots that were missed are not made up for.
    fn next(&mut self, now_ns: u64) -> u64 {
        if let Some(behind) = now_ns.saturating_sub(self.due_ns).checked_div(self.period_ns) {
            self.due_ns += (behind + 1) * self.period_ns;
        }
        self.due_ns
    }
}

/// A sampler on a connection of its own.
#[derive(Debug)]
pub struct Sampler {
    thread: JoinHandle<(SampledSide, Option<BlockingSession>)>,
    stop: Arc<AtomicBool>,
}

impl Sampler {
    /// Starts sampling. A connection that ends is the end of the samples, nothing else.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        side: Side,
        connection: BlockingSession,
        rate: SampleRate,
        sink: Sink,
        latest: Latest,
    ) -> io::Result<Sampler> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread =
            std::thread::Builder::new().name(format!("sample-{side}")).spawn(move || {
                let mut log = Log::new(side, sink, latest);
                let connection = match sample(connection, rate, &stopped, &mut log) {
                    Ok(connection) => Some(connection),
                    Err(error) => {
                        tracing::debug!(%side, %error, "sampling ended");
                        None
                    }
                };
                (log.finish(), connection)
            })?;
        Ok(Sampler { thread, stop })
    }

    /// Stops, and says how well it went. Gives the connection back if it is still there: no
    /// question is open on it.
    #[must_use]
    pub fn stop(self) -> (SampledSide, Option<BlockingSession>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_default()
    }
}

fn sample(
    mut qmp: BlockingSession,
    rate: SampleRate,
    stop: &AtomicBool,
    log: &mut Log,
) -> io::Result<BlockingSession> {
    let mut schedule = Schedule::new(rate);
    let mut answer = Vec::with_capacity(4096);
    let mut pass = 0;
    let mut sent_ns = qmp.send(QUERY)?;
    loop {
        let received_ns = loop {
            let (line, at) = qmp.read_line()?;
            if qmp::is_answer(line) {
                answer.clear();
                answer.extend_from_slice(line);
                break at.mono_ns;
            }
            pass = qmp::pass_of(line, at).unwrap_or(pass);
        };
        let previous_sent_ns = sent_ns;
        let flat_out = rate == SampleRate::Max && !stop.load(Ordering::Relaxed);
        let sent = flat_out.then(|| qmp.send(QUERY));
        log.add(previous_sent_ns, received_ns, pass, &answer);
        if let Some(sent) = sent {
            // Only now may it fail: a QEMU that is gone must not take its last answer along.
            sent_ns = sent?;
            continue;
        }
        let due_ns = schedule.next(received_ns);
        loop {
            if stop.load(Ordering::Relaxed) {
                return Ok(qmp);
            }
            let now_ns = monotonic_ns();
            if now_ns >= due_ns {
                break;
            }
            // Parked, not asleep: `stop` wakes it.
            std::thread::park_timeout(Duration::from_nanos(due_ns - now_ns));
        }
        sent_ns = qmp.send(QUERY)?;
    }
}

/// A sampler on the session that also drives the migration.
#[derive(Debug)]
pub struct SharedSampler {
    task: tokio::task::JoinHandle<SampledSide>,
    stop: Arc<AtomicBool>,
}

impl SharedSampler {
    /// Starts sampling. `pass` is the last MIGRATION_PASS, kept by whoever reads the session's
    /// events.
    #[must_use]
    pub fn start(
        session: Session,
        side: Side,
        rate: SampleRate,
        sink: Sink,
        latest: Latest,
        pass: Arc<AtomicU64>,
    ) -> SharedSampler {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut log = Log::new(side, sink, latest);
            let mut schedule = Schedule::new(rate);
            while !stopped.load(Ordering::Relaxed) {
                let sent_ns = monotonic_ns();
                let request = Request::typed(&qapi::qmp::query_migrate {});
                let Ok(value) = session.execute_in_background(request, SHARED_DEADLINE).await
                else {
                    break;
                };
                let received_ns = Stamp::now().mono_ns;
                log.add(
                    sent_ns,
                    received_ns,
                    pass.load(Ordering::Relaxed),
                    format!("{{\"return\":{value}}}").as_bytes(),
                );
                if rate == SampleRate::Max {
                    continue;
                }
                let wait_ns = schedule.next(received_ns).saturating_sub(monotonic_ns());
                tokio::time::sleep(Duration::from_nanos(wait_ns).min(STOP_CHECK_INTERVAL)).await;
            }
            log.finish()
        });
        SharedSampler { task, stop }
    }

    /// Stops, and says how well it went.
    pub async fn stop(self) -> SampledSide {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_of_any_length_are_counted_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let record = record::RunDir::create(&dir.path().join("run"), "", false).unwrap();
        let mut log = Log::new(Side::Source, record.sink(), Latest::default());
        for rtt_us in [1000, 2000, 17_000] {
            log.add(0, rtt_us * 1000, 0, b"{\"return\": {}}");
        }
        let report = log.finish();
        record.discard();
        let near = |value: u64, wanted: u64| value.abs_diff(wanted) <= wanted / 500;
        assert!(near(report.rtt_p50_us, 2000) && near(report.rtt_max_us, 17_000), "{report:?}");
    }

    #[test]
    fn missed_slots_are_not_made_up_for() {
        let mut schedule = Schedule { period_ns: 10, due_ns: 100 };
        assert_eq!(schedule.next(100), 110);
        assert_eq!(schedule.next(111), 120);
        assert_eq!(schedule.next(155), 160);
    }
}
