//! The connection to one QEMU, and what limits waiting for it.

use qmp::{Notices, Session};
use std::time::Duration;
use tokio::sync::watch;

/// The time limit for the answer to one command.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// The interval at which the loop checks deadlines and passes on samples.
pub(super) const TICK_INTERVAL: Duration = Duration::from_millis(20);

/// The connection to one QEMU.
#[derive(Debug)]
pub struct End {
    /// The QMP session.
    pub session: Session,
    /// The events of the session.
    pub notices: Notices,
}

/// A flag that becomes true when the user asks to stop.
#[derive(Clone, Debug)]
pub struct Interrupt(pub watch::Receiver<bool>);

impl Interrupt {
    /// An interrupt that never comes.
    #[must_use]
    pub fn never() -> Interrupt {
        // The sender is dropped: `wait` then never resolves.
        Interrupt(watch::channel(false).1)
    }

    /// Waits for the interrupt.
    pub async fn wait(&mut self) {
        if self.0.wait_for(|wanted| *wanted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
