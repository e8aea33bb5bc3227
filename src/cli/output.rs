//! The command's output: the result goes to stdout, progress and logs go to stderr.
//!
//! Everything is escaped for a terminal, because parts of it come from a QEMU, a guest, or whoever
//! wrote a run directory.

use crate::report;
use crate::report::ProgressLine;
use base::text::{EscapingWriter, escape_control, truncate};
use indicatif::{ProgressBar, ProgressStyle};
use migrate::drive::Progress;
use serde::Serialize;
use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use switchover::campaign::SweepProgress;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Replaces the level that -v sets: a level (`debug`), or levels of modules
/// (`info,qmp=debug`), separated by commas.
const LOG_VARIABLE: &str = "SWITCHOVER_LOG";

/// Size limit of a line for people, in bytes. Text from a peer or a file has no limit of its own.
const MAX_LINE_BYTES: usize = 4 << 10;

/// Logs to stderr: warnings; with -v also decisions; with -vv everything.
pub(super) fn init_logging(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let from_level = Targets::new().with_default(level);
    let (filter, problem) = match std::env::var(LOG_VARIABLE) {
        Ok(text) => match text.parse::<Targets>() {
            Ok(targets) => (targets, None),
            Err(error) => (from_level, Some(error)),
        },
        Err(_) => (from_level, None),
    };
    let format = tracing_subscriber::fmt::layer()
        .with_writer(|| EscapingWriter(io::stderr()))
        .with_target(false)
        .without_time();
    tracing_subscriber::registry().with(format).with(filter).init();
    if let Some(error) = problem {
        tracing::warn!("{LOG_VARIABLE} is ignored, because it cannot be parsed: {error}");
    }
}

/// Prints a result. It is no error if the reader has closed the pipe (`| head`).
pub(super) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(escape_control(text).as_bytes()).and_then(|()| out.flush());
}

/// Prints a result that only people read: long lines are truncated.
pub(super) fn print_page(text: &str) {
    let lines: Vec<Cow<'_, str>> =
        text.split('\n').map(|line| truncate(line, MAX_LINE_BYTES)).collect();
    print(&lines.join("\n"));
}

/// Prints a result as JSON with indentation.
pub(super) fn print_json(value: &impl Serialize) {
    let json = serde_json::to_string_pretty(value).expect(IS_JSON);
    print(&format!("{json}\n"));
}

/// A result as one line of JSON.
pub(super) fn json_line(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect(IS_JSON);
    format!("{json}\n")
}

/// Why serializing a result cannot fail.
const IS_JSON: &str = "results have only names as keys, so JSON can express them";

/// Returns a function that draws a progress line on stderr. It draws only on a terminal.
pub(super) fn progress_line() -> Box<dyn FnMut(&Progress) + Send> {
    if !io::stderr().is_terminal() {
        return Box::new(|_| ());
    }
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {msg}");
    bar.set_style(style.expect("the template is constant and valid"));
    let mut line = ProgressLine::default();
    // The closure is dropped when the migration ends, and the bar clears itself then.
    let bar = ClearOnDrop(bar);
    Box::new(move |progress| {
        bar.0.set_message(escape_control(&line.update(progress)).into_owned());
        bar.0.tick();
    })
}

struct ClearOnDrop(ProgressBar);

impl Drop for ClearOnDrop {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Returns a function that writes a campaign's progress to stderr: one line that is overwritten if
/// stderr is a terminal, else a line for each visit.
pub(super) fn sweep_progress() -> Box<dyn FnMut(&SweepProgress) + Send> {
    const CLEAR_LINE: &str = "\r\x1b[K";
    let is_terminal = io::stderr().is_terminal();
    Box::new(move |progress| {
        let line = report::format_sweep_progress(progress);
        let line = escape_control(&line);
        let mut out = io::stderr().lock();
        let written =
            if is_terminal { write!(out, "{CLEAR_LINE}{line} ") } else { writeln!(out, "{line}") };
        // Progress that nobody can see does not end a campaign.
        let _ = written.and_then(|()| out.flush());
    })
}
