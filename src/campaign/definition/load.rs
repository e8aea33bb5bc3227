//! TOML to a definition.

use super::matrix::{self, Combination, Matrix, setting};
use super::{Cell, Definition, Keep, Order};
use crate::campaign::setting::join_settings;
use crate::scenario::{LONGEST_SCENARIO, Loader, Scenario, ScenarioError};
use crate::text::read_all;
use crate::units::Micros;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use toml::Table;

/// More cells than this are a mistake.
const MOST_CELLS: usize = 100_000;
/// More runs than this are one too, and their order would not fit into memory.
const MOST_RUNS: u64 = 10_000_000;

/// Why there is no campaign. Nothing was run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DefinitionError {
    /// The file cannot be read.
    #[error("cannot read the campaign {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no TOML, or has a key that there is not.
    #[error("{origin}: {detail}")]
    Syntax {
        /// The file.
        origin: String,
        /// Where and what.
        detail: String,
    },
    /// A key cannot be varied like that.
    #[error("{origin}: {key} {problem}")]
    Axis {
        /// The file.
        origin: String,
        /// The key.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// There is nothing to run, or something that cannot be.
    #[error("{origin}: {problem}")]
    Impossible {
        /// The file.
        origin: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// The scenario of a cell, or the one that it is based on.
    #[error("{origin}: {place}")]
    Scenario {
        /// The file.
        origin: String,
        /// Which cell.
        place: String,
        /// Why it is none.
        source: ScenarioError,
    },
}

/// As it is written. What every cell has is a scenario, `[set]` and what the command line sets; then come its own settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<String>,
    scenario: Option<PathBuf>,
    #[serde(default = "ten")]
    repeats: u32,
    #[serde(default)]
    warm_up: u32,
    #[serde(default = "one")]
    together: u32,
    #[serde(default = "one_seed")]
    seed: u64,
    #[serde(default)]
    order: Order,
    #[serde(default = "ten_minutes")]
    timeout: Micros,
    #[serde(default)]
    keep: Keep,
    #[serde(default)]
    set: Table,
    #[serde(default)]
    vary: Table,
    #[serde(default)]
    include: Vec<Table>,
    #[serde(default)]
    exclude: Vec<Table>,
    #[serde(default)]
    baseline: Table,
}

fn ten() -> u32 {
    10
}

fn one() -> u32 {
    1
}

fn one_seed() -> u64 {
    1
}

fn ten_minutes() -> Micros {
    Micros(600_000_000)
}

/// What the command line has to say.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Instead of the file's.
    pub repeats: Option<u32>,
    /// Instead of the file's.
    pub seed: Option<u64>,
    /// `table.key=value`, for every cell; goes over `[set]`, and under what a cell varies.
    pub set: Vec<String>,
}

impl Definition {
    /// Reads a file.
    ///
    /// # Errors
    /// [`DefinitionError`].
    pub fn from_file(path: &Path, overrides: &Overrides) -> Result<Definition, DefinitionError> {
        let read = |source| DefinitionError::Read { path: path.to_owned(), source };
        let text = read_all(path, LONGEST_SCENARIO).map_err(read)?;
        let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let place = path.parent().unwrap_or(Path::new("."));
        Definition::from_toml(&path.display().to_string(), &stem, place, &text, overrides)
    }

