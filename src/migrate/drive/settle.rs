//! After the loop: what is held against both sides' run states before it is said, and what is left
//! to do should the loop have broken.

use super::commands::cancel;
use super::connection::{COMMAND_TIMEOUT, TICK_INTERVAL};
use super::hold;
use super::machine::{Ending, Held};
use super::report::RunStates;
use qmp::{MigrationInfo, Session, Status};
use record::Outcome;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// A source whose post-copy failed early runs again by then, if it ever does.
const LOST_GRACE: Duration = Duration::from_secs(2);
/// The guest must run again on the source this long after a cancel or a failure.
const SETTLE: Duration = Duration::from_secs(5);

/// After a panic of the loop: cancels where that is safe, and waits until it is done.
pub(super) async fn rescue(
    [source, destination]: &[Session; 2],
    cancel_is_safe: bool,
    panic: &str,
) -> Ending {
    let ending = |outcome, reason: String| Ending {
        outcome,
        reason,
        postcopy_happened: false,
        let_go: false,
        passes: 0,
    };
    let broke = format!("switchover itself broke ({panic}); please report it");
    let before = status_of(source).await;
    if before.is_postcopy() || !cancel_is_safe {
        return ending(Outcome::Unknown, format!("{broke}. The migration goes on by itself"));
    }
    if !before.is_final() {
        match hold::hold(destination, &AtomicBool::new(false), COMMAND_TIMEOUT).await {
            Ok(Held::Waits) => {}
            // There it is, or may be.
            Ok(Held::Stopped | Held::Runs | Held::Stands) | Err(_) => {
                return ending(
                    Outcome::Unknown,
                    format!("{broke}. It was not cancelled: look at both QEMUs"),
                );
            }
        }
        let _ = source.execute(cancel(), COMMAND_TIMEOUT).await;
    }
    let wait = async {
        loop {
            let now = status_of(source).await;
            if now.is_final() || now == Status::None {
                return now;
            }
            tokio::time::sleep(TICK_INTERVAL).await;
        }
    };
    match tokio::time::timeout(2 * SETTLE, wait).await {
        Ok(Status::Completed) => {
            ending(Outcome::Unknown, format!("{broke}. The source says completed"))
        }
        Ok(_) => ending(Outcome::Failed, format!("{broke}. The migration was cancelled")),
        Err(_) => ending(Outcome::Unknown, format!("{broke}. The cancel is not confirmed")),
    }
}

/// Holds the ending against both sides' run states. A guest that shall be on the source is waited
/// for: QEMU starts it again a moment after it reports the cancel.
pub(super) async fn settle(
    sessions: &[Session; 2],
    ending: Ending,
    before: &str,
) -> (Ending, RunStates) {
    let (ending, states) = settled(sessions, ending, before).await;
    (with_a_way_out(ending, &states), states)
}

/// Before 10.2 a source whose start of post-copy fails stands for good. Only the destination can
/// say that it never had the guest.
fn with_a_way_out(ending: Ending, states: &RunStates) -> Ending {
    let stands = states.source.as_deref() == Some("finish-migrate");
    let never_had_it = states.destination.as_deref() == Some("inmigrate");
    if stands && never_had_it && matches!(ending.outcome, Outcome::Lost | Outcome::Unknown) {
        let reason = format!(
            "{}; the source has all of it: should it stand for good, `switchover revive` starts it there",
            ending.reason
        );
        return Ending { reason, ..ending };
    }
    ending
}

