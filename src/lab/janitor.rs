//! The clean-up that outlives us: a shell that waits for our end of a pipe to close, which the kernel does even for SIGKILL,
//! and then ends the QEMUs and removes the private directory and the network namespaces.
//!
//! Why not PR_SET_PDEATHSIG: it needs code between fork and exec (unsafe), and would leave the files.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Reads process ids, one a line, until end of file. A process is only ended if our directory is in its command line: a number
/// that has gone to somebody else's process by then is not.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
pids=
while read -r pid; do pids="$pids $pid"; done
for pid in $pids; do
  if grep -qsF -- "$DIRECTORY" "/proc/$pid/cmdline"; then kill -9 "$pid"; fi
done
rm -rf -- "$DIRECTORY"
for name in $NAMESPACES; do ip netns del "$name"; done
"#;

/// Holds the pipe.
#[derive(Debug)]
pub(super) struct Janitor {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Janitor {
    pub(super) fn start(directory: &Path, namespaces: &[String]) -> io::Result<Janitor> {
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
    pub(super) fn watch(&mut self, pid: u32) -> io::Result<()> {
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