    /// Reads text; `origin` names it in errors, `name` it is called unless it says itself, and files that it names are looked for in `place`.
    ///
    /// # Errors
    /// [`DefinitionError`].
    pub fn from_toml(
        origin: &str,
        name: &str,
        place: &Path,
        text: &str,
        overrides: &Overrides,
    ) -> Result<Definition, DefinitionError> {
        let syntax = |detail: String| DefinitionError::Syntax { origin: origin.to_owned(), detail };
        let mut file: File = toml::from_str(text)
            .map_err(|error| syntax(error.to_string().trim_end().to_owned()))?;
        file.repeats = overrides.repeats.unwrap_or(file.repeats);
        file.seed = overrides.seed.unwrap_or(file.seed);
        let baseline = matrix::settings(&file.baseline);
        let matrix = Matrix { vary: &file.vary, include: &file.include, exclude: &file.exclude };
        let combinations =
            matrix.combinations(MOST_CELLS).map_err(|problem| problem.named(origin))?;
        check(&file, &combinations, &baseline).map_err(|problem| DefinitionError::Impossible {
            origin: origin.to_owned(),
            problem,
        })?;
        let base = Base { origin, place, file: &file, set: &overrides.set };
        let mut cells = Vec::new();
        for (number, combination) in (1..).zip(&combinations) {
            cells.push(base.cell(number, combination)?);
        }
        Ok(Definition {
            name: file.name.clone().unwrap_or_else(|| name.to_owned()),
            repeats: file.repeats,
            warm_up: file.warm_up,
            together: file.together.min(file.repeats),
            seed: file.seed,
            order: file.order,
            timeout: file.timeout,
            keep: file.keep,
            baseline: baseline.iter().map(|(key, value)| setting(key, value)).collect(),
            keys: matrix::keys(&cells),
            cells,
        })
    }
}

fn check(file: &File, combinations: &[Combination], baseline: &Combination) -> Result<(), String> {
    if combinations.is_empty() {
        return Err("there is nothing to run: `exclude` leaves no cell".to_owned());
    }
    if file.repeats == 0 || file.together == 0 {
        return Err("repeats and together are at least 1".to_owned());
    }
    if combinations.len() as u64 * u64::from(file.repeats) > MOST_RUNS {
        return Err(format!(
            "{} cells of {} repeats are more than {MOST_RUNS} runs",
            combinations.len(),
            file.repeats
        ));
    }
    for (key, value) in baseline {
        let wanted = setting(key, value);
        if !combinations.iter().any(|cell| matrix::shown(cell).contains(&wanted)) {
            return Err(format!(
                "[baseline] {key} = {value}: no cell has it. It names values of [vary] that the others are compared with"
            ));
        }
    }
    Ok(())
}

/// What all cells have in common.
struct Base<'a> {
    origin: &'a str,
    place: &'a Path,
    file: &'a File,
    set: &'a [String],
}

impl Base<'_> {
    fn cell(&self, number: u32, combination: &Combination) -> Result<Cell, DefinitionError> {
        let settings = matrix::shown(combination);
        let named = |source| DefinitionError::Scenario {
            origin: self.origin.to_owned(),
            place: format!("cell {number} ({})", join_settings(&settings)),
            source,
        };
        let scenario = self.scenario(combination).map_err(named)?;
        self.check(&scenario, number)?;
        Ok(Cell { number, settings, scenario })
    }

    fn scenario(&self, combination: &Combination) -> Result<Scenario, ScenarioError> {
        let mut loader = Loader::new();
        if let Some(file) = &self.file.scenario {
            loader.file(&self.place.join(file))?;
        }
        loader.text("[set]", &self.file.set.to_string())?;
        for assignment in self.set {
            loader.set(assignment)?;
        }
        for (key, value) in matrix::applied(combination) {
            loader.set_value(&key, value)?;
        }
        loader.load()
    }

    fn check(&self, scenario: &Scenario, number: u32) -> Result<(), DefinitionError> {
        let impossible =
            |problem| Err(DefinitionError::Impossible { origin: self.origin.to_owned(), problem });
        if scenario.repeat != 1 {
            return impossible(format!(
                "cell {number} sets repeat; say repeats and together in the campaign"
            ));
        }
        if scenario.destination_qemu() != scenario.qemu.source
            && self.file.warm_up + self.file.together > 1
        {
            return impossible(format!(
                "cell {number} has two QEMUs, and a guest that goes on and on needs fresh ones of one kind: leave warm_up = 0 and together = 1"
            ));
        }
        Ok(())
    }
}
