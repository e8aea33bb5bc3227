//! The command line's arguments. A flag that sets a scenario key is turned into that key, so the
//! scenario loader checks flags and files alike.
//!
//! One file holds the flags of related subcommands: `migration`, `control`, `model`, `campaign` and
//! `tools`. `common` has the flags that several subcommands share, `own_guest` those of a guest
//! that the user brings, `help` the grouped list of commands.

#![expect(
    rustdoc::broken_intra_doc_links,
    reason = "these comments are the text of --help, where brackets are brackets"
)]

mod campaign;
mod common;
mod control;
mod help;
mod migration;
mod model;
mod own_guest;
mod tools;

pub(super) use campaign::{CompareArgs, SweepArgs};
pub(super) use common::{CommonArgs, OutcomeArg, load_scenario, load_scenario_over};
pub(super) use control::{RecoverArgs, ReviveArgs, StepArgs};
pub(super) use migration::{AttachArgs, MigrateArgs, RunArgs};
pub(super) use model::{CaptureArgs, DiagnoseArgs, InspectArgs, PredictArgs, SimulateArgs};
pub(super) use tools::{CredentialsArgs, DoctorArgs, LinkArgs};

use clap::{CommandFactory, FromArgMatches, Parser};
use qmp::Endpoint;

/// Drives and measures live migration of QEMU virtual machines over QMP.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, propagate_version = true)]
pub(super) struct Arguments {
    /// Log decisions to stderr (-v), or everything (-vv). Without it, only warnings are logged.
    #[arg(short, long, action = clap::ArgAction::Count, global = true, display_order = 900)]
    pub(super) verbose: u8,
    /// Accept QMP over unencrypted TCP to another host. Whoever can connect to that port, or listen
    /// to it, has root access to the guest.
    #[arg(long, global = true, display_order = 901)]
    pub(super) allow_plain_qmp: bool,
    #[command(subcommand)]
    pub(super) command: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Subcommand {
    /// Start two QEMUs and a test guest, migrate it, and measure the migration.
    Run(RunArgs),
    /// Migrate between two QEMUs that you started, and measure the migration.
    Migrate(MigrateArgs),
    /// Take over a running migration, for example after its driver died.
    Attach(AttachArgs),
    /// Pause a post-copy migration, so that it can continue over another network path.
    Pause(StepArgs),
    /// Cancel a migration, unless that could lose the guest.
    Cancel(StepArgs),
    /// Switch a pre-copy migration to post-copy.
    Switch(StepArgs),
    /// Continue a migration that waits in pre-switchover.
    Continue(StepArgs),
    /// Recover a post-copy migration whose connection broke, over a new connection.
    Recover(RecoverArgs),
    /// Resume a guest on its source after a failed post-copy (QEMU before 10.2).
    ///
    /// QEMU before 10.2 leaves the guest stopped on the source for good if post-copy fails before
    /// the destination has received it. This command resumes it there.
    Revive(ReviveArgs),
    /// Show a QEMU's migration settings, or the differences between two QEMUs.
    ///
    /// Shows capabilities, parameters, and the capabilities that cannot be combined.
    Inspect(InspectArgs),
    /// Explain why a run did not converge, or how near it came, and what would help.
    ///
    /// Also works on a run that has not finished.
    Diagnose(DiagnoseArgs),
    /// Predict the migration of a scenario from a model, without running it.
    ///
    /// Predicts whether it converges, how long it takes, the blackout, and what would help.
    Simulate(SimulateArgs),
    /// Measure how a running VM writes its memory, and predict its migration.
    ///
    /// Predicts whether it converges, how long it takes, and the blackout.
    Predict(PredictArgs),
    /// Write a scenario whose test guest writes its memory as a running VM does.
    ///
    /// The VM may be migrating at the time.
    Capture(CaptureArgs),
    /// Run a campaign: many runs over a matrix of settings.
    ///
    /// The runs are in random order, so that drift is not mistaken for an effect. A campaign that
    /// was interrupted continues with --resume.
    Sweep(SweepArgs),
    /// Compare runs: what differs, by how much, and how certain that is.
    ///
    /// Compares the cells of one campaign with its baseline, two campaigns, or a campaign with a
    /// baseline that was kept.
    Compare(CompareArgs),
    /// Forward TCP or unix connections through an emulated link.
    ///
    /// The link has a rate, a delay, a queue and outages.
    Link(LinkArgs),
    /// Create TLS credentials for tests: a CA, both sides' certificates, a pre-shared key.
    Credentials(CredentialsArgs),
    /// Check what this machine can do by trying it.
    Doctor(DoctorArgs),
}

impl Subcommand {
    /// The QMP endpoints that the user named.
    fn endpoints(&self) -> Vec<&Endpoint> {
        match self {
            Subcommand::Migrate(args) => [&args.source, &args.destination]
                .into_iter()
                .chain(&args.source_sampling)
                .chain(&args.destination_sampling)
                .collect(),
            Subcommand::Attach(args) => vec![&args.source, &args.destination],
            Subcommand::Recover(args) => vec![&args.step.source, &args.destination],
            Subcommand::Revive(args) => vec![&args.step.source, &args.destination],
            Subcommand::Pause(args)
            | Subcommand::Cancel(args)
            | Subcommand::Switch(args)
            | Subcommand::Continue(args) => vec![&args.source],
            Subcommand::Predict(args) => {
                [&args.source].into_iter().chain(&args.destination).collect()
            }
            Subcommand::Capture(args) => vec![&args.source],
            Subcommand::Inspect(args) => args.endpoints.iter().collect(),
            Subcommand::Run(_)
            | Subcommand::Sweep(_)
            | Subcommand::Compare(_)
            | Subcommand::Diagnose(_)
            | Subcommand::Simulate(_)
            | Subcommand::Link(_)
            | Subcommand::Credentials(_)
            | Subcommand::Doctor(_) => Vec::new(),
        }
    }
}

/// An endpoint on another host that is neither encrypted nor authenticated.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} is on another host, and QMP over TCP is neither encrypted nor authenticated: whoever \
     reaches that port has root access to the guest. Give the VM a unix socket and name it through \
     ssh (ssh:HOST:/run/vm.qmp), or accept the risk with --allow-plain-qmp"
)]
pub(super) struct PlainQmpError(Endpoint);

