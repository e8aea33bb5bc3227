//! `switchover link`

use super::args::LinkArgs;
use super::exit::Exit;
use super::output;
use serde_json::json;
use switchover::drive::Interrupt;
use switchover::link::{Link, LinkError, Totals, stands_alone};
use switchover::sockets::Address;
use switchover::units::human_bytes;

/// Runs until a signal comes, which is how it is meant to end.
pub(super) async fn link(args: LinkArgs, mut interrupt: Interrupt) -> Exit {
    let scenario = match args.scenario() {
        Ok(scenario) => scenario,
        Err(error) => return Exit::usage(&error),
    };
    if let Err(error) = stands_alone(&scenario.link) {
        return Exit::usage(&error);
    }
    let (link, address) = match start(&scenario.link, &args) {
        Ok(started) => started,
        Err(error) => return Exit::environment(&error),
    };
    let (listens, leads) = (address.to_string(), args.connect.to_string());
    output::result(&match args.json {
        true => format!("{}\n", json!({ "listen": listens, "connect": leads })),
        false => format!("{listens} leads to {leads}; end it with Ctrl-C\n"),
    });
    interrupt.wait().await;
    output::result(&passed(&link.stop(), args.json));
    Exit::ended_by_signal()
}

fn start(
    asked: &switchover::scenario::Link,
    args: &LinkArgs,
) -> Result<(Link, Address), LinkError> {
    let mut link = Link::start(asked, |_| ()).map_err(|source| LinkError::Start { source })?;
    let address = link
        .serve(&args.listen, args.connect.clone())
        .map_err(|source| LinkError::Listen { at: args.listen.clone(), source })?;
    Ok((link, address))
}

fn passed(totals: &Totals, json: bool) -> String {
    let Totals { channels, there, back } = totals;
    if json {
        let line = json!({ "channels": channels, "bytes": there.bytes, "back_bytes": back.bytes,
                           "held_max_bytes": there.most_held.max(back.most_held) });
        return format!("{line}\n");
    }
    let noun = if *channels == 1 { "connection" } else { "connections" };
    format!(
        "{channels} {noun}: {} there, {} back\n",
        human_bytes(there.bytes),
        human_bytes(back.bytes)
    )
}
