//! Measures what a running guest dirties, by QEMU's `calc-dirty-rate`, which samples pages and compares their hashes.
//!
//! Takes a session to the source; gives how much was dirtied over several periods. It changes nothing and costs the guest next to nothing,
//! but it cannot run during a migration, and it is blind to writes that leave a page as it was.

use crate::convergence::{Dirtied, Measured};
use crate::qmp::{QmpError, Request, Session};
use crate::units::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

/// ms. The short ones tell the rate, the long ones the working set.
const PERIODS: [u64; 6] = [100, 200, 400, 800, 1600, 3000];
/// Before 8.2 it takes whole seconds.
const WHOLE_SECONDS: [u64; 3] = [1000, 2000, 4000];
/// Of each GiB; the default 512 is too few for a small VM.
const SAMPLE_PAGES: u64 = 8192;
const DEADLINE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadError {
    /// QEMU did not do it.
    #[error("the dirty rate could not be measured")]
    Qmp(#[from] QmpError),
    /// It was begun and never ended.
    #[error("calc-dirty-rate over {0} ms did not end; is a migration running?")]
    Unended(u64),
}

/// Measures, in some 7 s.
///
/// # Errors
/// [`WorkloadError`].
pub async fn measure(session: &Session) -> Result<Measured, WorkloadError> {
    let memory: Value = session.ask("query-memory-size-summary", json!({}), DEADLINE).await?;
    let mut measured = Measured { ram: Bytes(memory["base-memory"].as_u64().unwrap_or(0)), ..Measured::default() };
    let fine = session.greeting().version >= (8, 2, 0);
    let periods: &[u64] = if fine { &PERIODS } else { &WHOLE_SECONDS };
    for period_ms in periods {
        let rate = one(session, *period_ms, fine).await?;
        let seconds = *period_ms as f64 / 1000.0;
        measured.dirtied.push(Dirtied { seconds, bytes: rate as f64 * 1_048_576.0 * seconds });
    }
    Ok(measured)
}

/// MiB a second over one period.
async fn one(session: &Session, period_ms: u64, fine: bool) -> Result<u64, WorkloadError> {
    let mut arguments = json!({ "calc-time": if fine { period_ms } else { period_ms / 1000 }, "sample-pages": SAMPLE_PAGES });
    if fine {
        arguments["calc-time-unit"] = "millisecond".into();
    }
    session.execute(Request::raw("calc-dirty-rate", arguments), DEADLINE).await?;
    let polls = (Duration::from_millis(period_ms) + DEADLINE).as_millis() / POLL.as_millis();
    for _ in 0..polls {
        tokio::time::sleep(POLL).await;
        let answer: Value = session.ask("query-dirty-rate", json!({}), DEADLINE).await?;
        if answer["status"] == "measured" {
            return Ok(answer["dirty-rate"].as_u64().unwrap_or(0));
        }
    }
    Err(WorkloadError::Unended(period_ms))
}
