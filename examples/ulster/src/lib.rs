//! Repeats a published experiment: pre-copy and post-copy of a VM with stressed memory over the
//! links between Ulster, Dublin and Halifax (docs/ulster.md).
//!
//! The input is the campaigns of fixtures/campaigns/ulster and their results. The output is the
//! tables and figures of docs/ulster.md: every number of the paper beside ours, and whether the
//! expectations behind its figures hold. Only `evidence` reads files; nothing here runs a campaign.
//!
//! Modules: `scale` (how our small cells correspond to the paper's), `cells` (runs in the paper's
//! units), `evidence` (loads results), `expectations` (R1 to R5), `checklist` (every number that
//! the paper's text states), `tables` (II and III), `plot` (draws SVG), `figures` (6 to 9), `page`
//! (writes all of it into docs/ulster.md).

pub mod cells;
mod checklist;
mod evidence;
pub mod expectations;
mod figures;
mod page;
mod plot;
mod scale;
mod tables;

pub use cells::{PaperCell, build_cells};
pub use evidence::{Curve, Evidence, EvidenceError, Throughput, load_cells};
pub use expectations::{Finding, Verdict, check_expectations};
pub use figures::draw_figures;
pub use page::{PageError, render_page};
pub use scale::Scale;
