//! `switchover link`

use super::args::LinkArgs;
use super::exit::Exit;
use super::output;
use base::units::human_bytes;
use lab::link::{Link, LinkError, Totals, validate_standalone};
use migrate::drive::Interrupt;
use migrate::sockets::Address;
use scenario::Link as LinkSettings;
use serde_json::json;

/// Forwards connections until a signal ends it, which is the normal end.
pub(super) async fn link(args: LinkArgs, mut interrupt: Interrupt) -> Exit {
    let scenario = match args.load_scenario() {
        Ok(scenario) => scenario,
        Err(error) => return Exit::usage(&error),
    };
    if let Err(error) = validate_standalone(&scenario.link) {
        return Exit::usage(&error);
    }
    let (link, address) = match start_link(&scenario.link, &args) {
        Ok(started) => started,
        Err(error) => return Exit::environment(&error),
    };
    let (listen, connect) = (address.to_string(), args.connect.to_string());
    output::print(&match args.json {
        true => format!("{}\n", json!({ "listen": listen, "connect": connect })),
        false => format!("{listen} forwards to {connect}; stop it with Ctrl-C\n"),
    });
    interrupt.wait().await;
    output::print(&format_totals(&link.stop(), args.json));
    Exit::ended_by_signal()
}

/// Starts the link, and returns it with the address on which it listens.
fn start_link(settings: &LinkSettings, args: &LinkArgs) -> Result<(Link, Address), LinkError> {
    let mut link = Link::start(settings, |_| ()).map_err(|source| LinkError::Start { source })?;
    let address = link
        .serve(&args.listen, args.connect.clone())
        .map_err(|source| LinkError::Listen { at: args.listen.clone(), source })?;
    Ok((link, address))
}

fn format_totals(totals: &Totals, json: bool) -> String {
    let Totals { channels, there, back } = totals;
    if json {
        let line = json!({
            "channels": channels, "bytes": there.bytes, "back_bytes": back.bytes,
            "held_max_bytes": there.max_held.max(back.max_held),
        });
        return format!("{line}\n");
    }
    let noun = if *channels == 1 { "connection" } else { "connections" };
    format!(
        "{channels} {noun}: {} forwarded, {} returned\n",
        human_bytes(there.bytes),
        human_bytes(back.bytes)
    )
}
