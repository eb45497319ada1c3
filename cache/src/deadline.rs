//! Limits of time.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use crate::error::Error;

/// For so long nothing that a running save may lean on is removed from a store.
pub(crate) const GRACE: Duration = Duration::from_hours(48);

/// The moment after which an operation gives up. The AWS SDK alone would retry and wait for much longer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    start: Instant,
    given: Duration,
}

impl Deadline {
    pub(crate) fn after(given: Duration) -> Self {
        Self { start: Instant::now(), given }
    }

    fn error(&self, action: &str) -> Error {
        Error::Deadline { action: action.to_owned(), seconds: self.given.as_secs() }
    }

    /// Fails if the time is over.
    pub(crate) fn check(&self, action: &str) -> Result<(), Error> {
        if self.start.elapsed() < self.given { Ok(()) } else { Err(self.error(action)) }
    }

    /// Runs a call to the store, at most until the time is over.
    pub(crate) async fn within<T>(
        &self,
        action: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let left = self.given.saturating_sub(self.start.elapsed());
        tokio::time::timeout(left, call).await.unwrap_or_else(|_| Err(self.error(action)))
    }
}

/// Runs work that blocks on a thread made for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Error::file("work on", "files", std::io::Error::other(error))),
        },
    }
}
