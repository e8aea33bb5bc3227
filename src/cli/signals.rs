//! Signals. The first one asks the run to end safely. Which one it was is kept, so that the command
//! can end by that signal afterwards.

use migrate::drive::Interrupt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Handlers of SIGINT, SIGTERM and SIGHUP.
pub(super) struct Signals {
    is_interrupted: watch::Receiver<bool>,
    /// The number of the last signal; 0 before the first one.
    received: Arc<AtomicI32>,
}

impl Signals {
    /// Installs the handlers. It must be called inside a tokio runtime.
    pub(super) fn listen() -> io::Result<Signals> {
        let (sender, is_interrupted) = watch::channel(false);
        let received = Arc::new(AtomicI32::new(0));
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let mut signals = signal(kind)?;
            let (sender, received) = (sender.clone(), received.clone());
            tokio::spawn(async move {
                if signals.recv().await.is_some() {
                    received.store(kind.as_raw_value(), Ordering::Relaxed);
                    let _ = sender.send(true);
                }
            });
        }
        Ok(Signals { is_interrupted, received })
    }

    /// What the library watches to end early.
    pub(super) fn interrupt(&self) -> Interrupt {
        Interrupt(self.is_interrupted.clone())
    }

    /// The number of the signal that was received, if any.
    pub(super) fn received(&self) -> Option<i32> {
        Some(self.received.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
    }
}
