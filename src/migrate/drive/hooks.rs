//! Commands of the user's at the moments when a guest changes hosts: for network and storage that have to change with it.

use scenario::Hooks;
use std::process::Stdio;
use tokio::process::Command;

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// The guest is stopped on the source, and everything can still be taken back.
    BeforeSwitchover,
    /// The guest runs on the destination.
    AfterSwitchover,
    /// It has ended, and the guest is not on the destination.
    OnFailure,
}

impl Hook {
    /// As in the scenario.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Hook::BeforeSwitchover => "before_switchover",
            Hook::AfterSwitchover => "after_switchover",
            Hook::OnFailure => "on_failure",
        }
    }

    fn command(self, hooks: &Hooks) -> Option<&String> {
        match self {
            Hook::BeforeSwitchover => hooks.before_switchover.as_ref(),
            Hook::AfterSwitchover => hooks.after_switchover.as_ref(),
            Hook::OnFailure => hooks.on_failure.as_ref(),
        }
    }
}

/// Runs it by `sh -c`, with its name and `outcome` in the environment; at once if there is none. What it prints goes where ours goes, to stderr.
///
/// # Errors
/// What went wrong, in a sentence. One that is not done by its deadline is killed.
pub(super) async fn run(hook: Hook, hooks: &Hooks, outcome: &str) -> Result<(), String> {
    let Some(command) = hook.command(hooks) else { return Ok(()) };
    let name = hook.name();
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).env("SWITCHOVER_HOOK", name).env("SWITCHOVER_OUTCOME", outcome);
    // stdout is for results; and a group of its own, so that a Ctrl-C that is meant for us does not end it half way.
    shell.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).process_group(0);
    let failed = |text: String| format!("the hook {name} ({command}) {text}");
    let mut child =
        shell.spawn().map_err(|error| failed(format!("could not be started: {error}")))?;
    match tokio::time::timeout(hooks.deadline.duration(), child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(failed(format!("failed: {status}"))),
        Ok(Err(error)) => Err(failed(format!("was lost: {error}"))),
        Err(_) => {
            end_group(&child);
            Err(failed(format!("was not done within {}", hooks.deadline)))
        }
    }
}

/// With everything that it started.
fn end_group(child: &tokio::process::Child) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let _ = nix::sys::signal::killpg(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGKILL,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::units::Micros;

    fn hooks(command: &str) -> Hooks {
        Hooks {
            after_switchover: Some(command.to_owned()),
            deadline: Micros(300_000),
            ..Hooks::default()
        }
    }

    #[tokio::test]
    async fn one_that_fails_or_hangs_says_so_and_one_that_is_not_there_succeeds() {
        let after =
            async |command: &str| run(Hook::AfterSwitchover, &hooks(command), "completed").await;
        assert_eq!(
            after(
                "test $SWITCHOVER_HOOK = after_switchover && test $SWITCHOVER_OUTCOME = completed"
            )
            .await,
            Ok(())
        );
        assert!(after("exit 3").await.unwrap_err().contains("failed: exit status: 3"));
        assert!(after("sleep 30 & wait").await.unwrap_err().contains("was not done within 300ms"));
        assert_eq!(run(Hook::OnFailure, &hooks("exit 3"), "failed").await, Ok(()));
    }
}
