//! The flags of a guest of the user's own, for `run`.

use clap::Args;
use switchover::scenario::{Loader, ScenarioError};

/// A guest of the user's in the lab. Any of the first four says that it is one (guest.kind = "own").
#[derive(Debug, Args)]
pub(super) struct OwnArgs {
    /// A guest of your own: its kernel (QEMU's -kernel).
    #[arg(long, value_name = "FILE", help_heading = "A guest of your own")]
    kernel: Option<String>,
    /// Its initramfs.
    #[arg(long, value_name = "FILE", help_heading = "A guest of your own")]
    initrd: Option<String>,
    /// Its kernel's command line.
    #[arg(
        long,
        value_name = "WORDS",
        allow_hyphen_values = true,
        help_heading = "A guest of your own"
    )]
    append: Option<String>,
    /// A disk image that both QEMUs open; what the guest writes is thrown away (guest.disk_access, guest.disk_format).
    #[arg(long, value_name = "IMAGE", help_heading = "A guest of your own")]
    disk: Option<String>,
    /// It is up when it has written this on its serial console.
    #[arg(long, value_name = "TEXT", help_heading = "A guest of your own")]
    ready: Option<String>,
    /// More arguments of both QEMUs, after --.
    #[arg(last = true, value_name = "QEMU ARGUMENTS", help_heading = "A guest of your own")]
    arguments: Vec<String>,
}

impl OwnArgs {
    /// Each flag is a key.
    pub(super) fn set(&self, loader: &mut Loader) -> Result<(), ScenarioError> {
        let boots = [
            ("guest.kernel", &self.kernel),
            ("guest.initrd", &self.initrd),
            ("guest.append", &self.append),
            ("guest.disk", &self.disk),
        ];
        if boots.iter().any(|(_, text)| text.is_some()) {
            loader.set_text("guest.kind", "own")?;
        }
        for (key, text) in boots.into_iter().chain([("guest.ready", &self.ready)]) {
            if let Some(text) = text {
                loader.set_text(key, text)?;
            }
        }
        if !self.arguments.is_empty() {
            loader.set_value("qemu.arguments", self.arguments.clone())?;
        }
        Ok(())
    }
}
