//! The results as a page of the docs.

use super::cell::{Cell, Fault, How};
use super::judge::Verdict;
use std::fmt::Write;

const HEAD: &str = "# Faults

What becomes of a guest when something goes wrong in the middle of its migration. Each cell below \
is one migration of two real QEMUs with the
micro-guest, over a way of 150 ms each way, and one fault at one moment. \
`qemu-scripts/fault-matrix` plays them all and writes this page; a
part of them is among the tests.

A cell says what the driver said (its `outcome`, which its exit code repeats), and where the guest \
then ran: **S** on the source, **D** on the
destination, **–** nowhere. After `killed` or `unknown`, `switchover attach` carried on, and said \
what follows; `revived`: `switchover revive` started a guest
that stood on the source (recovery.md). `·`: the migration was over before the fault could come. \
`switch` is the moment at which the source has sent post-copy's device state, and waits for the \
destination's word.

In each cell the law held: at the end never two copies that run; none only where the QEMU was \
killed that had the guest, might have had it (a destination, while post-copy starts) or had the \
only copy of a part of it; the guest's
memory as it should be; the outcome true; the run directory readable; nothing left behind. \"both \
for\": so long both ran, by QEMU's own doing, until the driver had stopped the one
whose memory was out of date (recovery.md, \"Both at once\"); with `handover = confirmed` none did.
";

/// Everything that was played.
pub(super) fn page(versions: &[&'static str], verdicts: &[Verdict]) -> String {
    let mut page = HEAD.to_owned();
    for version in versions {
        for how in How::ALL {
            let phases = how.phases();
            let _ = write!(page, "\n## QEMU {version}, {}\n\n| fault | ", how.name());
            page.push_str(&phases.iter().map(|phase| phase.name()).collect::<Vec<_>>().join(" | "));
            let _ = writeln!(page, " |\n|---|{}", "---|".repeat(phases.len()));
            for fault in Fault::ALL {
                let cells = phases.iter().map(|phase| {
                    let cell = Cell { version, how, phase: *phase, fault };
                    verdicts
                        .iter()
                        .find(|verdict| verdict.cell == cell)
                        .map_or_else(|| "not played".to_owned(), ToString::to_string)
                });
                let _ = writeln!(page, "| {fault} | {} |", cells.collect::<Vec<_>>().join(" | "));
            }
        }
    }
    page
}
