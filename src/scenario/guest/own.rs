//! A guest of the user's: what QEMU boots, which disk it has, how one sees that it is up.

use base::units::Micros;
use serde::{Deserialize, Serialize};

/// What a guest of the user's boots. All paths are as QEMU finds them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OwnGuest {
    /// A kernel (`-kernel`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Its initramfs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initrd: Option<String>,
    /// Its command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub append: Option<String>,
    /// An image of a disk, which both QEMUs open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    /// How the image is written.
    #[serde(skip_serializing_if = "is_default")]
    pub disk_format: DiskFormat,
    /// What may happen to it.
    #[serde(skip_serializing_if = "is_default")]
    pub disk_access: DiskAccess,
    /// The guest is ready when it has written this on its serial console.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// It is ready so long after that, or after its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_after: Option<Micros>,
}

/// How a disk's image is written. Never guessed: a guest could make its raw disk look like another format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFormat {
    /// The disk byte by byte.
    #[default]
    Raw,
    /// QEMU's own.
    Qcow2,
}

/// What may happen to a disk's image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskAccess {
    /// The guest may write; what it writes goes to a file of the lab's, and is thrown away with it.
    #[default]
    Overlay,
    /// The guest may only read.
    ReadOnly,
    /// The guest writes the image itself.
    Write,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
