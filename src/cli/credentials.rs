//! `switchover credentials`

use super::args::CredentialsArgs;
use super::exit::{Exit, ExitCode};
use super::output;
use lab::credentials::{CredentialsError, create};
use serde_json::json;

pub(super) fn credentials(args: &CredentialsArgs) -> Exit {
    let files = match create(&args.directory, &args.host) {
        Ok(files) => files,
        Err(error @ CredentialsError::Certificate { .. }) => return Exit::usage(&error),
        Err(error) => return Exit::with_error(ExitCode::ResultsNotWritten, &error),
    };
    let directory = std::path::absolute(&args.directory).unwrap_or_else(|_| args.directory.clone());
    if args.json {
        output::print_json(&json!({ "directory": directory, "files": files }));
    } else {
        let lines: String = files.iter().map(|file| format!("  {}\n", file.display())).collect();
        output::print(&format!(
            "created, for tests, valid for one year:\n{lines}\n\
             Copy the directory to the hosts of both QEMUs. Only the QEMUs' user may read it. \
             Then:\n  \
             switchover migrate ... --set tls.credentials=x509 --set tls.dir={}    (or psk)\n",
            directory.display()
        ));
    }
    Exit::success()
}
