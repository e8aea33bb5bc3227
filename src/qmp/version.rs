//! The version of a QEMU, as its greeting gives it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A QEMU version without the distributor's package, such as `10.0.2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QemuVersion {
    /// The first number: QEMU raises it once a year.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number: a stable release, or 50 and more for a development version.
    pub micro: u32,
}

impl QemuVersion {
    /// The version `major.minor.micro`.
    #[must_use]
    pub const fn new(major: u32, minor: u32, micro: u32) -> QemuVersion {
        QemuVersion { major, minor, micro }
    }
}

impl From<(u32, u32, u32)> for QemuVersion {
    fn from((major, minor, micro): (u32, u32, u32)) -> QemuVersion {
        QemuVersion { major, minor, micro }
    }
}

impl fmt::Display for QemuVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_by_number_and_prints_with_dots() {
        assert!(QemuVersion::new(9, 2, 50) < QemuVersion::new(10, 0, 0));
        assert_eq!(QemuVersion::new(10, 0, 2).to_string(), "10.0.2");
    }
}
