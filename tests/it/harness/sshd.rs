//! A host that `ssh` gets to, which is this one: a server with keys of its own, for each connection
//! one, no port and no daemon.

use super::Scratch;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const SERVER: &str = "/usr/sbin/sshd";
/// What the server is called in ssh's configuration.
const ALIAS: &str = "node7";

/// Keys, and a program to be called instead of `ssh`.
pub(crate) struct Ssh {
    pub(crate) program: PathBuf,
}

impl Ssh {
    /// `None`, and said so on stderr, if this machine has no server to start.
    pub(crate) fn new(scratch: &Scratch) -> Option<Ssh> {
        if let Err(reason) = possible() {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            let _ = writeln!(std::io::stderr(), "skipped {test}: {reason}");
            return None;
        }
        std::fs::create_dir(scratch.join("ssh")).unwrap();
        let at = |name: &str| scratch.join("ssh").join(name).display().to_string();
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)])
                .status()
                .unwrap();
            assert!(made.success());
        }
        let public = std::fs::read_to_string(at("host.pub")).unwrap();
        scratch.file("ssh/known", &format!("{ALIAS} {public}"));
        let server = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile \
                none\nPasswordAuthentication no\n",
            at("host"),
            at("user.pub")
        );
        let server = scratch.file("ssh/sshd_config", &server);
        let client = format!(
            "Host {ALIAS}\n  HostKeyAlias {ALIAS}\n  IdentityFile {}\n  IdentitiesOnly yes\n  \
                UserKnownHostsFile {}\n  GlobalKnownHostsFile \
             /dev/null\n  ProxyCommand {SERVER} -i -f {}\n",
            at("user"),
            at("known"),
            server.display()
        );
        let client = scratch.file("ssh/ssh_config", &client);
        let program = scratch
            .file("ssh/program", &format!("#!/bin/sh\nexec ssh -F {} \"$@\"\n", client.display()));
        Some(Ssh { program })
    }

    /// The same socket, by way of ssh.
    pub(crate) fn to(endpoint: &str) -> String {
        format!("ssh:{ALIAS}:{}", endpoint.strip_prefix("unix:").unwrap())
    }
}

fn possible() -> Result<(), String> {
    for program in ["ssh", "ssh-keygen"] {
        Command::new(program)
            .arg("-V")
            .output()
            .map_err(|error| format!("{program}: {error}; Debian: openssh-client"))?;
    }
    if !Path::new(SERVER).exists() {
        return Err(format!("there is no {SERVER}; Debian: openssh-server"));
    }
    let separation = Path::new("/run/sshd");
    if nix::unistd::geteuid().is_root() && !separation.exists() {
        // As its service does before it starts it.
        std::fs::create_dir_all(separation)
            .map_err(|error| format!("sshd as root needs {}: {error}", separation.display()))?;
        let _ = std::fs::set_permissions(separation, PermissionsExt::from_mode(0o755));
    }
    Ok(())
}
