//! A test's own directory: TMPDIR of the command under test, so that all it leaves behind can be
//! told from others'.

use base::Side;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};

/// Removed when dropped.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        // In /tmp whatever TMPDIR says: socket paths have room for 108 bytes.
        Scratch(tempfile::Builder::new().prefix("it-").tempdir_in("/tmp").unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A file with this text, executable if it is a script.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.join(name);
        fs::write(&path, text).unwrap();
        if text.starts_with("#!") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        path
    }

    /// Processes (QEMUs, janitors) and private directories of the command that are there although
    /// it has ended.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let files = fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        let mut found: Vec<String> = files.filter(|name| name.starts_with("switchover-")).collect();
        found.extend(self.processes().map(|(pid, words)| format!("process {pid}: {words}")));
        found
    }

    /// The command and its children: they inherit its TMPDIR. What the test itself started does not
    /// have it.
    fn processes(&self) -> impl Iterator<Item = (Pid, String)> {
        let wanted = format!("TMPDIR={}", self.path().display());
        let pids = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        pids.filter_map(move |pid: i32| {
            let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let environment = read("environ");
            let ours =
                environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes());
            ours.then(|| {
                (Pid::from_raw(pid), String::from_utf8_lossy(&read("cmdline")).replace('\0', " "))
            })
        })
    }

    /// Kills the QEMU of one side of the command's lab.
    pub(crate) fn kill_qemu(&self, side: Side) {
        let name = format!("-name switchover-{side} ");
        let (pid, _) = self.processes().find(|(_, words)| words.contains(&name)).unwrap();
        kill(pid, Signal::SIGKILL).unwrap();
    }

    /// Kills the children of whatever of the command's has these words in its command line. Gives
    /// how many those were.
    pub(crate) fn kill_children(&self, words: &str) -> usize {
        let parents: Vec<Pid> =
            self.processes().filter(|(_, line)| line.contains(words)).map(|(pid, _)| pid).collect();
        let children = parents.iter().map(|parent| {
            fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap()
        });
        let children: Vec<i32> = children
            .flat_map(|pids| pids.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect();
        children.iter().filter(|pid| kill(Pid::from_raw(**pid), Signal::SIGKILL).is_ok()).count()
    }

    pub(crate) fn assert_clean(&self) {
        let leftovers = self.leftovers();
        assert!(leftovers.is_empty(), "left behind: {leftovers:#?}");
    }
}
