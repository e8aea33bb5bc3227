//! The command line: one file for each subcommand, which parses its arguments, calls the library,
//! prints the result and returns the exit code.

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
mod predict;
pub mod report;
mod run;
mod signals;
mod simulate;
mod step;
mod sweep;

use args::{Arguments, Subcommand};
use exit::{Exit, ExitCode};
use signals::Signals;
use std::panic::AssertUnwindSafe;

/// Parses the command line, runs the subcommand, and returns its exit code.
pub fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse_or_exit();
    output::init_logging(arguments.verbose);
    if let Err(error) = arguments.check_endpoints() {
        return Exit::environment(&error).finish(None);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Exit::internal(&error).finish(None),
    };
    let mut signals = None;
    // A panic must neither skip the clean-up that the future's values do when they are dropped
    // (unwinding drops them), nor look like a success.
    let exit = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let signals = signals.insert(Signals::listen()?);
            Ok::<Exit, std::io::Error>(execute(arguments.command, signals).await)
        })
    }));
    // Dropping the runtime ends the sessions and child processes that it still holds.
    drop(runtime);
    let exit = match exit {
        Ok(Ok(exit)) => exit,
        Ok(Err(error)) => Exit::internal(&error),
        Err(_) => Exit::with_code(ExitCode::Internal),
    };
    exit.finish(signals.and_then(|signals| signals.received()))
}

async fn execute(command: Subcommand, signals: &Signals) -> Exit {
    match command {
        Subcommand::Run(args) => run::run(args, signals.interrupt()).await,
        Subcommand::Migrate(args) => migrate::migrate(args, signals.interrupt()).await,
        Subcommand::Sweep(args) => sweep::sweep(args, signals.interrupt()).await,
        Subcommand::Compare(args) => compare::compare(&args),
        Subcommand::Inspect(args) => inspect::inspect(args).await,
        Subcommand::Attach(args) => attach::attach(args, signals.interrupt()).await,
        Subcommand::Pause(args) => step::step(args, step::Step::Pause).await,
        Subcommand::Cancel(args) => step::step(args, step::Step::Cancel).await,
        Subcommand::Switch(args) => step::step(args, step::Step::Switch).await,
        Subcommand::Continue(args) => step::step(args, step::Step::Continue).await,
        Subcommand::Recover(args) => step::recover(args).await,
        Subcommand::Revive(args) => step::revive(args).await,
        Subcommand::Predict(args) => predict::predict(args, signals.interrupt()).await,
        Subcommand::Capture(args) => capture::capture(args).await,
        Subcommand::Diagnose(args) => diagnose::diagnose(&args),
        Subcommand::Simulate(args) => simulate::simulate(&args),
        Subcommand::Link(args) => link::link(args, signals.interrupt()).await,
        Subcommand::Credentials(args) => credentials::credentials(&args),
        Subcommand::Doctor(args) => doctor::doctor(args).await,
    }
}
