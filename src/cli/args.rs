//! The arguments. Every flag that sets something is a scenario key by another name, so there is one way in.

mod campaign;
mod common;

pub(super) use campaign::{CompareArgs, SweepArgs};
pub(super) use common::{CommonArgs, LabArgs, OutcomeArg, scenario, scenario_over};

use super::own_args::OwnArgs;
use clap::{Args, Parser};
use std::path::PathBuf;
use switchover::qmp::Endpoint;
use switchover::scenario::{Loader, Scenario, ScenarioError};
use switchover::sockets::Address;
use switchover::units::{Micros, Rate};

/// Drives and measures live migration of QEMU virtual machines over QMP.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, propagate_version = true)]
pub(super) struct Arguments {
    /// Say what is decided (-v) and everything else (-vv), on stderr.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(super) verbose: u8,
    /// Speak QMP over TCP to another host in clear: whoever can listen in or connect there is root on the guest.
    #[arg(long, global = true)]
    pub(super) allow_plain_qmp: bool,
    #[command(subcommand)]
    pub(super) command: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Subcommand {
    /// Start a pair of QEMUs with a guest, migrate, measure, write a run directory.
    Run(RunArgs),
    /// Migrate between two QEMUs that you started, and measure.
    Migrate(MigrateArgs),
    /// See a migration through whose driver died, or that somebody else began: find out where it stands, carry on, recover.
    Attach(AttachArgs),
    /// Break the channel of a post-copy on purpose, to go on over another.
    Pause(StepArgs),
    /// Cancel a migration, unless that could lose the guest.
    Cancel(StepArgs),
    /// Switch a pre-copy over to post-copy.
    Switch(StepArgs),
    /// Let a migration switch over that waits for it in pre-switchover.
    Continue(StepArgs),
    /// Bring a post-copy back whose channel broke, over a new one.
    Recover(RecoverArgs),
    /// Start a guest that a failed post-copy left standing on its source for good, when the destination never had it (QEMU before 10.2).
    Revive(ReviveArgs),
    /// Run a campaign: many runs over a matrix of settings, in an order that drift does not masquerade in; go on after any interruption.
    Sweep(SweepArgs),
    /// Say what differs between runs: of one campaign, of two, of a kept baseline; how much, and how sure that is.
    Compare(CompareArgs),
    /// Show capabilities, parameters, what differs between two QEMUs, which combinations don't work.
    Inspect(InspectArgs),
    /// Say why a run did not converge, or how near it was, and what would help; also while it goes on.
    Diagnose(DiagnoseArgs),
    /// Predict a scenario without running it: whether it converges, how long, what blackout, and what would help.
    Simulate(SimulateArgs),
    /// Measure what a running VM writes, and predict its migration: whether it converges, how long, what blackout.
    Predict(PredictArgs),
    /// Make a scenario of a running VM, or of its migration while it goes on: a lab guest that writes alike.
    Capture(CaptureArgs),
    /// Be a network: let connections in, and pass them on with a rate, a delay, a window, outages.
    Link(LinkArgs),
    /// Make TLS credentials for tests: a CA, certificates of both sides, a pre-shared key.
    Credentials(CredentialsArgs),
    /// Find out whether this machine can do all that, by trying.
    Doctor(DoctorArgs),
}

impl Subcommand {
    /// QMP sockets that it was given.
    fn endpoints(&self) -> Vec<&Endpoint> {
        let all: Vec<Option<&Endpoint>> = match self {
            Subcommand::Migrate(args) => vec![
                Some(&args.source),
                Some(&args.destination),
                args.source_sampling.as_ref(),
                args.destination_sampling.as_ref(),
            ],
            Subcommand::Attach(args) => vec![Some(&args.source), Some(&args.destination)],
            Subcommand::Recover(args) => vec![Some(&args.step.source), Some(&args.destination)],
            Subcommand::Revive(args) => vec![Some(&args.step.source), Some(&args.destination)],
            Subcommand::Pause(args)
            | Subcommand::Cancel(args)
            | Subcommand::Switch(args)
            | Subcommand::Continue(args) => {
                vec![Some(&args.source)]
            }
            Subcommand::Predict(args) => vec![Some(&args.source), args.destination.as_ref()],
            Subcommand::Capture(args) => vec![Some(&args.source)],
            Subcommand::Inspect(args) => args.endpoints.iter().map(Some).collect(),
            Subcommand::Run(_)
            | Subcommand::Sweep(_)
            | Subcommand::Compare(_)
            | Subcommand::Diagnose(_)
            | Subcommand::Simulate(_)
            | Subcommand::Link(_)
            | Subcommand::Credentials(_)
            | Subcommand::Doctor(_) => Vec::new(),
        };
        all.into_iter().flatten().collect()
    }
}

/// QMP in clear to another host.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} is on another host, and QMP there is neither encrypted nor authenticated: whoever reaches that port is root on the guest. Give the \
     VM a unix socket and name it through ssh (ssh:HOST:/run/vm.qmp), or say --allow-plain-qmp"
)]
pub(super) struct PlainQmp(Endpoint);

