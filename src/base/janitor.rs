//! Private directories, and a janitor process that cleans up even if this process is killed.
//!
//! The janitor is a shell that reads from a pipe. The kernel closes our end when this process ends,
//! even by SIGKILL. The janitor then kills the processes that we started, and removes the directory
//! and the network namespaces.
//!
//! PR_SET_PDEATHSIG is no alternative: it needs unsafe code between fork and exec, and it would
//! leave the files.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// A socket's path (`sun_path`) holds 108 bytes; our longest name in a private directory has 24.
const MAX_DIRECTORY_BYTES: usize = 80;

/// Creates a new directory that only this user can enter. Whoever reaches a QMP socket in it
/// controls the guest.
///
/// # Errors
/// The error of the last directory that was tried.
pub fn create_private_directory() -> io::Result<tempfile::TempDir> {
    let parents = [
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from),
        Some(std::env::temp_dir()),
        Some(PathBuf::from("/tmp")),
    ];
    let fits =
        |parent: &PathBuf| parent.is_dir() && parent.as_os_str().len() + 32 < MAX_DIRECTORY_BYTES;
    let mut last = io::Error::new(
        io::ErrorKind::NotFound,
        "no directory for sockets: XDG_RUNTIME_DIR, TMPDIR and /tmp are missing or their paths are \
         too long; set TMPDIR to a short path",
    );
    for parent in parents.into_iter().flatten().filter(fits) {
        // tempfile makes directories with mode 0700.
        match tempfile::Builder::new().prefix("switchover-").tempdir_in(&parent) {
            Ok(directory) => return Ok(directory),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The janitor's script. It reads process ids, one per line, until the pipe is closed.
///
/// It kills a process only if our directory is in its command line, because the id may by then
/// belong to another process. A killed process takes a while to disappear, and a caller that waits
/// for the janitor expects that nothing is left. So the script checks again until the process is
/// gone or a zombie (we are its parent and may be waiting here), for at most 5 s. During exec a
/// command line is empty for a moment, so an empty one proves nothing.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
pids=
while read -r pid; do pids="$pids $pid"; done
for pid in $pids; do
  looks=500
  while [ $looks -gt 0 ] && [ -e "/proc/$pid" ] && ! grep -qs '^State:.Z' "/proc/$pid/status"; do
    if grep -qsF -- "$DIRECTORY" "/proc/$pid/cmdline"; then
      kill -9 "$pid"
    elif grep -qs . "/proc/$pid/cmdline"; then
      break
    fi
    looks=$((looks - 1))
    sleep 0.01
  done
done
rm -rf -- "$DIRECTORY"
for name in $NAMESPACES; do ip netns del "$name"; done
"#;

/// A running janitor process. It cleans up when this is dropped, or when this process ends.
#[derive(Debug)]
pub struct Janitor {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Janitor {
    /// Starts the janitor for `directory` and the named network namespaces.
    ///
    /// # Errors
    /// The system's error if the shell cannot be started.
    pub fn start(directory: &Path, namespaces: &[String]) -> io::Result<Janitor> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "switchover-janitor"])
            .env("DIRECTORY", directory)
            .env("NAMESPACES", namespaces.join(" "))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let pipe = child.stdin.take();
        Ok(Janitor { child, pipe })
    }

    /// Adds a process that the janitor kills when it cleans up.
    ///
    /// # Errors
    /// The system's error if the pipe cannot be written.
    pub fn watch(&mut self, pid: u32) -> io::Result<()> {
        self.pipe.as_mut().map_or(Ok(()), |pipe| writeln!(pipe, "{pid}"))
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        // Closing the pipe starts the clean-up. It skips what we have already ended and removed.
        self.pipe = None;
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts a busy process of low priority, so that some time passes between SIGKILL and its end.
    fn start_busy_process(directory: &Path) -> Busy {
        let script = format!("exec nice -n 19 sh -c 'while :; do :; done' {}", directory.display());
        Busy(
            Command::new("sh")
                .args(["-c", &script])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    struct Busy(Child);

    impl Drop for Busy {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn leaves_no_process_and_no_directory_when_it_is_done() {
        for _ in 0..20 {
            let directory = create_private_directory().unwrap();
            let mut janitor = Janitor::start(directory.path(), &[]).unwrap();
            let mut busy = start_busy_process(directory.path());
            janitor.watch(busy.0.id()).unwrap();
            drop(janitor);
            assert!(busy.0.try_wait().unwrap().is_some(), "it still runs");
            assert!(!directory.path().exists());
        }
    }
}
