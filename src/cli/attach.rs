//! `switchover attach`

use super::args::AttachArgs;
use super::exit::Exit;
use super::output;
use super::run::report_run;
use migrate::drive::Interrupt;
use switchover::run::{Attach, Options, adopted};

pub(super) async fn attach(args: AttachArgs, interrupt: Interrupt) -> Exit {
    let scenario = match args.load_scenario() {
        Ok(scenario) => scenario,
        Err(error) => return Exit::usage(&error),
    };
    let side = |qmp| Attach { qmp, sampling: None, trace: None };
    let progress = output::progress_line();
    let options = Options { scenario, out: args.common.out.clone(), interrupt, progress };
    report_run(adopted(options, side(args.source), side(args.destination)).await, &args.common)
}
