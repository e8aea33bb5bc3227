//! The arguments of `sweep` and `compare`.

use super::common::LabArgs;
use analysis::Selection;
use clap::Args;
use std::path::PathBuf;
use switchover::campaign::Shard;
use switchover::campaign::definition::Overrides;

#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// Campaign file (TOML, see docs/reference/campaigns.md).
    pub(crate) campaign: PathBuf,
    /// Directory for the results [default: campaigns/NAME].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Continue a campaign that was interrupted: runs that are finished are not repeated.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Print the cells and the expected time, and run nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Run only this part of the campaign, to share it between machines: 1/3, 2/3, 3/3.
    #[arg(long, value_name = "K/N")]
    pub(crate) shard: Option<Shard>,
    /// Measured runs of each cell [default: the campaign file's].
    #[arg(long, value_name = "N")]
    repeats: Option<u32>,
    /// Seed for the run order and for the guests [default: the campaign file's].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Set a scenario key in every cell that does not vary it, such as --set guest.memory=64MiB.
    /// May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    lab: LabArgs,
    /// Exit with 4 if EXPR is true of the runs, such as 'completed < 95 %'. A change, such as
    /// 'downtime.best.us > +5 %', compares the cells with the campaign's baseline. May be repeated.
    #[arg(long, value_name = "EXPR")]
    pub(crate) fail_if: Vec<String>,
    /// Print JSON on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

impl SweepArgs {
    /// The settings of the command line, which replace those of the campaign file.
    pub(crate) fn overrides(&self) -> Overrides {
        let lab = self.lab.settings().into_iter();
        let lab = lab.map(|setting| format!("{}={}", setting.key, setting.text));
        let set = lab.chain(self.set.iter().cloned()).collect();
        Overrides { repeats: self.repeats, seed: self.seed, set }
    }
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The runs to compare with: a campaign directory, its results.parquet, a run directory, or a
    /// file that --keep wrote. Settings after a colon select a campaign's runs:
    /// campaigns/a:mode=precopy. Without B, compares a campaign's cells with its baseline.
    #[arg(value_name = "A")]
    pub(crate) a: Selection,
    /// The runs that are compared with A.
    #[arg(value_name = "B")]
    pub(crate) b: Option<Selection>,
    /// Metric to compare, by its name in run.json, such as downtime.best.us. May be repeated
    /// [default: the most important metrics].
    #[arg(long, value_name = "NAME")]
    pub(crate) metric: Vec<String>,
    /// Treat the runs as independent, even where they form pairs.
    #[arg(long)]
    pub(crate) not_paired: bool,
    /// Test for a difference of the medians, by permutation, instead of a shift of the values
    /// (Mann-Whitney or Wilcoxon).
    #[arg(long)]
    pub(crate) medians: bool,
    /// Seed for permutations and bootstrap samples.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Exit with 4 if EXPR is true with 95 % confidence, such as 'downtime.best.us > +5 %' or
    /// 'completed < 95 %'. May be repeated.
    #[arg(long, value_name = "EXPR")]
    pub(crate) fail_if: Vec<String>,
    /// Write the runs of B (of A if there is no B) to FILE, to compare with later.
    #[arg(long, value_name = "FILE")]
    pub(crate) keep: Option<PathBuf>,
    /// Print JSON on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}
