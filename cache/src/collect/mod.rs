//! Removing what no cache needs, beside running saves and restores, without a lock.

mod apply;
mod cost;
mod inventory;
mod plan;
mod survey;

use std::time::Duration;

use serde::Serialize;

pub use self::{cost::Cost, inventory::Amount};
pub(crate) use self::{
    cost::Counted,
    inventory::{Inventory, Stored, Version},
};
use crate::{
    deadline::{Deadline, GRACE},
    error::Error,
    options::Progress,
    scope::Scope,
    scopes::discover,
    store::Store,
};

/// Requests under way at a time.
pub(crate) const CONNECTIONS: usize = 16;

/// How often a scope is looked at when another collection removes manifests that this one would keep. The other removes
/// their refs before, so one time more is enough for each other collection.
const ATTEMPTS: usize = 10;

/// Which caches to keep. Without limits everything that a ref reaches stays.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Keeps what was saved this long ago or later; a save without changes counts once a day. A key whose newest
    /// cache is older ends.
    pub max_age: Option<Duration>,
    /// Keeps at most this many different versions of a key, the newest.
    pub keep: Option<u64>,
    /// Keeps at most this many bytes of manifests and packs in a scope. First versions go that their keys no longer
    /// give, then keys, each the oldest first. What was given up by an earlier run and waits does not count.
    pub max_bytes: Option<u64>,
}

/// How to collect.
#[derive(Clone, Debug)]
pub struct CollectOptions {
    /// Only says what would be removed; writes nothing either, and takes the time from this machine's clock.
    pub dry_run: bool,
    /// Counts the bytes removed.
    pub progress: Progress,
    /// How long things stay after they are superseded or written. Below the default a collection is not safe beside
    /// saves and restores: only for tests.
    #[doc(hidden)]
    pub grace: Duration,
}

impl Default for CollectOptions {
    /// Removes, with 48 hours of grace.
    fn default() -> Self {
        Self { dry_run: false, progress: Progress::default(), grace: GRACE }
    }
}

/// What a collection came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Collected {
    /// Whether nothing was really removed.
    pub dry_run: bool,
    /// Each scope that was looked at.
    pub scopes: Vec<CollectedScope>,
    /// What all of it cost, the search for scopes too.
    pub cost: Cost,
    /// What belongs to no scope; one line each.
    pub warnings: Vec<String>,
}

/// What a collection came to in one scope.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CollectedScope {
    /// The scope.
    pub scope: String,
    /// Objects that are gone, or would be.
    pub removed: Amount,
    /// Objects that remain.
    pub kept: Amount,
    /// Those of them that are no longer wanted, but too young to go.
    pub waiting: Amount,
    /// Keys that were ended: their newest cache is not given any more and goes in two days.
    pub ended: u64,
    /// What it cost.
    pub cost: Cost,
    /// Why nothing, or not everything, was removed; one line.
    pub error: Option<String>,
    /// What should be known; one line each.
    pub warnings: Vec<String>,
}

/// Removes from `scopes`, or from all scopes of the store, what the policy does not keep.
///
/// It is safe beside saves, restores and other collections, and may be killed at any time: the next one continues.
/// Nothing that was in use within the last 48 hours is removed, so a key whose newest cache the policy gives up ends
/// in two steps: now with a tombstone, in a run 48 hours later by removal. For each scope:
///
/// 1. List it; learn the store's time.
/// 2. Read all refs, and the manifests of those that stay. If one cannot be read or is not what it claims to be,
///    the scope keeps everything and gets an error.
/// 3. Plan.
/// 4. Write tombstones; remove refs, then manifests, then packs, each after another look at its age.
///
/// An error here means that the scopes could not be found; what fails in a scope is told there. After 24 hours a
/// run stops, and the next one continues.
pub async fn gc<S: Store>(
    store: &S,
    scopes: Option<&[Scope]>,
    policy: &Policy,
    options: &CollectOptions,
) -> Result<Collected, Error> {
    let (store, deadline) = (Counted::new(store.clone()), Deadline::after(options.grace / 2));
    let mut collected = Collected { dry_run: options.dry_run, ..Collected::default() };
    let scopes = match scopes {
        Some(scopes) => scopes.to_vec(),
        None => discover(&store, &deadline, &mut collected.warnings).await?,
    };
    for scope in &scopes {
        let (run, before) = (Run { store: &store, scope, policy, options, deadline }, store.cost());
        let mut done = CollectedScope { scope: scope.to_string(), ..CollectedScope::default() };
        if let Err(error) = Box::pin(run.collect(&mut done)).await {
            done.error = Some(error.to_string());
        }
        done.cost = store.cost() - before;
        collected.scopes.push(done);
    }
    collected.cost = store.cost();
    Ok(collected)
}

/// A collection in one scope.
struct Run<'a, S> {
    store: &'a Counted<S>,
    scope: &'a Scope,
    policy: &'a Policy,
    options: &'a CollectOptions,
    deadline: Deadline,
}

impl<S: Store> Run<'_, S> {
    async fn collect(&self, done: &mut CollectedScope) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            if let Some(survey) = self.survey(done).await? {
                return self.apply(&survey, done).await;
            }
        }
        Err(Error::damaged(self.scope.prefix(), "has refs that are listed but not there; nothing was removed"))
    }
}
