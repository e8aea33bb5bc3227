//! The command line: one file a subcommand. Parses, calls the library, prints, gives the exit code. No logic of its own.

mod args;
mod attach;
mod capture;
mod compare;
mod connect;
mod credentials;
mod diagnose;
mod doctor;
mod exit;
mod inspect;
mod link;
mod migrate;
mod output;
mod own_args;
mod predict;
mod run;
mod signals;
mod simulate;
mod step;
mod sweep;

use args::{Arguments, Subcommand};
use clap::Parser;
use exit::{Exit, ExitCode};
use std::panic::AssertUnwindSafe;

/// Parses, runs, and ends the way the design says: see `exit`.
pub(crate) fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    output::start_log(arguments.verbose);
    if let Err(error) = arguments.check_endpoints() {
        return Exit::environment(&error).finish(None);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Exit::internal(&error).finish(None),
    };
    let mut signals = None;
    // A panic must not skip the clean-up of what lives in the future (unwinding does that) nor look like success.
    let exit = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let caught = signals.insert(signals::Signals::listen()?);
            Ok::<Exit, std::io::Error>(match arguments.command {
                Subcommand::Run(args) => run::run(args, caught.interrupt()).await,
                Subcommand::Migrate(args) => migrate::migrate(args, caught.interrupt()).await,
                Subcommand::Sweep(args) => sweep::sweep(args, caught.interrupt()).await,
                Subcommand::Compare(args) => compare::compare(&args),
                Subcommand::Inspect(args) => inspect::inspect(args).await,
                Subcommand::Attach(args) => attach::attach(args, caught.interrupt()).await,
                Subcommand::Pause(args) => step::step(args, step::Step::Pause).await,
                Subcommand::Cancel(args) => step::step(args, step::Step::Cancel).await,
                Subcommand::Switch(args) => step::step(args, step::Step::Switch).await,
                Subcommand::Continue(args) => step::step(args, step::Step::Continue).await,
                Subcommand::Recover(args) => step::recover(args).await,
                Subcommand::Revive(args) => step::revive(args).await,
                Subcommand::Predict(args) => predict::predict(args, caught.interrupt()).await,
                Subcommand::Capture(args) => capture::capture(args).await,
                Subcommand::Diagnose(args) => diagnose::diagnose(&args),
                Subcommand::Simulate(args) => simulate::simulate(&args),
                Subcommand::Link(args) => link::link(args, caught.interrupt()).await,
                Subcommand::Credentials(args) => credentials::credentials(&args),
                Subcommand::Doctor(args) => doctor::doctor(args).await,
            })
        })
    }));
    // Sessions and children that the runtime still holds end here.
    drop(runtime);
    let exit = match exit {
        Ok(Ok(exit)) => exit,
        Ok(Err(error)) => Exit::internal(&error),
        Err(_) => Exit::with_code(ExitCode::Internal),
    };
    exit.finish(signals.and_then(|signals| signals.caught()))
}
