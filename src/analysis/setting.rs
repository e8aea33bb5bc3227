//! A scenario key with the value that one cell of a campaign gives it. Pure.

use serde::{Deserialize, Serialize};

/// A scenario key and the value that it has in one cell, both as text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Setting {
    /// The scenario key with dots, such as `guest.rate`.
    pub key: String,
    /// The value as the campaign file has it, without quotes.
    pub value: String,
}

/// Joins settings into the name of a cell, such as `mode=postcopy link.preset=halifax`.
#[must_use]
pub fn join_settings<'a>(settings: impl IntoIterator<Item = &'a Setting>) -> String {
    settings
        .into_iter()
        .map(|setting| format!("{}={}", setting.key, setting.value))
        .collect::<Vec<_>>()
        .join(" ")
}
