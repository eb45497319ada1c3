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
    /// How many executors each pool may have.
    pools: Arc<BTreeMap<String, usize>>,
    asking: Arc<Mutex<BTreeMap<String, Asking>>>,
    freed: Arc<Notify>,
}

/// The requests of an entry that are under way.
#[derive(Debug, Default)]
struct Asking {
    pool: String,
    count: usize,
}

/// The right to ask for one job; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    slots: Slots,
    entry: String,
}

impl Slots {
    /// Room for `concurrent` jobs in all, and for those that the executors of each pool can serve.
    #[must_use]
    pub fn new(concurrent: usize, pools: BTreeMap<String, usize>) -> Self {
        Self { concurrent, pools: Arc::new(pools), asking: Arc::default(), freed: Arc::default() }
    }

    /// Takes the right to ask for a job of the entry, if there is room for one.
    #[must_use]
    pub fn take(&self, entry: &Entry, state: &State) -> Option<Slot> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.has_room(entry, state, &asking) {
            return None;
        }
        let own = asking.entry(entry.id.clone()).or_default();
        own.pool.clone_from(&entry.pool);
        own.count += 1;
        Some(Slot { slots: self.clone(), entry: entry.id.clone() })
    }

    /// Waits until a slot was given back.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Whether one more request may be made while these are under way.
    fn has_room(&self, entry: &Entry, state: &State, asking: &BTreeMap<String, Asking>) -> bool {
        let jobs = || state.jobs.values();
        let asked = |of: &dyn Fn(&String, &Asking) -> bool| -> usize {
            asking.iter().filter(|(id, own)| of(id, own)).map(|(_, own)| own.count).sum()
        };
        let of_entry = jobs().filter(|job| job.entry == entry.id).count() + asked(&|id, _| *id == entry.id);
        let for_pool = jobs().filter(|job| job.pool == entry.pool && !matches!(job.phase, Phase::Ending(_))).count()
            + asked(&|_, own| own.pool == entry.pool);
        jobs().count() + asked(&|_, _| true) < self.concurrent
            && for_pool < self.pools.get(&entry.pool).copied().unwrap_or_default()
            && entry.limit.is_none_or(|limit| of_entry < limit)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut asking = self.slots.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = asking.get_mut(&self.entry) {
            own.count = own.count.saturating_sub(1);
        }
        self.slots.freed.notify_waiters();
    }
}
