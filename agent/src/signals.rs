//! What the operator's signals mean (protocol §2.8).

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// SIGQUIT: no new jobs, those that run go on. SIGTERM and SIGINT: running jobs are stopped, too; a second one ends
/// the process at once.
#[derive(Clone, Debug)]
pub struct Signals {
    quit: CancellationToken,
    interrupt: CancellationToken,
}

impl Signals {
    /// Begins to listen.
    pub fn listen() -> Result<Self> {
        let this = Self { quit: CancellationToken::new(), interrupt: CancellationToken::new() };
        let on = |kind| signal(kind).context("cannot listen to signals");
        let (term, int) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
        tokio::spawn(this.clone().watch(term, int, on(SignalKind::quit())?));
        Ok(this)
    }

    async fn watch(self, mut term: Signal, mut int: Signal, mut quit: Signal) {
        loop {
            tokio::select! {
                _ = term.recv() => self.stop(),
                _ = int.recv() => self.stop(),
                _ = quit.recv() => {}
            }
            self.quit.cancel();
        }
    }

    fn stop(&self) {
        if self.interrupt.is_cancelled() {
            tracing::error!("told to stop twice: ending at once");
            std::process::exit(1);
        }
        tracing::info!("told to stop: running jobs are stopped");
        self.interrupt.cancel();
    }

    /// No new job is to be taken, as after SIGQUIT.
    pub fn take_no_more(&self) {
        self.quit.cancel();
    }

    /// Waits until no new job is to be taken.
    pub async fn quit(&self) {
        self.quit.cancelled().await;
    }

    /// Whether no new job is to be taken.
    #[must_use]
    pub fn is_quitting(&self) -> bool {
        self.quit.is_cancelled()
    }

    /// Fires when running jobs are to be stopped.
    #[must_use]
    pub fn interrupt(&self) -> &CancellationToken {
        &self.interrupt
    }
}
