//! What a guest dirties, by QEMU's `calc-dirty-rate`: it samples pages, and compares their hashes
//! after a while.
//!
//! It changes nothing and costs the guest next to nothing. It cannot run twice at a time, and it is
//! blind to writes that leave a page as it was. Its other modes are no way out: `dirty-bitmap` says
//! 0 under TCG and interferes with migration, `dirty-ring` needs a KVM that was started for it
//! (docs/qemu-notes.md, "Dirty-rate measurement").

use super::{CaptureError, DEADLINE};
use base::units::Bytes;
use model::{Dirtied, Measured};
use qmp::{QemuVersion, Session};
use serde_json::{Value, json};
use std::time::Duration;

/// ms. The short ones tell the rate, the long ones the working set.
const PERIODS: [u64; 6] = [100, 200, 400, 800, 1600, 3000];
/// Before 8.2 it takes whole seconds.
const WHOLE_SECONDS: [u64; 3] = [1000, 2000, 3000];
/// Pages that are looked at in all; QEMU's own 512 a GiB would be 128 of a small VM.
const PAGES: f64 = 32768.0;
/// What QEMU takes, of each GiB.
const LEAST: f64 = 512.0;
const MOST: f64 = 16384.0;
const MIB: f64 = 1_048_576.0;
const POLL: Duration = Duration::from_millis(20);

/// Measures, in some 6 s.
pub(super) async fn measure(session: &Session, ram: f64) -> Result<Measured, CaptureError> {
    let fine = session.greeting().version >= QemuVersion::new(8, 2, 0);
    let periods: &[u64] = if fine { &PERIODS } else { &WHOLE_SECONDS };
    let mut dirtied = Vec::new();
    for period_ms in periods {
        let seconds = *period_ms as f64 / 1000.0;
        dirtied.push(Dirtied {
            seconds,
            bytes: one(session, *period_ms, fine, sample_pages(ram)).await? * seconds,
        });
    }
    Ok(Measured { dirtied, ram: Bytes(model::whole(ram)) })
}

/// Of each GiB.
fn sample_pages(ram: f64) -> u64 {
    model::whole((PAGES * 1024.0 * MIB / ram.max(1.0)).clamp(LEAST, MOST))
}

/// Bytes a second over one period.
async fn one(
    session: &Session,
    period_ms: u64,
    fine: bool,
    pages: u64,
) -> Result<f64, CaptureError> {
    let mut arguments = json!({ "calc-time": if fine { period_ms } else { period_ms / 1000 }, "sample-pages": pages });
    if fine {
        arguments["calc-time-unit"] = "millisecond".into();
    }
    let _: Value = session.ask("calc-dirty-rate", arguments, DEADLINE).await?;
    let polls = (Duration::from_millis(period_ms) + DEADLINE).as_millis() / POLL.as_millis();
    for _ in 0..polls {
        tokio::time::sleep(POLL).await;
        let answer: Value = session.ask("query-dirty-rate", json!({}), DEADLINE).await?;
        if answer["status"] == "measured" {
            // Whole MiB/s, rounded down: on average half of one is missing.
            let rate = answer["dirty-rate"].as_u64().filter(|rate| *rate > 0);
            return Ok(rate.map_or(0.0, |rate| (rate as f64 + 0.5) * MIB));
        }
    }
    Err(CaptureError::Unended(period_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_vm_is_sampled_as_densely_as_qemu_allows_and_a_large_one_no_thinner_than_usual() {
        assert_eq!([256.0 * MIB, 8.0 * 1024.0 * MIB, 1e12].map(sample_pages), [16384, 4096, 512]);
    }
}
