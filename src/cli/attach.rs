//! `switchover attach`

use super::args::AttachArgs;
use super::exit::Exit;
use super::output;
use super::run::conclude;
use switchover::drive::Interrupt;
use switchover::run::{Attach, Options, adopted};

pub(super) async fn attach(args: AttachArgs, interrupt: Interrupt) -> Exit {
    let scenario = match args.scenario() {
        Ok(scenario) => scenario,
        Err(error) => return Exit::usage(&error),
    };
    let side = |qmp| Attach { qmp, sampling: None, trace: None };
    let options =
        Options { scenario, out: args.common.out.clone(), interrupt, progress: output::progress() };
    conclude(adopted(options, side(args.source), side(args.destination)).await, &args.common)
}
