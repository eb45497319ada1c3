//! Who is told about a job besides GitLab.

use crate::job::stops::Stops;
use crate::link::lease::Lease;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Whose job it is.
#[derive(Clone, Debug)]
pub enum Owner {
    /// This agent's alone: it took the job from GitLab itself.
    Alone,
    /// A runner's, which assigned it.
    Runner(Lease),
}

impl Owner {
    /// Waits until the user's script may run. Never returns when it may not: the job is stopped instead.
    pub async fn barrier(&self, stops: &Stops) {
        let Self::Runner(lease) = self else { return };
        if let Err(why) = lease.open_barrier().await {
            stops.stop(why);
            std::future::pending::<()>().await;
        }
    }

    /// Fires when the job is somebody else's.
    #[must_use]
    pub fn lost(&self) -> CancellationToken {
        match self {
            Self::Alone => CancellationToken::new(),
            Self::Runner(lease) => lease.lost.clone(),
        }
    }

    /// Fires when the runner was away for too long before the barrier.
    #[must_use]
    pub fn given_up(&self) -> CancellationToken {
        match self {
            Self::Alone => CancellationToken::new(),
            Self::Runner(lease) => lease.given_up.clone(),
        }
    }

    /// Lets heartbeats tell which section of the log is open.
    pub fn follow(&self, section: watch::Receiver<Option<String>>) {
        if let Self::Runner(lease) = self {
            lease.follow(section);
        }
    }

    /// Whether somebody else can run the job as long as its script did not run here.
    #[must_use]
    pub fn can_give_up(&self) -> bool {
        matches!(self, Self::Runner(_))
    }
}
