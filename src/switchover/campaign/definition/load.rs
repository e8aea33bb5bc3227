//! Loads a definition from TOML.

use super::error::DefinitionError;
use super::matrix::{self, Combination, Matrix, setting};
use super::types::{Cell, Definition, Keep, Order};
use analysis::setting::join_settings;
use base::text::read_all;
use base::units::Micros;
use scenario::{Loader, MAX_SCENARIO_BYTES, Scenario, ScenarioError};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use toml::Table;

/// The most cells that a campaign may have. More are taken for a mistake.
const MAX_CELLS: usize = 100_000;
/// The most runs that a campaign may have. The order of more would not fit into memory.
const MAX_RUNS: u64 = 10_000_000;

/// The file as it is written. The scenario of a cell consists of the scenario file, `[set]` and the
/// `--set` of the command line; the cell's own settings override all of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<String>,
    scenario: Option<PathBuf>,
    #[serde(default = "default_repeats")]
    repeats: u32,
    #[serde(default)]
    warm_up: u32,
    #[serde(default = "default_together")]
    together: u32,
    #[serde(default = "default_seed")]
    seed: u64,
    #[serde(default)]
    order: Order,
    #[serde(default = "default_timeout")]
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

fn default_repeats() -> u32 {
    10
}

fn default_together() -> u32 {
    1
}

fn default_seed() -> u64 {
    1
}

fn default_timeout() -> Micros {
    Micros(600_000_000)
}

/// What the command line overrides.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Replaces `repeats` of the file.
    pub repeats: Option<u32>,
    /// Replaces `seed` of the file.
    pub seed: Option<u64>,
    /// Assignments `table.key=value` for every cell. They override `[set]`; the varied keys of a
    /// cell override them.
    pub set: Vec<String>,
}

impl Definition {
    /// Loads a campaign file.
    ///
    /// # Errors
    /// Returns [`DefinitionError`] if the file cannot be read, or as [`Definition::from_toml`].
    pub fn from_file(path: &Path, overrides: &Overrides) -> Result<Definition, DefinitionError> {
        let read = |source| DefinitionError::Read { path: path.to_owned(), source };
        let text = read_all(path, MAX_SCENARIO_BYTES).map_err(read)?;
        let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let directory = path.parent().unwrap_or(Path::new("."));
        Definition::from_toml(&path.display().to_string(), &stem, directory, &text, overrides)
    }

    /// Loads a campaign from TOML text. Errors name `origin`; the campaign is called `name` if the
    /// text does not name it; the path of its scenario file is relative to `directory`.
    ///
    /// # Errors
    /// Returns [`DefinitionError`] if the text is not a campaign or the scenario of a cell is
    /// wrong.
    pub fn from_toml(
        origin: &str,
        name: &str,
        directory: &Path,
        text: &str,
        overrides: &Overrides,
    ) -> Result<Definition, DefinitionError> {
        let syntax = |detail: String| DefinitionError::Syntax { origin: origin.to_owned(), detail };
        let mut file: File = toml::from_str(text)
            .map_err(|error| syntax(error.to_string().trim_end().to_owned()))?;
        file.repeats = overrides.repeats.unwrap_or(file.repeats);
        file.seed = overrides.seed.unwrap_or(file.seed);
        let baseline = matrix::flatten(&file.baseline);
        let matrix = Matrix { vary: &file.vary, include: &file.include, exclude: &file.exclude };
        let combinations =
            matrix.combinations(MAX_CELLS).map_err(|problem| problem.into_error(origin))?;
        check_file(&file, &combinations, &baseline).map_err(|problem| {
            DefinitionError::Unsupported { origin: origin.to_owned(), problem }
        })?;
        let base = CommonSettings { origin, directory, file: &file, set: &overrides.set };
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
            keys: matrix::collect_keys(&cells),
            cells,
        })
    }
}

fn check_file(
    file: &File,
    combinations: &[Combination],
    baseline: &Combination,
) -> Result<(), String> {
    if combinations.is_empty() {
        return Err("there is nothing to run: `exclude` leaves no cell".to_owned());
    }
    if file.repeats == 0 || file.together == 0 {
        return Err("repeats and together must be at least 1".to_owned());
    }
    if combinations.len() as u64 * u64::from(file.repeats) > MAX_RUNS {
        return Err(format!(
            "{} cells of {} repeats are more than the {MAX_RUNS} runs that a campaign may have",
            combinations.len(),
            file.repeats
        ));
    }
    for (key, value) in baseline {
        let wanted = setting(key, value);
        if !combinations.iter().any(|cell| matrix::shown_settings(cell).contains(&wanted)) {
            return Err(format!(
                "[baseline] {key} = {value}: no cell has this value. Write a value of [vary]; the \
                    other \
                 cells are compared with the cells that have it"
            ));
        }
    }
    Ok(())
}

/// What the scenarios of all cells have in common.
struct CommonSettings<'a> {
    origin: &'a str,
    directory: &'a Path,
    file: &'a File,
    set: &'a [String],
}

impl CommonSettings<'_> {
    fn cell(&self, number: u32, combination: &Combination) -> Result<Cell, DefinitionError> {
        let settings = matrix::shown_settings(combination);
        let with_cell = |source| DefinitionError::Scenario {
            origin: self.origin.to_owned(),
            place: format!("cell {number} ({})", join_settings(&settings)),
            source,
        };
        let scenario = self.scenario(combination).map_err(with_cell)?;
        self.check_scenario(&scenario, number)?;
        Ok(Cell { number, settings, scenario })
    }

    fn scenario(&self, combination: &Combination) -> Result<Scenario, ScenarioError> {
        let mut loader = Loader::new();
        if let Some(file) = &self.file.scenario {
            loader.file(&self.directory.join(file))?;
        }
        loader.text("[set]", &self.file.set.to_string())?;
        for assignment in self.set {
            loader.set(assignment)?;
        }
        for (key, value) in matrix::scenario_values(combination) {
            loader.set_value(&key, value)?;
        }
        loader.load()
    }

    fn check_scenario(&self, scenario: &Scenario, number: u32) -> Result<(), DefinitionError> {
        let unsupported =
            |problem| Err(DefinitionError::Unsupported { origin: self.origin.to_owned(), problem });
        if scenario.repeat != 1 {
            return unsupported(format!(
                "cell {number} sets `repeat`; set `repeats` and `together` of the campaign instead"
            ));
        }
        if scenario.destination_qemu() != scenario.qemu.source
            && self.file.warm_up + self.file.together > 1
        {
            return unsupported(format!(
                "cell {number} uses different QEMUs for source and destination, and a guest can \
                 migrate several times only between equal ones: set warm_up = 0 and together = 1"
            ));
        }
        Ok(())
    }
}
