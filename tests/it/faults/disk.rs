//! A small file system, to be filled.

use crate::harness::Scratch;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Unmounted when dropped.
pub(super) struct Disk(PathBuf);

impl Disk {
    /// `None`, with the reason printed, where we may not mount one.
    pub(super) fn mount(scratch: &Scratch) -> Option<Disk> {
        let at = scratch.join("disk");
        std::fs::create_dir(&at).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "switchover-faults"])
            .arg(&at)
            .output()
            .unwrap();
        if !mount.status.success() {
            println!(
                "not played: no small file system: {}",
                String::from_utf8_lossy(&mount.stderr).trim()
            );
            return None;
        }
        Some(Disk(at))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        // Large pieces first, and then what is left of the last page.
        for piece in [64 << 10, 1] {
            while file.write_all(&vec![1; piece]).is_ok() {}
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
