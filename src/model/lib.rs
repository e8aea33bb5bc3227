//! Whether a migration converges, why not, and what would help.
//!
//! Takes a workload, a way and limits, or a run; gives a prediction, or a verdict with its numbers
//! and remedies. Pure; knows nothing of QMP, and reads runs only through `record`.
//!
//! Map: `workload` what a guest dirties · `setup` a migration as the model sees it · `model` QEMU's
//! loop · `postcopy` what follows a switch · `textbook` the usual model, for comparison ·
//! `boundary` where it begins to converge · `judge` verdict and remedies · `json` that for machines
//! · `observed` what a run shows, and the workload fitted to it · `measured` what calc-dirty-rate
//! says, and the workload fitted to that · `fit` how · `diagnose` a run, from what it shows ·
//! `spread` how sure a prediction is.

mod boundary;
mod fit;
mod judge;
mod measured;
mod model;
pub mod policy;
mod postcopy;
mod report;
mod setup;
mod spread;
mod textbook;
mod workload;

pub use boundary::{Boundaries, at_bandwidth, boundaries};
pub use fit::fit;
pub use judge::{Judgement, Remedy, Verdict, judge, time, whole};
pub use measured::{Dirtied, Measured};
pub use model::{Prediction, converges, predict};
pub use postcopy::Postcopy;
pub use report::{
    BoundariesReport, JudgementReport, PredictedMigration, PredictedPostcopy, SuggestedRemedy,
    TextbookReport,
};
pub use setup::{Setup, Switch, Throttle, Xbzrle};
pub use spread::{Spread, spread};
pub use textbook::{Textbook, textbook};
pub use workload::{Class, PAGE, Workload};

#[cfg(test)]
mod tests;
