//! Configuration of the user's own guest: what it boots, its disk, and when it is ready.

use base::units::Micros;
use serde::{Deserialize, Serialize};

/// What the user's own guest boots. QEMU resolves all paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OwnGuest {
    /// The kernel (`-kernel`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The kernel's initramfs (`-initrd`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initrd: Option<String>,
    /// The kernel's command line (`-append`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub append: Option<String>,
    /// The image of a disk, which both QEMUs open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    /// The format of the image.
    #[serde(skip_serializing_if = "is_default")]
    pub disk_format: DiskFormat,
    /// Whether the guest may write to the image.
    #[serde(skip_serializing_if = "is_default")]
    pub disk_access: DiskAccess,
    /// The text on the serial console that shows that the guest is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// The time from that text, or from the start of the guest, until it counts as ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_after: Option<Micros>,
}

/// The format of a disk image. It is never detected, because a guest could make its raw disk look
/// like another format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFormat {
    /// The bytes of the disk, without a header.
    #[default]
    Raw,
    /// QEMU's own format.
    Qcow2,
}

/// Whether the guest may write to a disk image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskAccess {
    /// The guest writes to a temporary file of the lab, which is deleted at the end.
    #[default]
    Overlay,
    /// The guest may only read.
    ReadOnly,
    /// The guest writes to the image itself.
    Write,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
