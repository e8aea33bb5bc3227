//! The command. All of it is in `cli`; here is only the way in and out.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
