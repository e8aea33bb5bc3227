//! The `switchover` command. All of it is in `src/cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    switchover_cli::main()
}
