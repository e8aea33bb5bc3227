//! What the VMs of a lab boot, by the kind of guest: found, checked and made ready before any QEMU starts.
//!
//! Takes the scenario and the lab's private directory; gives [`Boot`]. Knows nothing of how QEMU is told.

use super::overlay::{self, Image};
use super::probe::{GUEST_IMAGE, tsc_khz};
use super::{LabError, system};
use scenario::{Accel, DiskAccess, DiskFormat, GuestKind, OwnGuest, Scenario, serialized_name};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// What all VMs of a lab boot.
#[derive(Debug)]
pub(super) enum Boot {
    /// The micro-guest.
    Micro {
        /// Its image.
        image: PathBuf,
    },
    /// The Linux guest.
    Linux {
        kernel: PathBuf,
        initrd: PathBuf,
        /// Of the guest's TSC, where Linux could not find it out by itself.
        tsc_khz: Option<u64>,
    },
    /// The user's.
    Own { disk: Option<Disk> },
}

/// A disk that all VMs of the lab share.
#[derive(Debug)]
pub(super) struct Disk {
    /// The user's image.
    pub(super) image: PathBuf,
    pub(super) format: DiskFormat,
    pub(super) read_only: bool,
    /// Where writes go instead.
    pub(super) overlay: Option<PathBuf>,
}

impl Boot {
    /// The micro-guest, whatever the scenario says: to find something out about this machine.
    pub(super) fn micro(directory: &Path) -> Result<Boot, LabError> {
        let image = directory.join("guest.elf");
        std::fs::write(&image, GUEST_IMAGE).map_err(system("the guest's image"))?;
        Ok(Boot::Micro { image })
    }

    pub(super) async fn prepare(
        scenario: &Scenario,
        accel: Accel,
        directory: &Path,
    ) -> Result<Boot, LabError> {
        match scenario.guest.kind {
            GuestKind::Micro => Boot::micro(directory),
            GuestKind::Linux => linux(scenario, accel).await,
            GuestKind::Own => own(&scenario.guest.own, directory),
        }
    }
}

async fn linux(scenario: &Scenario, accel: Accel) -> Result<Boot, LabError> {
    let guest = &scenario.guest;
    let directory = Path::new(&guest.linux);
    let (kernel, initrd) = (
        directory.join("kernel"),
        directory.join(format!("initrd.{}", serialized_name(&guest.load))),
    );
    for file in [&kernel, &initrd] {
        File::open(file).map_err(|source| LabError::NoLinux { path: file.clone(), source })?;
    }
    // Under KVM, Linux asks the hypervisor. Under TCG it measures against clocks that microvm does not have.
    let tsc_khz = if accel == Accel::Tcg { Some(tsc_khz(scenario).await?) } else { None };
    Ok(Boot::Linux { kernel, initrd, tsc_khz })
}

fn own(guest: &OwnGuest, directory: &Path) -> Result<Boot, LabError> {
    for (key, path) in [("guest.kernel", &guest.kernel), ("guest.initrd", &guest.initrd)] {
        if let Some(path) = path {
            readable(key, Path::new(path))?;
        }
    }
    let disk =
        guest.disk.as_ref().map(|path| disk(guest, Path::new(path), directory)).transpose()?;
    Ok(Boot::Own { disk })
}

fn readable(key: &'static str, path: &Path) -> Result<File, LabError> {
    let unreadable = |source| LabError::NoFile { key, path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let is_directory = file.metadata().map_err(unreadable)?.is_dir();
    if is_directory { Err(unreadable(io::ErrorKind::IsADirectory.into())) } else { Ok(file) }
}

fn disk(guest: &OwnGuest, path: &Path, directory: &Path) -> Result<Disk, LabError> {
    let file = readable("guest.disk", path)?;
    let refused = |reason: String| LabError::Disk { path: path.to_owned(), reason };
    let image = Image::look(file).map_err(|source| LabError::NoFile {
        key: "guest.disk",
        path: path.to_owned(),
        source,
    })?;
    match (guest.disk_format, image.is_qcow2) {
        (DiskFormat::Raw, true) => {
            let why = "it begins as a qcow2 image does, and the guest would see and overwrite its tables as if they were its disk; say \
                       guest.disk_format = \"qcow2\"";
            return Err(refused(why.to_owned()));
        }
        (DiskFormat::Qcow2, false) => {
            return Err(refused(
                "it is no qcow2 image; say guest.disk_format = \"raw\"".to_owned(),
            ));
        }
        _ => {}
    }
    if guest.disk_access == DiskAccess::Overlay && image.bytes > overlay::LARGEST {
        let how = "an overlay of ours is for 64 TiB at most; say guest.disk_access = \"write\" or \"read-only\"";
        return Err(refused(format!("it says that it is {} bytes large; {how}", image.bytes)));
    }
    let image_path = std::path::absolute(path).map_err(system("this directory"))?;
    let overlay = match guest.disk_access {
        DiskAccess::Overlay => {
            let overlay = directory.join("disk.overlay");
            std::fs::write(&overlay, overlay::empty(image.bytes))
                .map_err(system("the disk's overlay"))?;
            Some(overlay)
        }
        DiskAccess::ReadOnly | DiskAccess::Write => None,
    };
    let read_only = guest.disk_access == DiskAccess::ReadOnly;
    Ok(Disk { image: image_path, format: guest.disk_format, read_only, overlay })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_of_another_format_than_said_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (raw, qcow2) = (directory.path().join("raw"), directory.path().join("qcow2"));
        std::fs::write(&raw, [0; 4096]).unwrap();
        std::fs::write(&qcow2, overlay::empty(1 << 20)).unwrap();
        let look = |path: &Path, disk_format| {
            let guest = OwnGuest { disk_format, ..OwnGuest::default() };
            disk(&guest, path, directory.path()).map_err(|error| error.to_string())
        };
        assert!(look(&raw, DiskFormat::Qcow2).unwrap_err().contains("it is no qcow2 image"));
        assert!(
            look(&qcow2, DiskFormat::Raw)
                .unwrap_err()
                .contains("say guest.disk_format = \"qcow2\"")
        );
        assert!(look(&raw, DiskFormat::Raw).unwrap().overlay.unwrap().is_file());
        assert!(look(&qcow2, DiskFormat::Qcow2).unwrap().overlay.is_some());
        assert!(look(directory.path(), DiskFormat::Raw).unwrap_err().contains("guest.disk"));
        let mut absurd = overlay::empty(1 << 20);
        absurd[24..32].fill(0xff);
        std::fs::write(&qcow2, absurd).unwrap();
        assert!(look(&qcow2, DiskFormat::Qcow2).unwrap_err().contains("64 TiB at most"));
    }
}
