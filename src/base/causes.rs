//! Formats an error and its causes on one line.

use std::error::Error;

/// Joins the messages of an error and of its causes with `: `. A cause whose text the message
/// already contains is left out.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let message = next.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = next.source();
    }
    text
}
