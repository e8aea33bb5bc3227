//! One QEMU process that we started: in a process group of its own, so that Ctrl-C reaches us and not it.

use super::{LabError, system};
use crate::plan::Side;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// How much of its log is shown when it dies.
const LAST_LINES: usize = 6;

/// A QEMU. Killed when dropped.
#[derive(Debug)]
pub(super) struct Process {
    pid: u32,
    kill: oneshot::Sender<()>,
    watcher: JoinHandle<()>,
}

impl Process {
    /// Starts it; its output goes to `log`. Its end, unless we end it, is told to `exits`.
    pub(super) fn start(
        side: Side,
        program: &str,
        arguments: &[OsString],
        log: &Path,
        exits: mpsc::UnboundedSender<(Side, String)>,
    ) -> Result<Process, LabError> {
        let output = File::options().create(true).append(true).open(log).map_err(system(format!("{}", log.display())))?;
        let errors = output.try_clone().map_err(system(format!("{}", log.display())))?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| LabError::NoQemu { program: program.to_owned(), source })?;
        let pid = child.id().unwrap_or(0);
        let (kill, killed) = oneshot::channel();
        let watcher = tokio::spawn(watch(side, child, killed, exits, log.to_owned()));
        Ok(Process { pid, kill, watcher })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends it, and waits until it is gone.
    pub(super) async fn stop(self) {
        drop(self.kill);
        let _ = self.watcher.await;
    }
}

async fn watch(
    side: Side,
    mut child: Child,
    killed: oneshot::Receiver<()>,
    exits: mpsc::UnboundedSender<(Side, String)>,
    log: PathBuf,
) {
    tokio::select! {
        // Whoever holds the other end dropped it: by `stop`, or because the lab is gone.
        _ = killed => {
            let _ = child.start_kill();
            let _ = child.wait().await;
        }
        status = child.wait() => {
            let _ = exits.send((side, describe(status.ok(), &log)));
        }
    }
}

fn describe(status: Option<ExitStatus>, log: &Path) -> String {
    let ended = status.map_or_else(|| "ended".to_owned(), |status| format!("ended with {status}"));
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    if last.is_empty() {
        format!("QEMU {ended} and said nothing")
    } else {
        format!("QEMU {ended} and said: {}", last.join(" / "))
    }
}
