//! What is under way, and what has failed so lately that it is not tried again yet.

use crate::clock::Time;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long after something failed it is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// Attempts at things that have names. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempts {
    /// Until when each rests; without a time it is under way.
    resting: Arc<Mutex<BTreeMap<String, Option<Time>>>>,
}

impl Attempts {
    /// Whether it is neither under way nor resting.
    pub(super) fn may_begin(&self, name: &str, now: Time) -> bool {
        let mut resting = self.lock();
        resting.retain(|_, until| until.is_none_or(|until| until > now));
        !resting.contains_key(name)
    }

    /// It is under way from now on.
    pub(super) fn begin(&self, name: &str) {
        self.lock().insert(name.to_owned(), None);
    }

    /// It is over, and may begin again at once.
    pub(super) fn done(&self, name: &str) {
        self.lock().remove(name);
    }

    /// It has failed, and rests for a while.
    pub(super) fn failed(&self, name: &str, now: Time) {
        self.lock().insert(name.to_owned(), Some(now + PAUSE));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Option<Time>>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
