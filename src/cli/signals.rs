//! Signals: the first one asks the run to end safely; which one it was is kept, to be re-raised.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use switchover::drive::Interrupt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Listens for SIGINT, SIGTERM and SIGHUP.
pub(super) struct Signals {
    wanted: watch::Receiver<bool>,
    caught: Arc<AtomicI32>,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Signals> {
        let (sender, wanted) = watch::channel(false);
        let caught = Arc::new(AtomicI32::new(0));
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let mut signals = signal(kind)?;
            let (sender, caught) = (sender.clone(), caught.clone());
            tokio::spawn(async move {
                if signals.recv().await.is_some() {
                    caught.store(kind.as_raw_value(), Ordering::Relaxed);
                    let _ = sender.send(true);
                }
            });
        }
        Ok(Signals { wanted, caught })
    }

    pub(super) fn interrupt(&self) -> Interrupt {
        Interrupt(self.wanted.clone())
    }

    /// The signal that came, if one did.
    pub(super) fn caught(&self) -> Option<i32> {
        Some(self.caught.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
    }
}