impl Arguments {
    /// Parses the command line. Where it cannot be used, or asks for help, prints that and exits.
    pub(super) fn parse_or_exit() -> Arguments {
        let matches = help::with_grouped_commands(Arguments::command()).get_matches();
        Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Checks that no endpoint is reached in clear text over a network, unless the user accepts it.
    ///
    /// # Errors
    /// [`PlainQmpError`] names the first such endpoint.
    pub(super) fn check_endpoints(&self) -> Result<(), PlainQmpError> {
        if self.allow_plain_qmp {
            return Ok(());
        }
        let exposed = self.command.endpoints().into_iter().find(|endpoint| endpoint.is_exposed());
        exposed.map_or(Ok(()), |endpoint| Err(PlainQmpError(endpoint.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_unencrypted_qmp_to_another_host_unless_it_is_allowed() {
        let check =
            |words: &[&str]| Arguments::try_parse_from(words).unwrap().check_endpoints().is_ok();
        assert!(check(&["switchover", "inspect", "unix:/a", "tcp:localhost:1"]));
        assert!(check(&["switchover", "inspect", "ssh:there:/a"]));
        assert!(check(&["switchover", "inspect", "tcp:[::1]:1"]));
        assert!(!check(&["switchover", "inspect", "unix:/a", "tcp:10.0.0.1:1"]));
        assert!(!check(&[
            "switchover",
            "migrate",
            "--source",
            "unix:/a",
            "--destination",
            "tcp:there:1"
        ]));
        assert!(!check(&[
            "switchover",
            "recover",
            "--source",
            "tcp:there:1",
            "--destination",
            "unix:/a",
            "--uri",
            "tcp:there:2"
        ]));
        assert!(check(&["switchover", "--allow-plain-qmp", "cancel", "--source", "tcp:there:1"]));
    }

    #[test]
    fn the_arguments_are_consistent_and_every_flag_has_help() {
        let mut command = Arguments::command();
        command.build();
        command.clone().debug_assert();
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            for argument in sub.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {} has no help",
                    sub.get_name(),
                    argument.get_id()
                );
            }
        }
    }
}
