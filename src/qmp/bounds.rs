//! What a peer can make us hold. Pure.
//!
//! A QMP peer is whoever listens there: a QEMU with a hostile guest, or no QEMU at all. Each of these bounds is far from what a QEMU says, so what is
//! beyond one ends the connection, with a message; nothing more is read. Together they keep what one connection holds below 8 MiB, whatever is
//! sent (benches/hostile.rs): a line in the buffer, its value as a reply, and the notices that wait.

use super::wire::Notice;
use serde_json::Value;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The longest line. `query-qmp-schema` of 11.1 is 0.2 MiB, and nothing else comes near (fixtures/qmp).
pub(super) const LONGEST_LINE: usize = 1 << 20;
/// The longest line where only `query-migrate` is asked: 1 KiB, and 20 bytes for each vCPU in post-copy (`postcopy-vcpu-blocktime`).
pub(super) const LONGEST_SAMPLE: usize = 256 << 10;
/// Braces and brackets within each other. The schema has 5; serde_json would go to 128.
const DEEPEST: usize = 64;
/// Values in a line: as a [`Value`], `[1,1,…]` takes 36 times its text. The schema of 11.1 has 19,000.
const MOST_VALUES: usize = 64 << 10;
/// What may wait of events and unknown lines until somebody takes them: some 3,000 events of a migration.
pub(super) const MOST_WAITING: usize = 2 << 20;
/// The longest event and the longest greeting; QEMU's have some hundred bytes. A longer one is a line that we don't know.
pub(super) const LONGEST_EVENT: usize = 32 << 10;
/// What is kept of a line that is no message we know.
pub(super) const UNKNOWN_KEPT: usize = 16 << 10;
/// What is kept of an error's text. QEMU's longest are some hundred bytes.
pub(super) const ERROR_KEPT: usize = 4 << 10;

/// A bound that a peer went beyond. Reads on after "it" (the connection's other end).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beyond {
    Length,
    SampleLength,
    Depth,
    Values,
    Waiting,
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Beyond::Length => write!(f, "it sent a line of more than {} MiB", LONGEST_LINE >> 20),
            Beyond::SampleLength => {
                write!(f, "it sent a line of more than {} KiB", LONGEST_SAMPLE >> 10)
            }
            Beyond::Depth => write!(f, "it sent a line nested more than {DEEPEST} deep"),
            Beyond::Values => write!(f, "it sent a line of more than {MOST_VALUES} values"),
            Beyond::Waiting => {
                write!(
                    f,
                    "it sent events faster than they were taken, and more than {} MiB of them wait",
                    MOST_WAITING >> 20
                )
            }
        }?;
        f.write_str(", which no QEMU does: it is broken, or means harm")
    }
}

/// How many values a line has and how deep it goes, or the bound that it is beyond. Looks before anything is built of it; what is no JSON is counted as
/// if it were.
pub(super) fn values_of(line: &[u8]) -> Result<usize, Beyond> {
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
        if depth > DEEPEST {
            return Err(Beyond::Depth);
        }
    }
    if values > MOST_VALUES { Err(Beyond::Values) } else { Ok(values) }
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
pub(super) struct Waiting(AtomicUsize);

impl Waiting {
    /// Room for so much more, if there is.
    pub(super) fn add(&self, weight: usize) -> Result<(), Beyond> {
        let fits = |waiting: usize| waiting.checked_add(weight).filter(|all| *all <= MOST_WAITING);
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, fits)
            .map(drop)
            .map_err(|_| Beyond::Waiting)
    }

    /// So much waits that who takes should have a turn before more is read.
    pub(super) fn is_much(&self) -> bool {
        self.0.load(Ordering::Acquire) > MOST_WAITING / 4
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
        assert_eq!(values_of(nested(DEEPEST).as_bytes()), Ok(DEEPEST + 1));
        assert_eq!(values_of(nested(DEEPEST + 1).as_bytes()), Err(Beyond::Depth));
        assert_eq!(
            values_of(format!("[{}1]", "1,".repeat(MOST_VALUES)).as_bytes()),
            Err(Beyond::Values)
        );
        assert_eq!(values_of(format!("{:?}", "[{,\\\"".repeat(MOST_VALUES)).as_bytes()), Ok(1));
    }

    #[test]
    fn real_answers_are_far_from_the_bounds() {
        for schema in ["7.2", "10.0", "11.1"] {
            let path = format!("{}/fixtures/qmp/{schema}/schema.json", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read(path).unwrap();
            assert!(
                text.len() * 4 < LONGEST_LINE && values_of(&text).unwrap() * 3 < MOST_VALUES,
                "{schema}"
            );
        }
    }

    #[test]
    fn what_waits_has_room_again_when_it_is_taken() {
        let waiting = Waiting::default();
        assert_eq!(waiting.add(MOST_WAITING), Ok(()));
        assert_eq!((waiting.add(1), waiting.is_much()), (Err(Beyond::Waiting), true));
        waiting.take(MOST_WAITING);
        assert_eq!((waiting.add(1), waiting.add(usize::MAX)), (Ok(()), Err(Beyond::Waiting)));
    }

    proptest! {
        #[test]
        fn no_value_is_missed(text in "[\\[\\]{},:1\"\\\\]{0,60}") {
            if let (Ok(value), Ok(values)) = (serde_json::from_str::<Value>(&text), values_of(text.as_bytes())) {
                prop_assert!(values >= count(&value), "{text}");
            }
        }
    }
}
