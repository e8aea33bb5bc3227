//! What a peer can make us hold. Pure.
//!
//! A QMP peer is whoever listens there: a QEMU with a hostile guest, or no QEMU at all. Each of
//! these limits is far from what a QEMU says, so what is beyond one ends the connection, with a
//! message; nothing more is read. Together they keep what one connection holds below 8 MiB,
//! whatever is sent (benches/hostile.rs): a line in the buffer, its value as a reply, and the
//! notices that wait.

use super::wire::Notice;
use serde_json::Value;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The longest line. `query-qmp-schema` of 11.1 is 0.2 MiB, and nothing else comes near
/// (fixtures/qmp).
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;
/// The longest line where only `query-migrate` is asked: 1 KiB, and 20 bytes for each vCPU in
/// post-copy (`postcopy-vcpu-blocktime`).
pub(super) const MAX_SAMPLE_BYTES: usize = 256 << 10;
/// Braces and brackets within each other. The schema has 5; serde_json would go to 128.
const MAX_DEPTH: usize = 64;
/// Values in a line: as a [`Value`], `[1,1,…]` takes 36 times its text. The schema of 11.1 has
/// 19,000.
const MAX_VALUES: usize = 64 << 10;
/// What may wait of events and unknown lines until somebody takes them: some 3,000 events of a
/// migration.
pub(super) const MAX_QUEUED_BYTES: usize = 2 << 20;
/// The longest event and the longest greeting; QEMU's have some hundred bytes. A longer one is a
/// line that we don't know.
pub(super) const MAX_EVENT_BYTES: usize = 32 << 10;
/// What is kept of a line that is no message we know.
pub(super) const MAX_UNKNOWN_BYTES: usize = 16 << 10;
/// What is kept of an error's text. QEMU's longest are some hundred bytes.
pub(super) const MAX_ERROR_BYTES: usize = 4 << 10;

/// A bound that a peer went beyond. Reads on after "it" (the connection's other end).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitExceeded {
    Length,
    SampleLength,
    Depth,
    Values,
    Queued,
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LimitExceeded::Length => {
                write!(f, "it sent a line of more than {} MiB", MAX_LINE_BYTES >> 20)
            }
            LimitExceeded::SampleLength => {
                write!(f, "it sent a line of more than {} KiB", MAX_SAMPLE_BYTES >> 10)
            }
            LimitExceeded::Depth => write!(f, "it sent a line nested more than {MAX_DEPTH} deep"),
            LimitExceeded::Values => write!(f, "it sent a line of more than {MAX_VALUES} values"),
            LimitExceeded::Queued => {
                write!(
                    f,
                    "it sent events faster than they were taken, and more than {} MiB of them wait",
                    MAX_QUEUED_BYTES >> 20
                )
            }
        }?;
        f.write_str(", which no QEMU does: it is broken, or means harm")
    }
}

/// How many values a line has and how deep it goes, or the bound that it is beyond. Looks before
/// anything is built of it; what is no JSON is counted as if it were.
pub(super) fn count_values(line: &[u8]) -> Result<usize, LimitExceeded> {
    let (mut depth, mut values) = (0usize, 1usize);
    let (mut in_text, mut escaped) = (false, false);
    for byte in line {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'{' | b'[') => {
                depth += 1;
                values += 1;
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            (false, b',') => values += 1,
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(LimitExceeded::Depth);
        }
    }
    if values > MAX_VALUES { Err(LimitExceeded::Values) } else { Ok(values) }
}

/// About what a notice takes in memory, made of a line with so many values.
pub(super) fn weight(notice: &Notice, line: &[u8], values: usize) -> usize {
    let held = match notice {
        Notice::Event(_) => line.len().saturating_add(values.saturating_mul(size_of::<Value>())),
        Notice::Unknown { line, .. } => line.len(),
    };
    held.saturating_add(size_of::<Notice>())
}

/// What waits to be taken.
#[derive(Debug, Default)]
pub(super) struct QueuedNotices(AtomicUsize);

impl QueuedNotices {
    /// Room for so much more, if there is.
    pub(super) fn add(&self, weight: usize) -> Result<(), LimitExceeded> {
        let fits =
            |waiting: usize| waiting.checked_add(weight).filter(|all| *all <= MAX_QUEUED_BYTES);
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, fits)
            .map(drop)
            .map_err(|_| LimitExceeded::Queued)
    }

    /// So much waits that who takes should have a turn before more is read.
    pub(super) fn is_nearly_full(&self) -> bool {
        self.0.load(Ordering::Acquire) > MAX_QUEUED_BYTES / 4
    }

    /// So much was taken.
    pub(super) fn take(&self, weight: usize) {
        self.0.fetch_sub(weight, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn count(value: &Value) -> usize {
        match value {
            Value::Array(all) => 1 + all.iter().map(count).sum::<usize>(),
            Value::Object(all) => 1 + all.values().map(count).sum::<usize>(),
            _ => 1,
        }
    }

    #[test]
    fn depth_and_number_are_bounded_and_text_counts_as_one() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(count_values(nested(MAX_DEPTH).as_bytes()), Ok(MAX_DEPTH + 1));
        assert_eq!(count_values(nested(MAX_DEPTH + 1).as_bytes()), Err(LimitExceeded::Depth));
        assert_eq!(
            count_values(format!("[{}1]", "1,".repeat(MAX_VALUES)).as_bytes()),
            Err(LimitExceeded::Values)
        );
        assert_eq!(count_values(format!("{:?}", "[{,\\\"".repeat(MAX_VALUES)).as_bytes()), Ok(1));
    }

    #[test]
    fn real_answers_are_far_from_the_bounds() {
        for schema in ["7.2", "10.0", "11.1"] {
            let path =
                format!("{}/../../fixtures/qmp/{schema}/schema.json", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read(path).unwrap();
            assert!(
                text.len() * 4 < MAX_LINE_BYTES && count_values(&text).unwrap() * 3 < MAX_VALUES,
                "{schema}"
            );
        }
    }

    #[test]
    fn what_waits_has_room_again_when_it_is_taken() {
        let waiting = QueuedNotices::default();
        assert_eq!(waiting.add(MAX_QUEUED_BYTES), Ok(()));
        assert_eq!((waiting.add(1), waiting.is_nearly_full()), (Err(LimitExceeded::Queued), true));
        waiting.take(MAX_QUEUED_BYTES);
        assert_eq!((waiting.add(1), waiting.add(usize::MAX)), (Ok(()), Err(LimitExceeded::Queued)));
    }

    proptest! {
        #[test]
        fn no_value_is_missed(text in "[\\[\\]{},:1\"\\\\]{0,60}") {
            if let (Ok(value), Ok(values)) = (serde_json::from_str::<Value>(&text), count_values(text.as_bytes())) {
                prop_assert!(values >= count(&value), "{text}");
            }
        }
    }
}
