//! What there is: the cloud's listing and the machine's knowledge in one.

use crate::clock::Time;
use crate::cloud::{Instance, Status};
use crate::ownership::{Executor, Job, State};
use std::collections::BTreeSet;
use std::time::Duration;

/// What the cloud lists.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// When it was asked.
    pub at: Time,
    /// How long after a launch an executor may be missing.
    pub settles: Duration,
    /// All there is.
    pub instances: Vec<Instance>,
}

impl Listing {
    fn find(&self, id: &str) -> Option<&Instance> {
        self.instances.iter().find(|instance| instance.id == id)
    }

    /// Whether an executor that is not listed is gone, and not only too new to be.
    fn misses(&self, launched: Time) -> bool {
        self.at >= launched && self.at.since(launched) >= self.settles
    }

    /// Whether an executor does not run any more.
    fn is_over(&self, id: &str, launched: Time) -> bool {
        self.find(id).map_or_else(|| self.misses(launched), |instance| instance.status != Status::Running)
    }
}

/// The executors of a pool at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Every executor that is listed, known, or both.
    pub executors: Vec<Seen>,
    /// Jobs that wait and that no idle executor suits.
    pub unserved: usize,
    /// Since when this runner is up.
    pub since: Time,
}

/// An executor.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The cloud's id.
    pub id: String,
    /// When its launch began.
    pub launched: Time,
    /// What it is doing.
    pub standing: Standing,
    /// It gets no more jobs.
    pub spent: bool,
}

/// What an executor is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Asked for, and the cloud has not said what came of it.
    Intent,
    /// Listed, and nobody here knows it.
    Orphan,
    /// Listed as not running, or gone from the listing after it was there.
    Exited,
    /// Running, its agent has not registered.
    Booting,
    /// It has a job or is offered one.
    Busy,
    /// Registered and without a job.
    Idle {
        /// Since when.
        since: Time,
        /// The last call of its agent.
        seen: Time,
        /// A waiting job will take it.
        claimed: bool,
    },
}

impl View {
    /// Puts a listing and a state together for the pool, or the pools, that `pool` is true of.
    #[must_use]
    pub fn of(listing: &Listing, state: &State, pool: &dyn Fn(&str) -> bool) -> Self {
        let busy: BTreeSet<&str> = state.jobs.values().filter_map(Job::holder).map(|by| by.executor.as_str()).collect();
        let (claimed, unserved) = claims(state, &busy, pool);
        let known = state.executors.iter().filter(|(_, executor)| pool(&executor.pool)).map(|(id, executor)| {
            let standing = match executor {
                _ if busy.contains(id.as_str()) => Standing::Busy,
                executor if executor.launch.is_some() => Standing::Intent,
                executor if listing.is_over(id, executor.launched) => Standing::Exited,
                executor if executor.run.is_none() => Standing::Booting,
                Executor { idle, seen, .. } => {
                    Standing::Idle { since: *idle, seen: *seen, claimed: claimed.contains(id.as_str()) }
                }
            };
            Seen { id: id.clone(), launched: executor.launched, standing, spent: executor.is_spent() }
        });
        let strange = |instance: &&Instance| {
            pool(&instance.pool) && instance.status != Status::Gone && !state.executors.contains_key(&instance.id)
        };
        let unknown = listing.instances.iter().filter(strange).map(|instance| {
            let standing = match instance.status {
                _ if busy.contains(instance.id.as_str()) => Standing::Busy,
                Status::Running => Standing::Orphan,
                Status::Stopped | Status::Gone => Standing::Exited,
            };
            Seen { id: instance.id.clone(), launched: instance.launched, standing, spent: false }
        });
        Self { executors: known.chain(unknown).collect(), unserved, since: state.since }
    }
}

/// Gives each waiting job an idle executor that suits it: the executors taken, and the jobs without one.
fn claims<'a>(state: &'a State, busy: &BTreeSet<&str>, pool: &dyn Fn(&str) -> bool) -> (BTreeSet<&'a str>, usize) {
    let mut claimed = BTreeSet::new();
    let mut unserved = 0;
    for job in state.jobs.values().filter(|job| job.is_waiting() && pool(&job.pool)) {
        let free = state.executors.iter().find(|(id, executor)| {
            let idle = executor.run.is_some() && !busy.contains(id.as_str()) && !claimed.contains(id.as_str());
            idle && executor.suits(job)
        });
        match free {
            Some((id, _)) => drop(claimed.insert(id.as_str())),
            None => unserved += 1,
        }
    }
    (claimed, unserved)
}

/// Executors with a job that the cloud does not list as running: their jobs are lost.
#[must_use]
pub(crate) fn lost(listing: &Listing, state: &State) -> Vec<String> {
    let launched = |id: &str| state.executors.get(id).map(|executor| executor.launched).unwrap_or_default();
    let holders = state.jobs.values().filter_map(Job::holder).map(|by| &by.executor);
    holders.filter(|id| listing.is_over(id, launched(id))).cloned().collect()
}

/// Names what was launched after what the cloud lists of it: the name it went by, and its id. What does not run may not
/// run yet.
#[must_use]
pub(crate) fn found(listing: &Listing, state: &State) -> Vec<(String, String)> {
    let tokens: BTreeSet<&str> =
        state.executors.values().filter_map(|executor| executor.launch.as_ref()).map(|l| l.token.as_str()).collect();
    let launched = |token: &str, id: &str| state.executors.get(id).is_some_and(|executor| executor.awaits(token));
    let of = |token: &str| {
        let came = |instance: &&Instance| {
            let ours = instance.launch.as_deref() == Some(token) || launched(token, &instance.id);
            ours && instance.status == Status::Running
        };
        listing.instances.iter().filter(came).map(|instance| instance.id.clone()).collect::<Vec<_>>()
    };
    tokens.into_iter().flat_map(|token| names(token, &of(token), state)).collect()
}

/// Gives each executor of a launch to one that is still without a name.
#[must_use]
pub(crate) fn names(token: &str, ids: &[String], state: &State) -> Vec<(String, String)> {
    let waiting = state.executors.iter().filter(|(_, executor)| executor.awaits(token)).map(|(id, _)| id);
    let (same, waiting): (Vec<_>, Vec<_>) = waiting.partition(|id| ids.contains(id));
    let free = ids.iter().filter(|id| !state.executors.contains_key(*id));
    let given = waiting.into_iter().zip(free).map(|(from, to)| (from.clone(), to.clone()));
    same.into_iter().map(|id| (id.clone(), id.clone())).chain(given).collect()
}
