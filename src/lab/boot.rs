//! Finds and checks the files that the VMs of a lab boot, before any QEMU starts.
//!
//! `command_line` turns the resulting [`Boot`] into arguments of QEMU.

use super::overlay::{self, Image};
use super::probe::{GUEST_IMAGE, measure_tsc_khz};
use super::{LabError, system};
use scenario::{Accel, DiskAccess, DiskFormat, GuestKind, OwnGuest, Scenario, serialized_name};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Files that all VMs of a lab boot from.
#[derive(Debug)]
pub(super) enum Boot {
    /// The built-in micro-guest.
    Micro {
        /// Path of the ELF image.
        image: PathBuf,
    },
    /// The Linux guest.
    Linux {
        kernel: PathBuf,
        initrd: PathBuf,
        /// Frequency of the guest's TSC in kHz; `None` where Linux finds it out by itself.
        tsc_khz: Option<u64>,
    },
    /// The user's own guest.
    Own { disk: Option<Disk> },
}

/// A disk that all VMs of the lab share.
#[derive(Debug)]
pub(super) struct Disk {
    /// Path of the user's image.
    pub(super) image: PathBuf,
    pub(super) format: DiskFormat,
    pub(super) read_only: bool,
    /// Overlay that takes the guest's writes; `None` if they go to the image.
    pub(super) overlay: Option<PathBuf>,
}

impl Boot {
    /// Writes the image of the micro-guest to `directory`, whatever guest the scenario names.
    pub(super) fn write_micro_guest(directory: &Path) -> Result<Boot, LabError> {
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
            GuestKind::Micro => Boot::write_micro_guest(directory),
            GuestKind::Linux => prepare_linux(scenario, accel).await,
            GuestKind::Own => prepare_own(&scenario.guest.own, directory),
        }
    }
}

async fn prepare_linux(scenario: &Scenario, accel: Accel) -> Result<Boot, LabError> {
    let guest = &scenario.guest;
    let directory = Path::new(&guest.linux);
    let (kernel, initrd) = (
        directory.join("kernel"),
        directory.join(format!("initrd.{}", serialized_name(&guest.load))),
    );
    for file in [&kernel, &initrd] {
        File::open(file).map_err(|source| LabError::NoLinux { path: file.clone(), source })?;
    }
    // Under KVM, Linux reads the frequency from the hypervisor. Under TCG it would measure it with
    // clocks that microvm does not have.
    let tsc_khz = if accel == Accel::Tcg { Some(measure_tsc_khz(scenario).await?) } else { None };
    Ok(Boot::Linux { kernel, initrd, tsc_khz })
}

fn prepare_own(guest: &OwnGuest, directory: &Path) -> Result<Boot, LabError> {
    for (key, path) in [("guest.kernel", &guest.kernel), ("guest.initrd", &guest.initrd)] {
        if let Some(path) = path {
            open_file(key, Path::new(path))?;
        }
    }
    let disk = guest
        .disk
        .as_ref()
        .map(|path| check_disk(guest, Path::new(path), directory))
        .transpose()?;
    Ok(Boot::Own { disk })
}

fn open_file(key: &'static str, path: &Path) -> Result<File, LabError> {
    let unreadable = |source| LabError::NoFile { key, path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let is_directory = file.metadata().map_err(unreadable)?.is_dir();
    if is_directory { Err(unreadable(io::ErrorKind::IsADirectory.into())) } else { Ok(file) }
}

fn check_disk(guest: &OwnGuest, path: &Path, directory: &Path) -> Result<Disk, LabError> {
    let file = open_file("guest.disk", path)?;
    let refused = |reason: String| LabError::Disk { path: path.to_owned(), reason };
    let image = Image::read(file).map_err(|source| LabError::NoFile {
        key: "guest.disk",
        path: path.to_owned(),
        source,
    })?;
    match (guest.disk_format, image.is_qcow2) {
        (DiskFormat::Raw, true) => {
            let why = "it begins like a qcow2 image, and as a raw disk the guest could overwrite \
                       its tables; set guest.disk_format = \"qcow2\"";
            return Err(refused(why.to_owned()));
        }
        (DiskFormat::Qcow2, false) => {
            return Err(refused(
                "it is not a qcow2 image; set guest.disk_format = \"raw\"".to_owned(),
            ));
        }
        _ => {}
    }
    if guest.disk_access == DiskAccess::Overlay && image.bytes > overlay::MAX_DISK_BYTES {
        let how = "an overlay supports at most 64 TiB; set guest.disk_access = \"write\" or \
                   \"read-only\"";
        return Err(refused(format!("its size is {} bytes; {how}", image.bytes)));
    }
    let image_path = std::path::absolute(path).map_err(system("this directory"))?;
    let overlay = match guest.disk_access {
        DiskAccess::Overlay => {
            let overlay = directory.join("disk.overlay");
            std::fs::write(&overlay, overlay::create_empty(image.bytes))
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
    fn refuses_a_disk_whose_format_differs_from_the_setting() {
        let directory = tempfile::tempdir().unwrap();
        let (raw, qcow2) = (directory.path().join("raw"), directory.path().join("qcow2"));
        std::fs::write(&raw, [0; 4096]).unwrap();
        std::fs::write(&qcow2, overlay::create_empty(1 << 20)).unwrap();
        let check = |path: &Path, disk_format| {
            let guest = OwnGuest { disk_format, ..OwnGuest::default() };
            check_disk(&guest, path, directory.path()).map_err(|error| error.to_string())
        };
        assert!(check(&raw, DiskFormat::Qcow2).unwrap_err().contains("it is not a qcow2 image"));
        assert!(
            check(&qcow2, DiskFormat::Raw)
                .unwrap_err()
                .contains("set guest.disk_format = \"qcow2\"")
        );
        assert!(check(&raw, DiskFormat::Raw).unwrap().overlay.unwrap().is_file());
        assert!(check(&qcow2, DiskFormat::Qcow2).unwrap().overlay.is_some());
        assert!(check(directory.path(), DiskFormat::Raw).unwrap_err().contains("guest.disk"));
        let mut oversized = overlay::create_empty(1 << 20);
        oversized[24..32].fill(0xff);
        std::fs::write(&qcow2, oversized).unwrap();
        assert!(check(&qcow2, DiskFormat::Qcow2).unwrap_err().contains("at most 64 TiB"));
    }
}