impl Arguments {
    /// # Errors
    /// [`PlainQmp`], unless that is allowed.
    pub(super) fn check_endpoints(&self) -> Result<(), PlainQmp> {
        let plain = self.command.endpoints().into_iter().find(|endpoint| endpoint.is_exposed());
        plain
            .filter(|_| !self.allow_plain_qmp)
            .map_or(Ok(()), |endpoint| Err(PlainQmp(endpoint.clone())))
    }
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// A scenario (TOML). Without one: the built-in scenario.
    pub(super) scenario: Option<PathBuf>,
    #[command(flatten)]
    pub(super) lab: LabArgs,
    #[command(flatten)]
    pub(super) own: OwnArgs,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

impl RunArgs {
    pub(super) fn scenario(&self) -> Result<Scenario, ScenarioError> {
        let mut loader = Loader::new();
        if let Some(file) = &self.scenario {
            loader.file(file)?;
        }
        self.own.set(&mut loader)?;
        scenario_over(loader, None, Some(&self.lab), Some(&self.common))
    }
}

#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    /// A scenario (TOML) for everything but the QEMUs themselves.
    #[arg(long)]
    pub(super) scenario: Option<PathBuf>,
    /// QMP socket of the source: unix:PATH, tcp:HOST:PORT or ssh:[USER@]HOST:PATH.
    #[arg(long, value_name = "QMP")]
    pub(super) source: Endpoint,
    /// QMP socket of the destination, started with the source's options and `-incoming defer`.
    #[arg(long, value_name = "QMP")]
    pub(super) destination: Endpoint,
    /// A second QMP socket of the source, only for sampling.
    #[arg(long, value_name = "QMP")]
    pub(super) source_sampling: Option<Endpoint>,
    /// A second QMP socket of the destination, only for sampling.
    #[arg(long, value_name = "QMP")]
    pub(super) destination_sampling: Option<Endpoint>,
    /// Trace file of the source (its -D, with -msg timestamp=on): where the blackout went. Since QEMU 8.2.
    #[arg(long, value_name = "FILE")]
    pub(super) source_trace: Option<PathBuf>,
    /// Trace file of the destination.
    #[arg(long, value_name = "FILE")]
    pub(super) destination_trace: Option<PathBuf>,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct AttachArgs {
    /// QMP socket of the source: unix:PATH, tcp:HOST:PORT or ssh:[USER@]HOST:PATH.
    #[arg(long, value_name = "QMP")]
    pub(super) source: Endpoint,
    /// QMP socket of the destination.
    #[arg(long, value_name = "QMP")]
    pub(super) destination: Endpoint,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

impl AttachArgs {
    /// The scenario; without a time-out unless one is asked for, for it is not our migration.
    pub(super) fn scenario(&self) -> Result<Scenario, ScenarioError> {
        let mut loader = Loader::new();
        loader.set_text("timeout", "1000h")?;
        scenario_over(loader, None, None, Some(&self.common))
    }
}

#[derive(Debug, Args)]
pub(super) struct StepArgs {
    /// QMP socket of the source: unix:PATH, tcp:HOST:PORT or ssh:[USER@]HOST:PATH.
    #[arg(long, value_name = "QMP")]
    pub(super) source: Endpoint,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct RecoverArgs {
    #[command(flatten)]
    pub(super) step: StepArgs,
    /// QMP socket of the destination.
    #[arg(long, value_name = "QMP")]
    pub(super) destination: Endpoint,
    /// Where the destination shall listen: tcp:HOST:PORT (port 0 takes a free one) or unix:PATH.
    #[arg(long)]
    pub(super) uri: String,
}

#[derive(Debug, Args)]
pub(super) struct ReviveArgs {
    #[command(flatten)]
    pub(super) step: StepArgs,
    /// QMP socket of the destination, which must have failed before it had the guest.
    #[arg(long, value_name = "QMP")]
    pub(super) destination: Endpoint,
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// QMP sockets: one, or two to compare.
    #[arg(required = true, num_args = 1..=2, value_name = "QMP")]
    pub(super) endpoints: Vec<Endpoint>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct DiagnoseArgs {
    /// A run directory.
    pub(super) run: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct PredictArgs {
    /// QMP socket of the VM: unix:PATH or tcp:HOST:PORT. What no flag says is as it is set there.
    #[arg(long, value_name = "QMP")]
    pub(super) source: Endpoint,
    /// What the network carries, such as 1GiB/s or 10Gbit/s.
    #[arg(long, value_name = "RATE")]
    pub(super) bandwidth: Option<Rate>,
    /// Then migrate, and print prediction against outcome.
    #[arg(long, requires = "destination")]
    pub(super) verify: bool,
    /// QMP socket of the destination, for --verify.
    #[arg(long, value_name = "QMP")]
    pub(super) destination: Option<Endpoint>,
    /// A scenario (TOML) for everything but the VM.
    #[arg(long)]
    pub(super) scenario: Option<PathBuf>,
    /// How long to watch a migration that goes on already.
    #[arg(long = "for", value_name = "TIME", default_value = "10s")]
    pub(super) watch: Micros,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct CaptureArgs {
    /// QMP socket of the VM: unix:PATH, tcp:HOST:PORT or ssh:[USER@]HOST:PATH.
    #[arg(long, value_name = "QMP")]
    pub(super) source: Endpoint,
    /// The scenario to write; stdout unless given.
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// Divide sizes and rates by so much, for VMs that are larger than the lab.
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub(super) scale: u32,
    /// What the network carries, such as 1GiB/s or 10Gbit/s.
    #[arg(long, value_name = "RATE")]
    pub(super) bandwidth: Option<Rate>,
    /// How long to watch a migration that goes on already.
    #[arg(long = "for", value_name = "TIME", default_value = "10s")]
    pub(super) watch: Micros,
    /// Any scenario key: --set timeout=20s.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// A scenario (TOML). Without one: the built-in scenario.
    scenario: Option<PathBuf>,
    #[command(flatten)]
    pub(super) common: CommonArgs,
    /// A line for each value of a key: --sweep guest.rate=50MiB/s,100MiB/s,200MiB/s.
    #[arg(long, value_name = "KEY=VALUE,…", value_parser = sweep)]
    pub(super) sweep: Option<(String, Vec<String>)>,
}

fn sweep(text: &str) -> Result<(String, Vec<String>), String> {
    let (key, values) = text.split_once('=').ok_or("write KEY=VALUE,VALUE,…")?;
    Ok((key.to_owned(), values.split(',').map(str::to_owned).collect()))
}

impl SimulateArgs {
    /// The scenario, with one more setting.
    pub(super) fn scenario(&self, setting: Option<&str>) -> Result<Scenario, ScenarioError> {
        let mut common = self.common.clone();
        common.set.extend(setting.map(str::to_owned));
        scenario(self.scenario.as_ref(), None, Some(&common))
    }
}

#[derive(Debug, Args)]
pub(super) struct LinkArgs {
    /// A scenario (TOML), of which [link] counts.
    pub(super) scenario: Option<PathBuf>,
    /// Where connections come in: unix:PATH or tcp:HOST:PORT; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) listen: Address,
    /// Where they go on to.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) connect: Address,
    /// A key of the link: --set link.preset=halifax.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print JSON: the address, and at the end what passed.
    #[arg(long)]
    pub(super) json: bool,
}

impl LinkArgs {
    /// The scenario with the link.
    pub(super) fn scenario(&self) -> Result<Scenario, ScenarioError> {
        let mut loader = Loader::new();
        if let Some(file) = &self.scenario {
            loader.file(file)?;
        }
        for assignment in &self.set {
            loader.set(assignment)?;
        }
        loader.load()
    }
}

#[derive(Debug, Args)]
pub(super) struct CredentialsArgs {
    /// A directory that is new or empty.
    pub(super) directory: PathBuf,
    /// A name or an address of the destination's host, besides localhost: what a URI or tls.hostname says.
    #[arg(long, value_name = "NAME")]
    pub(super) host: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    pub(super) lab: LabArgs,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn qmp_in_clear_to_another_host_needs_a_word() {
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
