//! A pair of QEMUs that migrates and does not come to an end, with a QMP socket that clients use in
//! turn.
//!
//! The library's own lab gives its sampling connection away once, and a QMP socket takes one client
//! at a time; here the socket listens, so that different clients can ask the same QEMU about the
//! same migration.

use super::Result;
use base::clock::{monotonic_ns, sleep_until};
use qmp::{BlockingSession, Endpoint};
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);
/// Less than the guest dirties, and 10 minutes for its working set.
const BANDWIDTH: u64 = 128 << 10;

/// A process that ends when this is dropped, and when we are killed: then the pipe to the shell
/// beside it ends.
struct Killed(Child, Child);

impl Drop for Killed {
    fn drop(&mut self) {
        for child in [&mut self.0, &mut self.1] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The pair. The source is `active` as long as it lives.
pub(crate) struct Migrating {
    control: BlockingSession,
    directory: tempfile::TempDir,
    _processes: [Killed; 2],
}

impl Migrating {
    /// Starts both, waits for the guest, starts the migration.
    pub(crate) fn start(program: &str) -> Result<Migrating> {
        let directory = tempfile::tempdir()?;
        let log = |side: &str| {
            std::fs::read_to_string(directory.path().join(format!("{side}.log")))
                .unwrap_or_default()
        };
        match Migrating::bring_up(program, directory.path()) {
            Ok((control, processes)) => Ok(Migrating { control, directory, _processes: processes }),
            Err(error) => {
                Err(format!("{error}; QEMU said: {}{}", log("source"), log("destination")).into())
            }
        }
    }

    fn bring_up(program: &str, directory: &Path) -> Result<(BlockingSession, [Killed; 2])> {
        let at = |name: &str| directory.join(name);
        let processes = [
            spawn(program, directory, "source", &[])?,
            spawn(program, directory, "destination", &["-incoming", "defer"])?,
        ];
        let mut source = connect(&at("source.control"))?;
        let mut destination = connect(&at("destination.control"))?;
        until("the guest is ready", || {
            Ok(std::fs::read_to_string(at("source.console"))?.contains("ready"))
        })?;

        let uri = format!("unix:{}", at("migrate").display());
        ask(&mut destination, "migrate-incoming", json!({ "uri": uri }))?;
        ask(&mut source, "migrate-set-parameters", json!({ "max-bandwidth": BANDWIDTH }))?;
        ask(&mut source, "migrate", json!({ "uri": uri }))?;
        until("the migration is active", || Ok(status(&mut source)? == "active"))?;
        Ok((source, processes))
    }

    /// Where to ask.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("source.samples")
    }

    /// An error unless it is still migrating; the length of one answer if it is.
    pub(crate) fn still_active(&mut self) -> Result<usize> {
        let answer = ask(&mut self.control, "query-migrate", Value::Null)?;
        if answer["return"]["status"] != "active" {
            return Err(format!("the migration is not active any more: {answer}").into());
        }
        Ok(answer.to_string().len())
    }
}

fn spawn(program: &str, directory: &Path, side: &str, more: &[&str]) -> Result<Killed> {
    let image = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/guest/micro-guest.elf");
    let mut command = Command::new(program);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-m", "256M", "-smp", "1"]);
    command.args([
        "-machine",
        "microvm,accel=tcg,isa-serial=on,pit=on,pic=on,rtc=off,auto-kernel-cmdline=off",
    ]);
    for name in ["control", "samples"] {
        let path = directory.join(format!("{side}.{name}"));
        command.args([
            "-chardev",
            &format!("socket,id={name},path={},server=on,wait=off", path.display()),
        ]);
        command.args(["-mon", &format!("chardev={name},mode=control")]);
    }
    let console = directory.join(format!("{side}.console"));
    command.args([
        "-chardev",
        &format!("file,id=console,path={}", console.display()),
        "-serial",
        "chardev:console",
    ]);
    command.args([
        "-chardev",
        "null,id=beats",
        "-device",
        "isa-debugcon,iobase=0xe9,chardev=beats",
    ]);
    command
        .args(["-kernel", image, "-append", "working_set=67108864 rate=52428800 pattern=random"])
        .args(more);
    // What they say when they are killed is of no interest.
    let log = std::fs::File::create(directory.join(format!("{side}.log")))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    let watch = ["-c", "read -r _; kill -9 \"$0\"", &child.id().to_string()];
    // In a group of its own, or Ctrl-C would end it before it can do its work.
    let shell = Command::new("sh")
        .args(watch)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    Ok(Killed(child, shell))
}

/// Connects as soon as the socket is there.
fn connect(path: &Path) -> Result<BlockingSession> {
    until(&format!("{} is there", path.display()), || Ok(path.exists()))?;
    let mut connection = None;
    until("it takes a client", || {
        connection =
            BlockingSession::connect("bench", &Endpoint::Unix(path.to_owned()), DEADLINE).ok();
        Ok(connection.is_some())
    })?;
    connection.ok_or_else(|| "no connection".into())
}

fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let began_ns = monotonic_ns();
    while !holds()? {
        if u128::from(monotonic_ns() - began_ns) > DEADLINE.as_nanos() {
            return Err(format!("waited {DEADLINE:?} until {what}").into());
        }
        sleep_until(monotonic_ns() + 2_000_000);
    }
    Ok(())
}

fn status(qmp: &mut BlockingSession) -> Result<String> {
    let answer = ask(qmp, "query-migrate", Value::Null)?;
    Ok(answer["return"]["status"].as_str().unwrap_or_default().to_owned())
}

/// Sends a command; gives its answer, passing over events.
fn ask(qmp: &mut BlockingSession, command: &str, arguments: Value) -> Result<Value> {
    let mut request = json!({ "execute": command });
    if !arguments.is_null() {
        request["arguments"] = arguments;
    }
    qmp.send(request.to_string().as_bytes())?;
    loop {
        let answer: Value = serde_json::from_slice(qmp.read_line()?.0)?;
        if let Some(error) = answer.get("error") {
            return Err(format!("{command}: {error}").into());
        }
        if answer.get("return").is_some() {
            return Ok(answer);
        }
    }
}
