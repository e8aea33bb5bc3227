//! The text of `switchover inspect`.

use migrate::inspect::{Difference, Inspection};
use serde_json::Value;
use std::fmt::Write;

/// Formats one QEMU's settings, or two QEMUs' settings and their differences.
#[must_use]
pub fn format_inspection(inspections: &[Inspection], differences: &[Difference]) -> String {
    let mut text = String::new();
    for qemu in inspections {
        push_inspection(&mut text, qemu);
    }
    if inspections.len() == 2 {
        let _ = writeln!(text, "differences: {}", if differences.is_empty() { "none" } else { "" });
        for difference in differences {
            let Difference { kind, name, first, second } = difference;
            let _ = writeln!(
                text,
                "  {:<11} {name:<28} {:<16} {}",
                kind.name(),
                format_known(first),
                format_known(second)
            );
        }
    }
    text
}

fn push_inspection(text: &mut String, qemu: &Inspection) {
    let package =
        if qemu.package.is_empty() { String::new() } else { format!(" ({})", qemu.package) };
    let _ = writeln!(text, "{}: QEMU {}{package}", qemu.endpoint, qemu.version);
    let oob = if qemu.oob { "out-of-band commands work" } else { "no out-of-band commands" };
    let _ = writeln!(text, "  VM {}, migration {}, {oob}", qemu.run_state, qemu.status);
    for reason in &qemu.blocked_reasons {
        let _ = writeln!(text, "  cannot migrate: {reason}");
    }
    let named = |on: bool| {
        let names: Vec<&str> = qemu
            .capabilities
            .iter()
            .filter(|(_, state)| **state == on)
            .map(|(name, _)| name.as_str())
            .collect();
        if names.is_empty() { "none".to_owned() } else { names.join(" ") }
    };
    let _ = writeln!(text, "  capabilities on:  {}", named(true));
    let _ = writeln!(text, "  capabilities off: {}", named(false));
    let _ = writeln!(text, "  parameters:");
    for (name, value) in &qemu.parameters {
        let _ = writeln!(text, "    {name:<28} {}", format_value(value));
    }
    let _ = writeln!(text, "  cannot be combined:");
    for (first, second, why) in &qemu.conflicts {
        let _ = writeln!(text, "    {first} + {second}: {why}");
    }
}

fn format_value(value: &Value) -> String {
    match value {
        Value::Null => "not set".to_owned(),
        Value::String(text) if text.is_empty() => "not set".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn format_known(value: &Option<Value>) -> String {
    value.as_ref().map_or_else(|| "unknown".to_owned(), format_value)
}
