//! A test's own directory: TMPDIR of the command under test, so that all it leaves behind can be told from others'.

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

    /// Processes (QEMUs, janitors) and private directories of the command that are there although it has ended.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let files = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        let mut found: Vec<String> = files.filter(|name| name.starts_with("switchover-")).collect();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            // The command's children inherit its TMPDIR. What the test itself started does not have it.
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            let wanted = format!("TMPDIR={}", self.path().display());
            if environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()) {
                let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                found.push(format!("{}: {}", entry.path().display(), String::from_utf8_lossy(&words).replace('\0', " ")));
            }
        }
        found
    }

    pub(crate) fn assert_clean(&self) {
        let leftovers = self.leftovers();
        assert!(leftovers.is_empty(), "left behind: {leftovers:#?}");
    }
}
