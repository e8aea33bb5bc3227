//! `switchover credentials`

use super::args::CredentialsArgs;
use super::exit::{Exit, ExitCode};
use super::output;
use serde_json::json;
use switchover::credentials::{CredentialsError, make};

pub(super) fn credentials(args: &CredentialsArgs) -> Exit {
    let files = match make(&args.directory, &args.host) {
        Ok(files) => files,
        Err(error @ CredentialsError::Certificate { .. }) => return Exit::usage(&error),
        Err(error) => return Exit::with_error(ExitCode::ResultsNotWritten, &error),
    };
    let directory = std::path::absolute(&args.directory).unwrap_or_else(|_| args.directory.clone());
    if args.json {
        let json = json!({ "directory": directory, "files": files });
        output::result(&format!("{}\n", serde_json::to_string_pretty(&json).unwrap_or_default()));
    } else {
        let lines: String = files.iter().map(|file| format!("  {}\n", file.display())).collect();
        output::result(&format!(
            "made, for tests, good for a year:\n{lines}\nCopy the directory to the hosts of both QEMUs, readable by their user only. Then:\n  \
             switchover migrate ... --set tls.credentials=x509 --set tls.dir={}    (or psk)\n",
            directory.display()
        ));
    }
    Exit::success()
}
