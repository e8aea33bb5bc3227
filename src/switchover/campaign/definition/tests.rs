use super::load::Overrides;
use super::*;
use base::units::Micros;
use std::path::Path;

fn defined(text: &str) -> Result<Definition, DefinitionError> {
    Definition::from_toml("c.toml", "c", Path::new("/nonexistent"), text, &Overrides::default())
}

fn names(text: &str) -> String {
    defined(text).unwrap().cells.iter().map(Cell::name).collect::<Vec<_>>().join("\n")
}

fn refused(text: &str) -> String {
    let error = defined(text).unwrap_err();
    let source =
        std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}

#[test]
fn makes_all_combinations_without_the_excluded_and_with_the_included_cells() {
    insta::assert_snapshot!(names(
        "[vary]\nmode = [\"precopy\", \"postcopy\"]\nguest.rate = { from = \"10MiB/s\", to = \
            \"40MiB/s\", steps = 3, scale = \"log\" }\n\
         [[exclude]]\nmode = \"postcopy\"\nguest.rate = \"20MiB/s\"\n[[include]]\nmode = \
             \"hybrid\"\n[include.switch]\nafter_pass = 3\n"
    ), @"
    mode=precopy guest.rate=10MiB/s
    mode=precopy guest.rate=20MiB/s
    mode=precopy guest.rate=40MiB/s
    mode=postcopy guest.rate=10MiB/s
    mode=postcopy guest.rate=40MiB/s
    mode=hybrid switch.after_pass=3
    ");
    insta::assert_snapshot!(names("[[include]]\nmode = \"hybrid\"\n[[include]]\nmode = \
        \"precopy\"\n"), @"
    mode=hybrid
    mode=precopy
    ");
    insta::assert_snapshot!(names(
        "[vary]\nlink.preset = [\"none\", \"dublin\"]\nhow = [{ name = \"pre\", mode = \
            \"precopy\" }, { name = \"late\", mode = \"hybrid\", switch.after = \"1s\" }]\n\
         [[exclude]]\nhow = \"late\"\nlink.preset = \"none\"\n[[include]]\ncase = \"odd\"\nmode = \
             \"postcopy\"\n[baseline]\nhow = \"pre\"\n"
    ), @"
    link.preset=none how=pre
    link.preset=dublin how=pre
    link.preset=dublin how=late
    case=odd
    ");
    assert_eq!(defined("").unwrap().cells.len(), 1);
}

#[test]
fn the_settings_of_a_cell_override_those_of_all_cells() {
    let text = "[set]\nmode = \"hybrid\"\nguest.rate = \"7MiB/s\"\n[set.capabilities]\nxbzrle = \
        true\n[vary]\nmode = [\"precopy\"]\n";
    let set = vec!["guest.rate=9MiB/s".to_owned(), "guest.seed=4".to_owned()];
    let overrides = Overrides { repeats: Some(3), seed: Some(8), set };
    let definition =
        Definition::from_toml("c.toml", "c", Path::new("."), text, &overrides).unwrap();
    let scenario = &definition.cells[0].scenario;
    assert_eq!(
        (scenario.guest.rate.bytes_per_second(), scenario.guest.seed, scenario.mode),
        (9 << 20, 4, scenario::Mode::Precopy)
    );
    assert!(scenario.capabilities["xbzrle"]);
    let late = defined("[[include]]\ncase = \"late\"\nmode = \"hybrid\"\nswitch.after = \"1s\"\n")
        .unwrap();
    assert_eq!(late.cells[0].scenario.switch.after, Some(Micros(1_000_000)));
    assert_eq!((definition.repeats, definition.seed, definition.name.as_str()), (3, 8, "c"));
}

#[test]
fn refuses_a_campaign_that_is_not_valid_and_says_why() {
    insta::assert_snapshot!(refused("[vary]\nmode = []\n"), @"c.toml: [vary] mode is an empty \
        list, so that the campaign would have no cell");
    insta::assert_snapshot!(refused("[vary]\nmode = [\"precopy\"]\n[[exclude]]\nmode = \
        \"precopy\"\n"), @"c.toml: there is nothing to run: `exclude` leaves no cell");
    insta::assert_snapshot!(refused("[vary]\nguest.rat = [\"1MiB/s\"]\n"), @"c.toml: cell 1 \
        (guest.rat=1MiB/s): guest.rat: there is no key `guest.rat`; did you mean `guest.rate`?");
    insta::assert_snapshot!(refused("[vary]\nguest.memory = [\"64MiB\", \"1MiB\"]\n"), @"c.toml: \
        cell 1 (guest.memory=64MiB): guest.working_set: a working set of 64MiB does not fit into \
        guest.memory = 64MiB (it needs 73MiB with the guest itself); lower guest.working_set or raise \
        guest.memory");
    insta::assert_snapshot!(refused("repeat = 3\n"), @"
    c.toml: TOML parse error at line 1, column 1
      |
    1 | repeat = 3
      | ^^^^^^
    unknown field `repeat`, expected one of `name`, `scenario`, `repeats`, `warm_up`, `together`, \
        `seed`, `order`, `timeout`, `keep`, `set`, `vary`, `include`, `exclude`, `baseline`
    ");
    insta::assert_snapshot!(refused("repeats = 0\n"), @"c.toml: repeats and together must be at \
        least 1");
    insta::assert_snapshot!(refused("[set]\nrepeat = 3\n"), @"c.toml: cell 1 sets `repeat`; set \
        `repeats` and `together` of the campaign instead");
    insta::assert_snapshot!(refused("together = 2\n[set]\nqemu.destination = \"other\"\n"),
        @"c.toml: cell 1 uses different QEMUs for source and destination, and a guest can migrate \
        several times only between equal ones: set warm_up = 0 and together = 1");
    insta::assert_snapshot!(refused(
        "[vary]\nmode = [\"precopy\"]\n[baseline]\nmode = \"hybrid\"\n"
    ), @"c.toml: [baseline] mode = \"hybrid\": no cell has this value. Write a value of [vary]; \
        the other cells are compared with the cells that have it");
    insta::assert_snapshot!(refused("scenario = \"none.toml\"\n"), @"c.toml: cell 1 (): cannot \
        read the scenario /nonexistent/none.toml");
    insta::assert_snapshot!(refused("[vary]\nguest.seed = { from = 1, to = 900, steps = 900 \
        }\nguest.rate = { from = \"1MiB/s\", to = \"900MiB/s\", steps = 900 }\n"), @"c.toml: \
        [vary] guest.rate makes more than 100000 cells");
}

/// Loads all files under fixtures/campaigns, at any depth.
#[test]
fn loads_every_campaign_of_the_fixtures() {
    fn found(directory: &Path, files: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found(&path, files);
            } else if path.extension().is_some_and(|kind| kind == "toml") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    found(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/campaigns"), &mut files);
    files.sort();
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let definition = Definition::from_file(&file, &Overrides::default())
            .unwrap_or_else(|error| panic!("{}: {error:?}", file.display()));
        assert!(definition.cells.len() > 1, "{}", file.display());
        // Each has a baseline to compare with.
        assert!(!definition.baseline.is_empty(), "{}", file.display());
    }
}