async fn settled(sessions: &[Session; 2], ending: Ending, before: &str) -> (Ending, RunStates) {
    if ending.outcome == Outcome::Lost {
        return not_lost_after_all(sessions, ending, before).await;
    }
    let [source, destination] = sessions;
    let stays =
        matches!(ending.outcome, Outcome::NotConverged | Outcome::Cancelled | Outcome::Failed);
    let mut states =
        RunStates { source: run_state(source).await, destination: run_state(destination).await };
    // QEMU 11.1 may report `completed` on both sides before it starts the guest of a short
    // post-copy.
    let starts = async {
        while ending.outcome == Outcome::Completed
            && states.destination.as_deref() == Some("inmigrate")
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
            states.destination = run_state(destination).await;
        }
    };
    let _ = tokio::time::timeout(SETTLE, starts).await;
    let wait = async {
        while stays && states.source.as_deref().is_some_and(|state| state != before) {
            tokio::time::sleep(Duration::from_millis(2)).await;
            states.source = run_state(source).await;
        }
    };
    let settled = tokio::time::timeout(SETTLE, wait).await.is_ok();
    let ending = match (settled, states.source.as_deref()) {
        (true, Some(_)) => ending,
        (true, None) if !stays => ending,
        (_, state) => {
            let state = state.unwrap_or("not to be had");
            let reason = format!(
                "{}; but the source's run state is {state}, not {before}: look at both QEMUs before doing anything",
                ending.reason
            );
            Ending { outcome: Outcome::Unknown, reason, ..ending }
        }
    };
    (ending, states)
}

async fn status_of(session: &Session) -> Status {
    session
        .query_migrate(COMMAND_TIMEOUT)
        .await
        .ok()
        .and_then(|info| info.status)
        .unwrap_or(Status::None)
}

/// Post-copy that fails early enough is no loss since 10.2: until the destination has loaded the
/// package (`postcopy-device`), the source still is the whole guest, and QEMU lets it run on. Its
/// run state, and the destination's, say whether that happened.
async fn not_lost_after_all(
    sessions: &[Session; 2],
    ending: Ending,
    before: &str,
) -> (Ending, RunStates) {
    let [source, destination] = sessions;
    let back = async {
        while run_state(source).await.is_some_and(|state| state != before) {
            tokio::time::sleep(TICK_INTERVAL).await;
        }
    };
    let _ = tokio::time::timeout(LOST_GRACE, back).await;
    let states =
        RunStates { source: run_state(source).await, destination: run_state(destination).await };
    let ending = match (states.source.as_deref() == Some(before), states.destination.as_deref()) {
        (false, _) => ending,
        (true, _) if ending.let_go => {
            let reason = format!(
                "{}; and the source runs an older copy, as it stood at the switchover: what the guest did since is lost, and its disks may be \
                 newer than its memory",
                ending.reason
            );
            Ending { outcome: Outcome::Unknown, reason, ..ending }
        }
        (true, Some("running")) => {
            let reason = format!(
                "{}; and both sides' VMs run: stop one before doing anything",
                ending.reason
            );
            Ending { outcome: Outcome::Unknown, reason, ..ending }
        }
        (true, _) => {
            let reason = format!("{}; QEMU let the guest run on, on the source", ending.reason);
            Ending { outcome: Outcome::Failed, reason, ..ending }
        }
    };
    (ending, states)
}

async fn run_state(session: &Session) -> Option<String> {
    session.run_state(COMMAND_TIMEOUT).await.ok()
}

/// Adds QEMU's own text to a failure: the destination's where it has one, as the source mostly
/// knows only that the stream broke.
pub(super) fn with_qemus_text(mut ending: Ending, last: &[Option<MigrationInfo>; 2]) -> Ending {
    let text =
        |side: &Option<MigrationInfo>| side.as_ref().and_then(|info| info.error_desc.clone());
    // A handshake that fails leaves the other side without a stream, of which it has no more to say
    // than that.
    let of_a_handshake =
        |text: &String| ["TLS", "ertificate"].iter().any(|word| text.contains(word));
    if ending.outcome == Outcome::Failed
        && let Some(text) = text(&last[0])
            .filter(of_a_handshake)
            .or_else(|| text(&last[1]))
            .or_else(|| text(&last[0]))
        && !ending.reason.contains(&text)
    {
        ending.reason = format!("{} (QEMU: {text})", ending.reason);
    }
    ending
}
