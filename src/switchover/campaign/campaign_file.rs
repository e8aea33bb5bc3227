//! `campaign.json`: what a campaign directory was made for. It is written when a sweep starts, and
//! compared when the sweep is resumed.

use super::definition::{Definition, Order};
use analysis::directory::MAX_CAMPAIGN_JSON_BYTES;
use analysis::setting::Setting;
use base::text::read_all;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// The version of the format.
const SCHEMA: &str = "switchover.campaign/1";

/// The content of `campaign.json`.
#[derive(Serialize, Deserialize)]
pub(super) struct CampaignFile {
    schema: String,
    name: String,
    repeats: u32,
    warm_up: u32,
    together: u32,
    seed: u64,
    order: Order,
    baseline: Vec<Setting>,
    keys: Vec<String>,
    cells: Vec<CellEntry>,
    /// The version of this program that wrote the file.
    switchover: String,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct CellEntry {
    number: u32,
    name: String,
    settings: Vec<Setting>,
    /// The resolved scenario. It is only compared for equality, so it stays JSON when it is read.
    scenario: serde_json::Value,
}

#[derive(Deserialize)]
struct SchemaOnly {
    #[serde(default)]
    schema: String,
}

impl CampaignFile {
    pub(super) fn of(definition: &Definition) -> CampaignFile {
        let cell = |cell: &super::definition::Cell| CellEntry {
            number: cell.number,
            name: cell.name(),
            settings: cell.settings.clone(),
            scenario: serde_json::to_value(&cell.scenario)
                .expect("a scenario has text keys and serializes to JSON"),
        };
        CampaignFile {
            schema: SCHEMA.to_owned(),
            name: definition.name.clone(),
            repeats: definition.repeats,
            warm_up: definition.warm_up,
            together: definition.together,
            seed: definition.seed,
            order: definition.order,
            baseline: definition.baseline.clone(),
            keys: definition.keys.clone(),
            cells: definition.cells.iter().map(cell).collect(),
            switchover: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Compares this campaign with the one that the file at `path` was written for. Returns the
    /// first difference, or `None` if the sweep can be resumed there: another number of repeats,
    /// another seed or another order do not matter, another cell does.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is not a `campaign.json`.
    pub(super) fn difference_from(&self, path: &Path) -> io::Result<Option<String>> {
        let text = read_all(path, MAX_CAMPAIGN_JSON_BYTES)?;
        let SchemaOnly { schema } = serde_json::from_str(&text)?;
        if schema != SCHEMA {
            return Ok(Some(format!("its schema is {schema:?}, and {SCHEMA} is known")));
        }
        let before: CampaignFile = serde_json::from_str(&text)?;
        Ok(before.difference_to(self))
    }

    fn difference_to(&self, now: &CampaignFile) -> Option<String> {
        if self.name != now.name {
            return Some(format!("its name is {:?}, not {:?}", self.name, now.name));
        }
        for (key, before, now) in
            [("warm_up", self.warm_up, now.warm_up), ("together", self.together, now.together)]
        {
            if before != now {
                return Some(format!("its {key} is {before}, not {now}"));
            }
        }
        if self.cells.len() != now.cells.len() {
            return Some(format!("it has {} cells, not {}", self.cells.len(), now.cells.len()));
        }
        let (other, _) = self.cells.iter().zip(&now.cells).find(|(before, now)| before != now)?;
        Some(format!("its cell {:?} has changed", other.name))
    }

    /// Writes the file through a temporary file, so that it is never incomplete.
    ///
    /// # Errors
    /// Returns the error of the file system.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self)
            .expect("all keys are text, so the struct serializes to JSON");
        let partial = path.with_extension("json.partial");
        std::fs::write(&partial, text)?;
        std::fs::rename(&partial, path)
    }
}

#[cfg(test)]
mod tests {
    use super::super::definition::Overrides;
    use super::*;

    fn file(text: &str) -> CampaignFile {
        CampaignFile::of(
            &Definition::from_toml("c", "c", Path::new("."), text, &Overrides::default()).unwrap(),
        )
    }

    #[test]
    fn finds_the_first_difference_from_the_file_of_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("campaign.json");
        let vary = "[vary]\nguest.rate = [\"10MiB/s\", \"20MiB/s\"]\n";
        file(vary).write(&path).unwrap();
        let difference = |text: &str| file(text).difference_from(&path).unwrap();
        assert_eq!(
            difference(&format!("repeats = 99\nseed = 5\norder = \"written\"\n{vary}")),
            None
        );
        assert_eq!(
            difference(&format!("warm_up = 3\n{vary}")).as_deref(),
            Some("its warm_up is 0, not 3")
        );
        assert_eq!(
            difference(&format!("[set]\nmode = \"hybrid\"\n{vary}")).as_deref(),
            Some("its cell \"guest.rate=10MiB/s\" has changed")
        );
        std::fs::write(&path, "{\"schema\": \"another/1\"}").unwrap();
        assert_eq!(
            difference(vary).as_deref(),
            Some("its schema is \"another/1\", and switchover.campaign/1 is known")
        );
        std::fs::write(&path, "no").unwrap();
        file(vary).difference_from(&path).unwrap_err();
    }
}
