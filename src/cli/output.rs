//! Where the command writes: results to stdout, everything else to stderr.

use indicatif::{ProgressBar, ProgressStyle};
use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use switchover::campaign::SweepProgress;
use switchover::drive::Progress;
use switchover::report::{self, ProgressLine};
use switchover::text::{Shown, cut, printable};
use tracing_subscriber::EnvFilter;

/// Logs to stderr: warnings; with -v what is decided; with -vv everything. `SWITCHOVER_LOG` overrides.
pub(super) fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter =
        EnvFilter::try_from_env("SWITCHOVER_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Shown(io::stderr()))
        .with_target(false)
        .without_time()
        .init();
}

/// A line of a page is not longer: what a peer or a file says may have no end.
const LONGEST_LINE: usize = 4 << 10;

/// Writes a result, without anything that a terminal would obey: parts of it were said by a QEMU, a guest, or the maker of a run directory. A reader that
/// has gone away (`| head`) is no error.
pub(super) fn result(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(printable(text).as_bytes()).and_then(|()| out.flush());
}

/// Writes what people read.
pub(super) fn page(text: &str) {
    let lines: Vec<Cow<'_, str>> = text.split('\n').map(|line| cut(line, LONGEST_LINE)).collect();
    result(&lines.join("\n"));
}

/// A progress line on stderr, if a person watches.
pub(super) fn progress() -> Box<dyn FnMut(&Progress) + Send> {
    if !io::stderr().is_terminal() {
        return Box::new(|_| ());
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    let mut line = ProgressLine::default();
    // The bar clears itself when it is dropped with this closure, at the end of the migration.
    let bar = ClearOnDrop(bar);
    Box::new(move |progress| {
        bar.0.set_message(printable(&line.update(progress)).into_owned());
        bar.0.tick();
    })
}

/// How far a campaign is, on stderr: a line that is written over if a person watches, else a line for each visit.
pub(super) fn sweep_progress() -> Box<dyn FnMut(&SweepProgress) + Send> {
    let ends_with = if io::stderr().is_terminal() { "\r\x1b[K" } else { "\n" };
    Box::new(move |progress| {
        let line = report::sweep_progress(progress);
        let line = printable(&line);
        let mut out = io::stderr().lock();
        let _ = if ends_with == "\n" {
            writeln!(out, "{line}")
        } else {
            write!(out, "{ends_with}{line} ")
        }
        .and_then(|()| out.flush());
    })
}

struct ClearOnDrop(ProgressBar);

impl Drop for ClearOnDrop {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
