//! The documentation and the sources as files: named paths and commands exist, the commands of the
//! tutorial run, and no line or file is too long.
//!
//! - `names`: paths, subcommands and flags that the documentation names
//! - `tutorial`: runs the console blocks of docs/tutorial
//! - `size`: limits on lines and files of Rust

mod names;
mod size;
mod tutorial;

use std::path::{Path, PathBuf};

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `directory` with this extension, sorted. Build output is left out.
fn list_files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = std::fs::read_dir(directory) else { return files };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
            files.extend(list_files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The lines of all blocks of `text` that begin with ```` ```console ````, in order, each with its
/// line number. A line that ends with a backslash is joined with the next one.
fn console_lines(text: &str) -> Vec<(usize, String)> {
    let (mut lines, mut in_console, mut in_other) = (Vec::<(usize, String)>::new(), false, false);
    let mut continued = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            let opens = !in_console && !in_other;
            in_console = opens && line.trim() == "```console";
            in_other = opens && !in_console;
            continued = false;
            continue;
        }
        if !in_console {
            continue;
        }
        let (part, joins) = line.strip_suffix('\\').map_or((line, false), |part| (part, true));
        match lines.last_mut() {
            Some((_, previous)) if continued => previous.push_str(part),
            _ => lines.push((index + 1, part.to_owned())),
        }
        continued = joins;
    }
    lines
}

/// A command line of a console block: what follows `$ `. `None` for output.
fn command_of(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("$ ")
}

#[test]
fn joins_continued_lines_and_ignores_other_blocks() {
    let text = "```toml\n$ no\n```\n```console\n$ a \\\n  b\noutput\n```\n$ no\n";
    let lines = console_lines(text);
    assert_eq!(lines, [(5, "$ a   b".to_owned()), (7, "output".to_owned())]);
}
