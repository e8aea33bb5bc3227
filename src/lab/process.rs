//! One QEMU process that we started: in a process group of its own, so that Ctrl-C reaches us and not it.

use super::{LabError, system};
use base::text::read_tail;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// Of its log, where its last lines are.
const LOOKED_AT: u64 = 16 << 10;
/// How much of its log is shown when it dies.
const LAST_LINES: usize = 6;

/// Tells how a QEMU ended that we did not end ourselves.
#[derive(Clone, Debug)]
pub struct Exited(watch::Receiver<Option<String>>);

impl Exited {
    /// Resolves when it has ended by itself; never, once we end it. Cancel-safe.
    pub async fn wait(&mut self) -> String {
        let ended = self.0.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match ended {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }
}

/// A QEMU. Killed when dropped.
#[derive(Debug)]
pub(super) struct Process {
    pid: u32,
    exited: Exited,
    kill: oneshot::Sender<()>,
    watcher: JoinHandle<()>,
}

impl Process {
    /// Starts it, in a network namespace if one is named; its output goes to `log`.
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
            // It becomes the program: the process id is QEMU's.
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
        let (tell, exited) = watch::channel(None);
        let watcher = tokio::spawn(watch(child, killed, tell, log.to_owned()));
        Ok(Process { pid, exited: Exited(exited), kill, watcher })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn exited(&self) -> Exited {
        self.exited.clone()
    }

    /// Ends it, and waits until it is gone.
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
        // Whoever holds the other end dropped it: by `stop`, or because the lab is gone.
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
    let text = read_tail(log, LOOKED_AT);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    if last.is_empty() {
        format!("QEMU {ended} and said nothing")
    } else {
        format!("QEMU {ended} and said: {}", last.join(" / "))
    }
}
