//! Runs the user's commands at the moments when the guest changes hosts, so that network and
//! storage can change with it.

use scenario::Hooks;
use std::process::Stdio;
use tokio::process::Command;

/// The moment at which a command of the user runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// The guest is stopped on the source, and the migration can still be cancelled.
    BeforeSwitchover,
    /// The guest runs on the destination.
    AfterSwitchover,
    /// The migration has ended without completing on the destination.
    OnFailure,
}

impl Hook {
    /// The key of the hook in the scenario.
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

/// Runs the hook with `sh -c`, with its name and `outcome` in the environment. Returns at once if
/// the scenario has no such hook. Its stdout is discarded, its stderr goes to ours.
///
/// # Errors
/// One sentence on what failed. A hook that exceeds `hooks.deadline` is killed.
pub(super) async fn run(hook: Hook, hooks: &Hooks, outcome: &str) -> Result<(), String> {
    let Some(command) = hook.command(hooks) else { return Ok(()) };
    let name = hook.name();
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).env("SWITCHOVER_HOOK", name).env("SWITCHOVER_OUTCOME", outcome);
    // Our stdout is for results. The hook gets its own process group, so that a Ctrl-C that is
    // meant for us does not kill it halfway.
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

/// Kills the hook and every process that it started.
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
    async fn reports_a_hook_that_fails_or_hangs_and_accepts_a_missing_one() {
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
