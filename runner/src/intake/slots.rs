//! Room for jobs: who may ask GitLab for one.

use crate::config::Entry;
use crate::ownership::{Phase, State};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Counts the job requests under way, each of which may bring a job.
#[derive(Clone, Debug)]
pub struct Slots {
    concurrent: usize,
    executors: usize,
    asking: Arc<Mutex<BTreeMap<String, usize>>>,
    freed: Arc<Notify>,
}

/// The right to ask for one job; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    slots: Slots,
    entry: String,
}

impl Slots {
    /// Room for `concurrent` jobs in all, and for those that `executors` can serve.
    #[must_use]
    pub fn new(concurrent: usize, executors: usize) -> Self {
        Self { concurrent, executors, asking: Arc::default(), freed: Arc::default() }
    }

    /// Takes the right to ask for a job of the entry, if there is room for one.
    #[must_use]
    pub fn take(&self, entry: &Entry, state: &State) -> Option<Slot> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = asking.values().sum();
        let own = asking.entry(entry.id.clone()).or_default();
        if !has_room(self.concurrent, self.executors, entry, state, all, *own) {
            return None;
        }
        *own += 1;
        Some(Slot { slots: self.clone(), entry: entry.id.clone() })
    }

    /// Waits until a slot was given back.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut asking = self.slots.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = asking.get_mut(&self.entry) {
            *count = count.saturating_sub(1);
        }
        self.slots.freed.notify_waiters();
    }
}

/// Whether one more request may be made while `all` and `own` (of the entry) are under way.
fn has_room(concurrent: usize, executors: usize, entry: &Entry, state: &State, all: usize, own: usize) -> bool {
    let jobs = state.jobs.values();
    let of_entry = jobs.clone().filter(|job| job.entry == entry.id).count();
    let for_executors = jobs.clone().filter(|job| !matches!(job.phase, Phase::Ending(_))).count();
    jobs.count() + all < concurrent
        && for_executors + all < executors
        && entry.limit.is_none_or(|limit| of_entry + own < limit)
}
