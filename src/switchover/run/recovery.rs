//! What a run knows of a post-copy that broke: from the source's events, and the decisions.

use super::switchovers::Recorded;
use base::Side;
use record::{EventRecord, Recovery};

/// `None` if none broke.
pub(super) fn recovery(recorded: &Recorded) -> Option<Recovery> {
    let decided =
        |what: &str| recorded.decided.iter().filter(|action| *action == what).count() as u64;
    let (attempts, recovered) = (decided("recover"), decided("recovered"));
    let paused = paused_ns(&recorded.events);
    (attempts > 0 || paused.is_some()).then(|| Recovery {
        attempts,
        recovered,
        paused_us: paused.flatten().map(|ns| ns / 1000),
    })
}

/// From each first `postcopy-paused` of the source to its next `postcopy-active`, in all.
/// `Some(None)` if it never went on.
fn paused_ns(events: &[EventRecord]) -> Option<Option<u64>> {
    let (mut since_ns, mut sum_ns, mut broke) = (None, None, false);
    for event in events.iter().filter(|event| event.side == Side::Source) {
        match (event.status(), since_ns) {
            (Some("postcopy-paused"), None) => (since_ns, broke) = (Some(event.mono_ns), true),
            (Some("postcopy-active"), Some(began_ns)) => {
                *sum_ns.get_or_insert(0) += event.mono_ns.saturating_sub(began_ns);
                since_ns = None;
            }
            _ => {}
        }
    }
    broke.then_some(sum_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(mono_ns: u64, status: &str) -> EventRecord {
        let line = format!(
            r#"{{"side": "source", "event": "MIGRATION", "data": {{"status": "{status}"}}, "qemu_us": null, "mono_ns": {mono_ns}}}"#
        );
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn the_time_counts_from_the_break_to_when_it_goes_on_whatever_was_tried_in_between() {
        let story = |states: &[(u64, &str)]| {
            states.iter().map(|(at, status)| event(*at, status)).collect::<Vec<_>>()
        };
        assert_eq!(paused_ns(&story(&[(1, "active"), (5, "completed")])), None);
        assert_eq!(
            paused_ns(&story(&[(1, "postcopy-active"), (5, "postcopy-paused")])),
            Some(None)
        );
        let tried = [
            (1, "postcopy-active"),
            (5, "postcopy-paused"),
            (6, "postcopy-recover-setup"),
            (7, "postcopy-paused"),
            (9, "postcopy-active"),
        ];
        assert_eq!(paused_ns(&story(&tried)), Some(Some(4)));
        let twice = [
            (5, "postcopy-paused"),
            (9, "postcopy-active"),
            (20, "postcopy-paused"),
            (21, "postcopy-active"),
        ];
        assert_eq!(paused_ns(&story(&twice)), Some(Some(5)));
    }
}
