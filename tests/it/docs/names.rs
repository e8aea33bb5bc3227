//! Every path, subcommand and flag that README.md, CONTRIBUTING.md, ARCHITECTURE.md and docs/ name
//! exists.

use super::{command_of, console_lines, list_files, top};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A word that begins with one of these is a path of the repository.
const FOLDERS: [&str; 9] = [
    "src/",
    "tests/",
    "docs/",
    "fixtures/",
    "qemu-scripts/",
    "benches/",
    "fuzz/",
    "examples/",
    ".ci/",
];

fn pages() -> Vec<PathBuf> {
    let mut pages = list_files(&top().join("docs"), "md");
    for name in ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "benches/README.md"] {
        pages.push(top().join(name));
    }
    pages
}

/// The words of `text` that are paths of the repository, without punctuation around them.
fn paths_of_repository(text: &str) -> Vec<&str> {
    let is_separator = |letter: char| letter.is_whitespace() || "`()[]<>|\"',;=".contains(letter);
    text.split(is_separator)
        .map(|word| word.trim_end_matches(['.', ':', '?', '!']))
        .map(|word| word.split_once('#').map_or(word, |(path, _)| path))
        .filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)))
        // Placeholders and patterns, such as fuzz/seeds/TARGET or src/*/lib.rs.
        .filter(|word| !word.contains(['*', '{', '$', '…']))
        .filter(|word| !word.split('/').any(is_placeholder))
        .collect()
}

/// A part of a path in capitals stands for a name; README.md and its like are real.
fn is_placeholder(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part);
    !part.ends_with(".md") && stem.len() > 1 && stem.chars().all(|c| c.is_ascii_uppercase())
}

/// The targets of `[text](target)` that are relative paths.
fn relative_links(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
        .map(|target| target.split_once('#').map_or(target, |(path, _)| path))
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .filter(|target| !target.contains(char::is_whitespace))
        .collect()
}

#[test]
fn every_path_that_the_documentation_names_exists() {
    let mut missing = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        let folder = page.parent().unwrap();
        let named = paths_of_repository(&text)
            .into_iter()
            .filter(|path| !top().join(path).exists() && !folder.join(path).exists());
        let linked = relative_links(&text).into_iter().filter(|path| !folder.join(path).exists());
        let name = page.strip_prefix(top()).unwrap().display();
        missing.extend(named.chain(linked).map(|path| format!("{name} names {path}")));
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The help of `switchover` or of one of its subcommands. `None` if there is no such subcommand.
fn help(subcommand: &[&str]) -> Option<String> {
    let program = env!("CARGO_BIN_EXE_switchover");
    let output = Command::new(program).args(subcommand).arg("--help").output().unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Checks one `switchover ...` command; gives what is wrong with it.
fn check_command(words: &[&str], helps: &mut HashMap<String, Option<String>>) -> Option<String> {
    let subcommand = *words.first()?;
    if subcommand.starts_with('-') {
        return None;
    }
    let known = helps.entry(subcommand.to_owned()).or_insert_with(|| help(&[subcommand]));
    let Some(mut text) = known.clone() else { return Some(format!("no command {subcommand}")) };
    // A subcommand of a subcommand has its own flags.
    if let Some(nested) = words.get(1).filter(|word| text.contains(&format!("\n  {word} "))) {
        text.push_str(&help(&[subcommand, nested]).unwrap_or_default());
    }
    let flags = words[1..].iter().take_while(|word| **word != "--");
    flags
        .filter(|word| word.starts_with("--"))
        .map(|word| word.split_once('=').map_or(*word, |(flag, _)| flag))
        .find(|flag| !has_flag(&text, flag))
        .map(|flag| format!("{subcommand} has no flag {flag}"))
}

fn has_flag(help: &str, flag: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    help.match_indices(flag).any(|(at, _)| !help[at + flag.len()..].starts_with(is_part))
}

/// The words of each `switchover ...` call in a shell line, without its redirections and comment.
fn calls_of_switchover(line: &str) -> Vec<Vec<&str>> {
    let line = line.split(" #").next().unwrap_or(line);
    line.split(['|', ';', '&'])
        .map(|call| call.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.first().is_some_and(|program| is_switchover(program)))
        .map(|words| words[1..].to_vec())
        .collect()
}

fn is_switchover(program: &str) -> bool {
    Path::new(program).file_name().is_some_and(|name| name == "switchover")
}

#[test]
fn every_command_and_flag_that_the_documentation_names_exists() {
    let (mut wrong, mut helps, mut calls) = (Vec::new(), HashMap::new(), 0);
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for (number, line) in console_lines(&text) {
            for words in command_of(&line).map(calls_of_switchover).unwrap_or_default() {
                calls += 1;
                if let Some(reason) = check_command(&words, &mut helps) {
                    let name = page.strip_prefix(top()).unwrap().display();
                    wrong.push(format!("{name}:{number}: {reason}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(calls > 0, "no page calls switchover in a console block");
}

#[test]
fn recognizes_paths_commands_and_flags() {
    assert_eq!(
        paths_of_repository("see `src/main.rs`, docs/a.md#b."),
        ["src/main.rs", "docs/a.md"]
    );
    assert!(paths_of_repository("fuzz/seeds/TARGET and src/*.rs").is_empty());
    assert_eq!(relative_links("[a](b.md#c) [d](https://e.org)"), ["b.md"]);
    assert!(has_flag("  --keep <N>", "--keep") && !has_flag("--keep-all", "--keep"));
    let mut helps = HashMap::new();
    assert!(check_command(&["run", "--no-such-flag"], &mut helps).is_some());
    assert!(check_command(&["no-such-command"], &mut helps).is_some());
    assert!(check_command(&["run", "--mode", "hybrid"], &mut helps).is_none());
}
