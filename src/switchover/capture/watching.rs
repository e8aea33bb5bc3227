//! What a migration that goes on shows, through a session that somebody else's driver left free.

use super::{CaptureError, DEADLINE};
use analysis::{Observed, Watch};
use base::Side;
use base::clock::monotonic_ns;
use qmp::{Session, Status};
use record::{ConvergenceSample, SampleRow};
use std::time::Duration;

/// A pass takes 100 ms at least where max-bandwidth binds.
const POLL: Duration = Duration::from_millis(2);
/// Enough for a fit.
const PASSES: usize = 24;

/// Watches until enough was seen, the time is over, or the migration is.
pub(super) async fn watch(session: &Session, time: Duration) -> Result<Observed, CaptureError> {
    let (mut watch, began_ns) = (Watch::default(), monotonic_ns());
    while u128::from(monotonic_ns() - began_ns) < time.as_nanos() && watch.seen().later() < PASSES {
        let sent_ns = monotonic_ns();
        let info = session.query_migrate(DEADLINE).await?;
        if info.status != Some(Status::Active) {
            break;
        }
        let row =
            SampleRow { side: Side::Source, sent_ns, received_ns: monotonic_ns(), pass: 0, info };
        ConvergenceSample::of(&row).iter().for_each(|sample| watch.look(sample));
        tokio::time::sleep(POLL).await;
    }
    Ok(watch.end())
}
