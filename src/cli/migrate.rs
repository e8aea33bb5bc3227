//! `switchover migrate`

use super::args::{MigrateArgs, load_scenario};
use super::exit::Exit;
use super::output;
use super::run::report_run;
use migrate::drive::Interrupt;
use switchover::run::{Attach, Options, attached};

pub(super) async fn migrate(args: MigrateArgs, interrupt: Interrupt) -> Exit {
    let scenario = match load_scenario(args.scenario.as_ref(), None, Some(&args.common)) {
        Ok(scenario) => scenario,
        Err(error) => return Exit::usage(&error),
    };
    if args.common.print_scenario {
        output::print(&scenario.to_toml());
        return Exit::success();
    }
    let source =
        Attach { qmp: args.source, sampling: args.source_sampling, trace: args.source_trace };
    let destination = Attach {
        qmp: args.destination,
        sampling: args.destination_sampling,
        trace: args.destination_trace,
    };
    let progress = output::progress_line();
    let options = Options { scenario, out: args.common.out.clone(), interrupt, progress };
    report_run(attached(options, source, destination).await, &args.common)
}
