//! A unix socket of another host, brought here by the system's `ssh`.
//!
//! Takes a [`Remote`]; gives a connected socket and a [`Tunnel`], with which `ssh` ends. Knows
//! nothing of QMP.
//!
//! Why `-L` and a socket in a private directory, and not `-W`, which needs neither: it takes paths
//! only since OpenSSH 9.4. That nothing remains when we are killed is the janitor's work.

use super::endpoint::{Remote, is_plain_path};
use base::janitor::{Janitor, create_private_directory};
use base::text::read_tail;
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Instead of `ssh`, for tests and for who needs another.
const SSH_PROGRAM_VARIABLE: &str = "SWITCHOVER_SSH";
/// Between two looks whether the socket is there.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// So many looks: logging in takes some round trips, and `ssh` itself gives up after 10 s where
/// nobody answers.
pub(super) const MAX_POLLS: u32 = 2000;
/// Of its log, where its last lines are.
const LOG_TAIL_BYTES: u64 = 4 << 10;
/// How much of what it said is told.
const LOG_TAIL_LINES: usize = 4;

/// Whatever the user's configuration says: no questions, no shell, nothing else forwarded, no
/// connection shared with others (it would keep our socket when we are gone), and an end when
/// nobody answers for a minute.
const OPTIONS: &[&str] = &[
    "-aNTx",
    "-oBatchMode=yes",
    "-oExitOnForwardFailure=yes",
    "-oControlMaster=no",
    "-oControlPath=none",
    "-oPermitLocalCommand=no",
    "-oStreamLocalBindMask=0177",
    "-oConnectTimeout=10",
    "-oServerAliveInterval=15",
    "-oServerAliveCountMax=4",
];

/// A running `ssh`, and the private directory with its socket. Both go when it is dropped.
#[derive(Debug)]
pub(super) struct Tunnel {
    // Behind a lock for `said` alone, which looks whether it has ended.
    child: Mutex<Child>,
    // In this order: the directory goes first, then the janitor has nothing left to do.
    directory: tempfile::TempDir,
    _janitor: Janitor,
}

impl Tunnel {
    /// Starts `ssh`; the socket is not there yet.
    pub(super) fn start(remote: &Remote) -> io::Result<Tunnel> {
        let Remote { user, host, path } = remote;
        let directory = create_private_directory()?;
        let local = directory.path().join("qmp");
        let Some(local) = local.to_str().filter(|local| is_plain_path(local)) else {
            let problem = format!(
                "ssh cannot make a socket in {}: set TMPDIR to a plainer name",
                directory.path().display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        };
        let mut janitor = Janitor::start(directory.path(), &[])?;
        let errors = File::create(directory.path().join("ssh.log"))?;
        let program = std::env::var_os(SSH_PROGRAM_VARIABLE).unwrap_or_else(|| "ssh".into());
        let destination =
            user.as_ref().map_or_else(|| host.clone(), |user| format!("{user}@{host}"));
        let child = Command::new(&program)
            .args(OPTIONS)
            .arg(format!("-L{local}:{path}"))
            .args(["--", &destination])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            // Ctrl-C is for us: a migration is still to be cancelled through it.
            .process_group(0)
            .spawn()
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("{} cannot be started: {error}", program.display()),
                )
            })?;
        let _ = janitor.watch(child.id());
        Ok(Tunnel { child: Mutex::new(child), directory, _janitor: janitor })
    }

    /// The connection, `None` as long as there is no socket, or how `ssh` ended.
    pub(super) fn try_connect(&self) -> io::Result<Option<UnixStream>> {
        match UnixStream::connect(self.socket()) {
            Ok(stream) => Ok(Some(stream)),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                match self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait()? {
                    Some(status) => Err(io::Error::other(format!(
                        "ssh ended with {status}{}",
                        self.recent_log()
                    ))),
                    None => Ok(None),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// What `ssh` said of late, for a message: `; ssh said: ...`, or nothing.
    pub(super) fn recent_log(&self) -> String {
        let text = read_tail(&self.directory.path().join("ssh.log"), LOG_TAIL_BYTES);
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..] {
            [] => String::new(),
            last => format!("; ssh said: {}", last.join(" / ")),
        }
    }

    /// There was no socket in time.
    pub(super) fn timeout_error(&self) -> io::Error {
        io::Error::new(
            io::ErrorKind::TimedOut,
            format!(
                "ssh did not get there in {:?}{}",
                POLL_INTERVAL * MAX_POLLS,
                self.recent_log()
            ),
        )
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("qmp")
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}
