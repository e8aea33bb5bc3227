//! The list of scenario keys, and the error for a key that does not exist.

use super::ScenarioError;
use toml::{Table, Value};

/// Every key of a scenario except those in the free tables. A test compares it with the types.
pub(super) const KEYS: &[&str] = &[
    "mode",
    "transport",
    "uri",
    "incoming_uri",
    "channels",
    "incoming_channels",
    "timeout",
    "handover",
    "repeat",
    "qemu.source",
    "qemu.destination",
    "qemu.machine",
    "qemu.accel",
    "qemu.arguments",
    "guest.kind",
    "guest.memory",
    "guest.working_set",
    "guest.rate",
    "guest.pattern",
    "guest.content",
    "guest.touch",
    "guest.reads_percent",
    "guest.heartbeat",
    "guest.seed",
    "guest.hot_memory_percent",
    "guest.hot_writes_percent",
    "guest.zipf",
    "guest.inject_fault",
    "guest.load",
    "guest.load_memory",
    "guest.load_arguments",
    "guest.linux",
    "guest.kernel",
    "guest.initrd",
    "guest.append",
    "guest.disk",
    "guest.disk_format",
    "guest.disk_access",
    "guest.ready",
    "guest.ready_after",
    "limits.downtime",
    "limits.bandwidth",
    "limits.postcopy_bandwidth",
    "switch.after_pass",
    "switch.after",
    "finish.after_pass",
    "finish.after",
    "give_up.passes",
    "give_up.bytes",
    "give_up.after",
    "hooks.before_switchover",
    "hooks.after_switchover",
    "hooks.on_failure",
    "hooks.deadline",
    "recovery.attempts",
    "recovery.backoff",
    "recovery.stalled_after",
    "recovery.uri",
    "socket.send_buffer",
    "socket.receive_buffer",
    "socket.congestion",
    "socket.pacing",
    "socket.notsent_lowat",
    "socket.keep_alive",
    "tls.credentials",
    "tls.dir",
    "tls.source_dir",
    "tls.destination_dir",
    "tls.hostname",
    "tls.username",
    "tls.priority",
    "tls.verify_peer",
    "link.preset",
    "link.kind",
    "link.scale",
    "link.seed",
    "link.rate",
    "link.delay",
    "link.jitter",
    "link.window",
    "link.buffer",
    "link.back.rate",
    "link.back.delay",
    "link.back.jitter",
    "link.back.window",
    "link.back.buffer",
    "link.outages",
    "sampling.source",
    "sampling.destination",
    "record.transcript",
    "record.trace",
    "record.fault_trace",
];
/// Tables that accept any key, because the keys are QEMU's names.
const FREE_TABLES: &[&str] = &["capabilities", "parameters"];

/// Fails if the table has a key that does not exist, and suggests the most similar key.
pub(super) fn refuse_unknown(
    origin: &str,
    table: &Table,
    prefix: &str,
) -> Result<(), ScenarioError> {
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        let is_table = KEYS.iter().any(|known| known.starts_with(&format!("{key}.")));
        match value {
            Value::Table(_) if FREE_TABLES.contains(&key.as_str()) => {}
            Value::Table(inner) if is_table => refuse_unknown(origin, inner, &format!("{key}."))?,
            _ if KEYS.contains(&key.as_str()) => {}
            _ if is_table || FREE_TABLES.contains(&key.as_str()) => {
                let detail = format!("`{key}` is a table: write [{key}] and its keys below it");
                return Err(ScenarioError::Value { origin: origin.to_owned(), detail });
            }
            _ => {
                return Err(ScenarioError::UnknownKey {
                    origin: origin.to_owned(),
                    nearest: suggest_key(&key),
                    key,
                });
            }
        }
    }
    Ok(())
}

/// Returns `; did you mean ...?` for a key that is similar to a valid one, or whose last part is a
/// valid key of another table. For any other key, it returns how to list all keys.
fn suggest_key(key: &str) -> String {
    let last = key.rsplit('.').next().unwrap_or(key);
    let same_name = KEYS.iter().find(|known| known.rsplit('.').next() == Some(last));
    let closest = KEYS.iter().map(|known| (strsim::damerau_levenshtein(key, known), known)).min();
    match (same_name, closest) {
        (Some(known), _) => format!("; did you mean `{known}`?"),
        (None, Some((distance, known))) if distance <= 1 + key.len() / 3 => {
            format!("; did you mean `{known}`?")
        }
        _ => "; `switchover run --print-scenario` shows all keys. QEMU's own names go under \
              [capabilities] and [parameters]"
            .to_owned(),
    }
}
