//! Limits on the length of Rust lines and files. rustfmt wraps neither comments nor strings.

use super::{list_files, top};

const MAX_COLUMNS: usize = 100;
/// Files of tests may be longer.
const MAX_LINES: usize = 500;
/// Lines that are still longer, nearly all of them strings. This number may only become smaller.
const MAX_LONG_LINES: usize = 295;
const FOLDERS: [&str; 6] = ["src", "tests", "benches", "fuzz", "examples", "fixtures/guest"];

#[test]
fn lines_of_rust_over_100_columns_do_not_increase() {
    let mut long = Vec::new();
    for file in FOLDERS.iter().flat_map(|folder| list_files(&top().join(folder), "rs")) {
        let text = std::fs::read_to_string(&file).unwrap();
        for (index, line) in text.lines().enumerate() {
            if line.chars().count() > MAX_COLUMNS {
                let name = file.strip_prefix(top()).unwrap().display();
                long.push(format!("{name}:{}", index + 1));
            }
        }
    }
    assert!(
        long.len() <= MAX_LONG_LINES,
        "{} lines over {MAX_COLUMNS} columns: {long:#?}",
        long.len()
    );
}

#[test]
fn no_rust_file_outside_the_tests_is_over_500_lines() {
    let mut long = Vec::new();
    for file in FOLDERS.iter().flat_map(|folder| list_files(&top().join(folder), "rs")) {
        let name = file.strip_prefix(top()).unwrap();
        let is_test = name.components().any(|part| part.as_os_str() == "tests")
            || file.file_stem().unwrap().to_string_lossy().ends_with("tests");
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        if !is_test && lines > MAX_LINES {
            long.push(format!("{}: {lines} lines", name.display()));
        }
    }
    assert!(long.is_empty(), "files over {MAX_LINES} lines: {long:#?}");
}
