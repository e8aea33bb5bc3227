//! The list of commands in `switchover --help`, grouped by job. clap has no groups of subcommands,
//! so the list is text that is built from clap's own names and descriptions.

use clap::Command;
use std::fmt::Write;

/// Each group's heading, and its commands in the order of the list.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Migrate", &["run", "migrate", "attach"]),
    ("Control a migration", &["pause", "cancel", "switch", "continue", "recover", "revive"]),
    ("Understand a migration", &["inspect", "diagnose", "simulate", "predict", "capture"]),
    ("Campaigns", &["sweep", "compare"]),
    ("Lab and tools", &["doctor", "link", "credentials"]),
];

/// Replaces clap's list of subcommands, which has no groups.
const TEMPLATE: &str = "\
{about-with-newline}
{usage-heading} {usage}

{before-help}Options:
{options}{after-help}";

/// The command with the grouped list in its `--help`.
pub(super) fn with_grouped_commands(command: Command) -> Command {
    let list = grouped_commands(&command);
    command.help_template(TEMPLATE).before_help(list).after_help(
        "Run `switchover COMMAND --help` for the arguments of a command.\n\
         Start with `switchover doctor`, then `switchover run`.",
    )
}

fn grouped_commands(command: &Command) -> String {
    let names = GROUPS.iter().flat_map(|(_, names)| names.iter());
    let width = names.map(|name| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (heading, names) in GROUPS {
        let _ = writeln!(text, "{heading}:");
        for name in names {
            let about = command.find_subcommand(name).and_then(Command::get_about);
            let about = about.expect("a test checks that every name is a subcommand");
            let _ = writeln!(text, "  {name:<width$}  {about}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::Arguments;
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_subcommand_is_in_exactly_one_group() {
        let mut grouped: Vec<&str> =
            GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        grouped.sort_unstable();
        let command = Arguments::command();
        let mut all: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        all.sort_unstable();
        assert_eq!(grouped, all);
    }

    #[test]
    fn the_help_shows_each_command_on_one_line_of_at_most_100_columns() {
        let help = with_grouped_commands(Arguments::command()).render_help().to_string();
        let list = grouped_commands(&Arguments::command());
        assert!(help.contains(list.trim_end()), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
}
