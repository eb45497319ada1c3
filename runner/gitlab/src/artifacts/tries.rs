//! How often a transfer is tried.

use crate::Error;
use std::time::{Duration, Instant};

/// Counts the failures of one transfer.
#[derive(Debug)]
pub(super) struct Tries {
    made: usize,
    since: Instant,
    away: Duration,
}

impl Tries {
    /// Begins to count. `away` is how long the server may be away, whatever the number of tries.
    pub(super) fn new(away: Duration) -> Self {
        Self { made: 0, since: Instant::now(), away }
    }

    /// Counts a failure and tells whether to try again; `limit` is the number of tries after which this kind of failure
    /// is final. A server that is away may come back.
    pub(super) fn go_on(&mut self, error: &Error, limit: usize) -> bool {
        self.made += 1;
        self.made < limit || (error.is_retryable() && self.since.elapsed() < self.away)
    }

    /// Failures so far.
    pub(super) fn made(&self) -> usize {
        self.made
    }
}
