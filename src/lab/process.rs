//! One QEMU process. It has its own process group, so that Ctrl-C reaches only this program.

use super::{LabError, system};
use base::text::read_tail;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// Number of bytes read from the end of QEMU's log.
const MAX_LOG_BYTES: u64 = 16 << 10;
/// Number of log lines shown when QEMU exits.
const MAX_LOG_LINES: usize = 6;

/// Reports how a QEMU exited, unless we stopped it ourselves.
#[derive(Clone, Debug)]
pub struct Exited(watch::Receiver<Option<String>>);

impl Exited {
    /// Waits until QEMU exits by itself and returns a description. Never resolves if we stop QEMU.
    /// Cancel-safe.
    pub async fn wait(&mut self) -> String {
        let ended = self.0.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match ended {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }
}

/// A QEMU process. It is killed on drop.
#[derive(Debug)]
pub(super) struct Process {
    pid: u32,
    exited: Exited,
    kill: oneshot::Sender<()>,
    watcher: JoinHandle<()>,
}

impl Process {
    /// Starts `program`, in the network `namespace` if one is given, and appends its output to
    /// `log`.
    pub(super) fn start(
        program: &str,
        arguments: &[OsString],
        namespace: Option<&str>,
        log: &Path,
    ) -> Result<Process, LabError> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(system(format!("{}", log.display())))?;
        let errors = output.try_clone().map_err(system(format!("{}", log.display())))?;
        let mut command = match namespace {
            // `ip netns exec` replaces itself with the program, so the process id is QEMU's.
            Some(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name, program]);
                command
            }
            None => Command::new(program),
        };
        let child = command
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
        let (report, exited) = watch::channel(None);
        let watcher = tokio::spawn(watch(child, killed, report, log.to_owned()));
        Ok(Process { pid, exited: Exited(exited), kill, watcher })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn exited(&self) -> Exited {
        self.exited.clone()
    }

    /// Kills the process and waits for its exit.
    pub(super) async fn stop(self) {
        drop(self.kill);
        let _ = self.watcher.await;
    }
}

async fn watch(
    mut child: Child,
    killed: oneshot::Receiver<()>,
    exited: watch::Sender<Option<String>>,
    log: PathBuf,
) {
    tokio::select! {
        // The sender was dropped, by `stop` or with the lab.
        _ = killed => {
            let _ = child.start_kill();
            let _ = child.wait().await;
        }
        status = child.wait() => {
            let _ = exited.send(Some(describe(status.ok(), &log)));
        }
    }
}

fn describe(status: Option<ExitStatus>, log: &Path) -> String {
    let ended = status.map_or_else(|| "ended".to_owned(), |status| format!("ended with {status}"));
    let text = read_tail(log, MAX_LOG_BYTES);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(MAX_LOG_LINES)..];
    if last.is_empty() {
        format!("QEMU {ended} and printed nothing")
    } else {
        format!("QEMU {ended}; its last output: {}", last.join(" / "))
    }
}
