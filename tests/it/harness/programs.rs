//! QEMUs of three versions, by `qemu-scripts/qemu`, and the Linux guest, by
//! `qemu-scripts/linux-guest`.

use std::collections::HashMap;
use std::io::Write;
use std::process::Command;
use std::sync::{LazyLock, Mutex, OnceLock};

/// The program of a version. `None`, and said so on stderr, if real QEMUs are not wanted
/// (`SWITCHOVER_SKIP_REAL=1`).
///
/// Panics with the script's message if there is none: a test that silently does nothing proves
/// nothing.
pub(crate) fn qemu(version: &'static str) -> Option<&'static str> {
    if std::env::var_os("SWITCHOVER_SKIP_REAL").is_some_and(|value| value == "1") {
        skipped(&format!("it needs QEMU {version}, and SWITCHOVER_SKIP_REAL=1 is set"));
        return None;
    }
    static PROGRAMS: OnceLock<Mutex<HashMap<&str, Result<&'static str, String>>>> = OnceLock::new();
    let mut programs = PROGRAMS
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let program = programs.entry(version).or_insert_with(|| unpack(version)).clone();
    drop(programs);
    Some(program.unwrap_or_else(|error| {
        panic!("{error}\n(SWITCHOVER_SKIP_REAL=1 skips the tests that need real QEMUs)")
    }))
}

/// The directory of the Linux guest. `None`, and why on stderr, where Debian's packages cannot be
/// had: the guest is not needed for anything else, and not every machine that develops switchover
/// is a Debian with a network.
pub(crate) fn linux_guest() -> Option<&'static str> {
    static DIRECTORY: LazyLock<Result<String, String>> = LazyLock::new(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/qemu-scripts/linux-guest");
        let output = Command::new(script).output().map_err(|error| format!("{script}: {error}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    });
    let reason = |reason: &String| skipped(&format!("it needs the Linux guest: {reason}"));
    DIRECTORY.as_deref().map_err(reason).ok()
}

/// Not eprintln: the test harness would keep that to itself.
fn skipped(reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "skipped {test}: {reason}");
}

fn unpack(version: &str) -> Result<&'static str, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/qemu-scripts/qemu");
    let output =
        Command::new(script).arg(version).output().map_err(|error| format!("{script}: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "{script} {version}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned().leak())
}
