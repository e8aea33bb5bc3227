//! Why a campaign file cannot be used.

use scenario::ScenarioError;
use std::path::PathBuf;

/// Why a campaign file cannot be used. Nothing was run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DefinitionError {
    /// The file cannot be read.
    #[error("cannot read the campaign {path}")]
    Read {
        /// The path as it was opened.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The file is not TOML, or has an unknown key.
    #[error("{origin}: {detail}")]
    Syntax {
        /// Where the text came from: the path of the campaign file.
        origin: String,
        /// The place in the file, and what is wrong there.
        detail: String,
    },
    /// The values of a varied key are not usable.
    #[error("{origin}: {key} {problem}")]
    Axis {
        /// Where the text came from: the path of the campaign file.
        origin: String,
        /// The table and the key, such as `[vary] guest.rate`.
        key: String,
        /// The rule that the content breaks, with the value that was found.
        problem: String,
    },
    /// The file asks for nothing, or for something that a campaign cannot do.
    #[error("{origin}: {problem}")]
    Unsupported {
        /// Where the text came from: the path of the campaign file.
        origin: String,
        /// What is wrong, and what to write instead.
        problem: String,
    },
    /// The scenario of a cell, or the scenario file that it is based on, is wrong.
    #[error("{origin}: {place}")]
    Scenario {
        /// Where the text came from: the path of the campaign file.
        origin: String,
        /// The number and the name of the cell.
        place: String,
        /// What is wrong with the scenario.
        source: ScenarioError,
    },
}
