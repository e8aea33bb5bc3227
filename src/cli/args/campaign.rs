//! The arguments of campaigns.

use super::LabArgs;
use clap::Args;
use std::path::PathBuf;
use switchover::campaign::definition::Overrides;
use switchover::campaign::{Selection, Shard};

#[derive(Debug, Args)]
pub(in crate::cli) struct SweepArgs {
    /// A campaign (TOML): docs/campaigns.md.
    pub(in crate::cli) campaign: PathBuf,
    /// The campaign's directory; campaigns/NAME unless given.
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Go on with what is there: what is finished is not done again.
    #[arg(long)]
    pub(in crate::cli) resume: bool,
    /// Print the cells and the time that they will take, and run nothing.
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Only this part, for several machines: 1/3, 2/3, 3/3.
    #[arg(long, value_name = "K/N")]
    pub(in crate::cli) shard: Option<Shard>,
    /// Measured runs of each cell, instead of what the file says.
    #[arg(long, value_name = "N")]
    repeats: Option<u32>,
    /// Of the order and of the guests, instead of what the file says.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// A scenario key for every cell that does not vary it: --set guest.memory=64MiB.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    lab: LabArgs,
    /// Exit with 4 if this is true of the runs: 'completed < 95 %'. Compares the cells with the campaign's baseline, if it has one: 'downtime.best.us > +5 %'.
    #[arg(long, value_name = "EXPR")]
    pub(in crate::cli) fail_if: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

impl SweepArgs {
    pub(in crate::cli) fn overrides(&self) -> Overrides {
        let lab = self.lab.settings().into_iter().map(|(key, value)| format!("{key}={value}"));
        let set = lab.chain(self.set.iter().cloned()).collect();
        Overrides { repeats: self.repeats, seed: self.seed, set }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CompareArgs {
    /// What is compared with: a campaign's directory, its results.parquet, a run's directory, a table that was kept; of a campaign only the runs with
    /// these settings, if some follow: campaigns/a:mode=precopy. Alone: all that the campaign's baseline is compared with.
    #[arg(value_name = "A")]
    pub(in crate::cli) a: Selection,
    /// What is compared.
    #[arg(value_name = "B")]
    pub(in crate::cli) b: Option<Selection>,
    /// A figure by its name in run.json, such as downtime.best.us; the most important ones unless given.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) metric: Vec<String>,
    /// Take runs for independent, though they have partners.
    #[arg(long)]
    pub(in crate::cli) not_paired: bool,
    /// SignificanceTest whether the medians differ, by permutations, instead of whether values are rather lower (Mann-Whitney, Wilcoxon).
    #[arg(long)]
    pub(in crate::cli) medians: bool,
    /// Of what is drawn.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(in crate::cli) seed: u64,
    /// Exit with 4 if this is true beyond doubt: 'downtime.best.us > +5 %', 'completed < 95 %'.
    #[arg(long, value_name = "EXPR")]
    pub(in crate::cli) fail_if: Vec<String>,
    /// Write the runs of B (of A where there is no B) to a file, as a baseline for later.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) keep: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}
