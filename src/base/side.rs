//! The two QEMU processes of a migration, and values that exist once for each.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Index, IndexMut};

/// One of the two QEMU processes of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The QEMU that runs the guest before the migration.
    Source,
    /// The QEMU that runs the guest after a completed migration.
    Destination,
}

impl Side {
    /// Both sides, the source first.
    pub const BOTH: [Side; 2] = [Side::Source, Side::Destination];

    /// `source` or `destination`, as in messages and in the files of the run directory.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Side::Source => "source",
            Side::Destination => "destination",
        }
    }

    /// The other side.
    #[must_use]
    pub fn peer(self) -> Side {
        match self {
            Side::Source => Side::Destination,
            Side::Destination => Side::Source,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A value for the source and one for the destination, indexed by [`Side`].
///
/// ```
/// # extern crate switchover_base as base;
/// use base::{PerSide, Side};
///
/// let mut retries = PerSide { source: 0, destination: 0 };
/// retries[Side::Destination] += 1;
/// assert_eq!(retries, PerSide { source: 0, destination: 1 });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerSide<T> {
    /// The value for the source.
    pub source: T,
    /// The value for the destination.
    pub destination: T,
}

impl<T> PerSide<T> {
    /// Makes the value of each side from its name, the source first.
    pub fn from_fn(mut make: impl FnMut(Side) -> T) -> PerSide<T> {
        let source = make(Side::Source);
        PerSide { source, destination: make(Side::Destination) }
    }

    /// Converts both values, the source first.
    pub fn map<U>(self, mut convert: impl FnMut(T) -> U) -> PerSide<U> {
        let source = convert(self.source);
        PerSide { source, destination: convert(self.destination) }
    }

    /// Borrows both values.
    pub fn as_ref(&self) -> PerSide<&T> {
        PerSide { source: &self.source, destination: &self.destination }
    }

    /// Iterates over both values with their sides, the source first.
    pub fn iter(&self) -> impl Iterator<Item = (Side, &T)> {
        Side::BOTH.into_iter().map(move |side| (side, &self[side]))
    }
}

impl<T> Index<Side> for PerSide<T> {
    type Output = T;

    fn index(&self, side: Side) -> &T {
        match side {
            Side::Source => &self.source,
            Side::Destination => &self.destination,
        }
    }
}

impl<T> IndexMut<Side> for PerSide<T> {
    fn index_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Source => &mut self.source,
            Side::Destination => &mut self.destination,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_per_side_is_indexed_converted_and_visited_by_side() {
        let mut names = PerSide::from_fn(Side::name);
        assert_eq!((names[Side::Source], names[Side::Destination]), ("source", "destination"));
        names[Side::Destination] = "there";
        assert_eq!(names.as_ref().map(|name| name.len()), PerSide { source: 6, destination: 5 });
        let sides: Vec<Side> = names.iter().map(|(side, _)| side).collect();
        assert_eq!(sides, Side::BOTH);
        assert_eq!(Side::Source.peer(), Side::Destination);
    }
}
