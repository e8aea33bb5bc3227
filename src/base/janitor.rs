//! Private directories, and the clean-up that outlives us: a shell that waits for our end of a pipe to close, which the kernel does even
//! for SIGKILL, and then ends the processes that we started and removes the directory and the network namespaces.
//!
//! Why not PR_SET_PDEATHSIG: it needs code between fork and exec (unsafe), and would leave the files.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// `sun_path` holds 108 bytes; our longest name in a private directory has 24.
const LONGEST_DIRECTORY: usize = 80;

/// A fresh directory that nobody else may look into: QMP is root on the guest, nobody else may reach the sockets.
pub fn private_directory() -> io::Result<tempfile::TempDir> {
    let parents = [
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from),
        Some(std::env::temp_dir()),
        Some(PathBuf::from("/tmp")),
    ];
    let fits =
        |parent: &PathBuf| parent.is_dir() && parent.as_os_str().len() + 32 < LONGEST_DIRECTORY;
    let mut last = io::Error::new(
        io::ErrorKind::NotFound,
        "neither XDG_RUNTIME_DIR, TMPDIR nor /tmp is of use",
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

/// Reads process ids, one a line, until end of file. A process is only ended if our directory is in its command line: a number
/// that has gone to somebody else's process by then is not.
///
/// Killed is not yet gone, and whoever waits for the janitor wants nothing left; so it looks again until the process is not there, or a zombie (its
/// parent, we, may be waiting here), for 5 s at most. A command line is empty also for a moment in the middle of exec, so that means nothing.
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

/// Holds the pipe.
#[derive(Debug)]
pub struct Janitor {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Janitor {
    /// Starts the process that ends everything registered with it, and removes `directory` and
    /// `namespaces`, once this process has ended.
    ///
    /// # Errors
    /// If no process can be started.
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

    /// This process too, when we are gone.
    pub fn watch(&mut self, pid: u32) -> io::Result<()> {
        self.pipe.as_mut().map_or(Ok(()), |pipe| writeln!(pipe, "{pid}"))
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        // Closing the pipe sets it to work; what we have ended and removed ourselves is no work any more.
        self.pipe = None;
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Busy and of low priority, so that some time passes between the signal and its end.
    fn busy(directory: &Path) -> Busy {
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
    fn when_it_is_done_what_it_ended_is_gone() {
        for _ in 0..20 {
            let directory = private_directory().unwrap();
            let mut janitor = Janitor::start(directory.path(), &[]).unwrap();
            let mut busy = busy(directory.path());
            janitor.watch(busy.0.id()).unwrap();
            drop(janitor);
            assert!(busy.0.try_wait().unwrap().is_some(), "it still runs");
            assert!(!directory.path().exists());
        }
    }
}
