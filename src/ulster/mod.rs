//! The paper's experiment, repeated: pre-copy and post-copy of a VM with stressed memory, from Ulster to Dublin and to Halifax.
//!
//! Takes the campaigns of fixtures/campaigns/ulster and the rows that they gave; gives the paper's rows with ours beside them, whether the laws behind its
//! figures hold, and the tables and figures of docs/ulster.md. Pure, but for `store`. Knows nothing of running a campaign.
//!
//! Map: `scale` how ours stands for theirs · `cells` runs in the paper's units · `store` what lies in a directory · `laws` R1 to R5 · `checklist` every
//! number that the paper's text states · `tables` II and III · `plot` a drawing · `figures` 6 to 9 · `page` all of that into docs/ulster.md.

pub mod cells;
mod checklist;
mod figures;
pub mod laws;
mod page;
mod plot;
mod scale;
mod store;
mod tables;

pub use cells::{Cell, cells};
pub use figures::figures;
pub use laws::{Finding, Verdict, laws};
pub use page::{PageError, page};
pub use scale::Scale;
pub use store::{Curve, Evidence, StoreError, Throughput, campaign};
