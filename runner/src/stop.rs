//! How the runner is told to stop.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The stages of stopping; each comes with those before it.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// No new job requests.
    pub intake: CancellationToken,
    /// Once the jobs have ended, end all executors too.
    pub drain: CancellationToken,
    /// Stop everything; the next runner goes on.
    pub now: CancellationToken,
}

impl Stop {
    /// Listens to SIGTERM and SIGINT (stop; running jobs go on and the next runner takes over) and SIGQUIT (wait for
    /// running jobs, end all executors, stop). A second signal does not wait for anything.
    pub fn on_signals() -> Result<Self> {
        let stop = Self::default();
        let listen = |kind| signal(kind).context("listen to signals");
        let term = listen(SignalKind::terminate())?;
        let int = listen(SignalKind::interrupt())?;
        let quit = listen(SignalKind::quit())?;
        tokio::spawn(stop.clone().heed(term, int, quit));
        Ok(stop)
    }

    async fn heed(self, mut term: Signal, mut int: Signal, mut quit: Signal) {
        tokio::select! {
            _ = term.recv() => tracing::info!("SIGTERM: stopping; running jobs go on without this runner"),
            _ = int.recv() => tracing::info!("SIGINT: stopping; running jobs go on without this runner"),
            _ = quit.recv() => {
                tracing::info!("SIGQUIT: stopping once all jobs have ended");
                self.drain.cancel();
            }
        }
        self.intake.cancel();
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            _ = quit.recv() => {}
        }
        tracing::warn!("second signal: stopping at once");
        self.now.cancel();
    }
}
