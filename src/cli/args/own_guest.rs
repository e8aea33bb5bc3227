//! The flags of `run` for a guest that the user brings.

use clap::Args;
use scenario::{Loader, ScenarioError};

const HEADING: &str = "A guest of your own";

/// A guest that the user brings to the lab. `--kernel`, `--initrd`, `--append` or `--disk` imply
/// `guest.kind = "own"`.
#[derive(Debug, Args)]
pub(super) struct OwnGuestArgs {
    /// Kernel of a guest of your own (QEMU's -kernel).
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    kernel: Option<String>,
    /// Initramfs of your guest (QEMU's -initrd).
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    initrd: Option<String>,
    /// Kernel command line of your guest (QEMU's -append).
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help_heading = HEADING)]
    append: Option<String>,
    /// Disk image that both QEMUs open. What the guest writes to it is discarded, unless
    /// guest.disk_access says otherwise. Set the format with guest.disk_format (default: raw).
    #[arg(long, value_name = "IMAGE", help_heading = HEADING)]
    disk: Option<String>,
    /// Text on the guest's serial console that shows that the guest has booted.
    #[arg(long, value_name = "TEXT", help_heading = HEADING)]
    ready: Option<String>,
    /// More arguments for both QEMUs, after `--`.
    #[arg(last = true, value_name = "QEMU ARGUMENTS", help_heading = HEADING)]
    arguments: Vec<String>,
}

impl OwnGuestArgs {
    /// Sets the scenario keys of the flags that were given.
    pub(super) fn set_keys(&self, loader: &mut Loader) -> Result<(), ScenarioError> {
        let boot = [
            ("--kernel", "guest.kernel", &self.kernel),
            ("--initrd", "guest.initrd", &self.initrd),
            ("--append", "guest.append", &self.append),
            ("--disk", "guest.disk", &self.disk),
        ];
        if boot.iter().any(|(_, _, text)| text.is_some()) {
            loader.set_value("guest.kind", "own")?;
        }
        for (flag, key, text) in boot.into_iter().chain([("--ready", "guest.ready", &self.ready)]) {
            if let Some(text) = text {
                loader.set_by_flag(&format!("{flag} {text}"), key, text.as_str())?;
            }
        }
        if !self.arguments.is_empty() {
            loader.set_by_flag(
                "the arguments after --",
                "qemu.arguments",
                self.arguments.clone(),
            )?;
        }
        Ok(())
    }
}
