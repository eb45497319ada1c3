//! What there is: the cloud's listing and the machine's knowledge in one.

use crate::clock::Time;
use crate::cloud::Instance;
use crate::ownership::{Job, State};
use std::collections::BTreeSet;

/// The fleet at one moment.
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
    /// Known, not listed: its launch is under way, or came to nothing.
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
    /// Puts a listing and a state together. A listing is complete: what is not in it does not run.
    #[must_use]
    pub fn of(listed: &[Instance], state: &State) -> Self {
        let busy: BTreeSet<&str> = state.jobs.values().filter_map(Job::holder).map(|by| by.executor.as_str()).collect();
        let (claimed, unserved) = claims(state, &busy);
        let standing = |id: &str, instance: Option<&Instance>| match (instance, state.executors.get(id)) {
            _ if busy.contains(id) => Standing::Busy,
            (Some(instance), _) if !instance.running => Standing::Exited,
            (Some(_), None) => Standing::Orphan,
            (None, Some(executor)) if executor.run.is_some() => Standing::Exited,
            (None, _) => Standing::Intent,
            (Some(_), Some(executor)) if executor.run.is_none() => Standing::Booting,
            (Some(_), Some(executor)) => {
                Standing::Idle { since: executor.idle, seen: executor.seen, claimed: claimed.contains(id) }
            }
        };
        let ids: BTreeSet<&str> =
            listed.iter().map(|i| i.id.as_str()).chain(state.executors.keys().map(String::as_str)).collect();
        let executors = ids.into_iter().map(|id| {
            let instance = listed.iter().find(|instance| instance.id == id);
            let known = state.executors.get(id);
            Seen {
                id: id.to_owned(),
                launched: known.map(|e| e.launched).or(instance.map(|i| i.launched)).unwrap_or_default(),
                standing: standing(id, instance),
                spent: known.is_some_and(|executor| executor.is_spent(&state.rules)),
            }
        });
        Self { executors: executors.collect(), unserved, since: state.since }
    }
}

/// Gives each waiting job an idle executor that suits it: the executors taken, and the jobs without one.
fn claims<'a>(state: &'a State, busy: &BTreeSet<&str>) -> (BTreeSet<&'a str>, usize) {
    let mut claimed = BTreeSet::new();
    let mut unserved = 0;
    for job in state.jobs.values().filter(|job| job.is_waiting()) {
        let free = state.executors.iter().find(|(id, executor)| {
            let idle = executor.run.is_some() && !busy.contains(id.as_str()) && !claimed.contains(id.as_str());
            idle && executor.suits(job.scope, &state.rules)
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
pub(crate) fn lost(listed: &[Instance], state: &State) -> Vec<String> {
    let running = |id: &str| listed.iter().any(|instance| instance.id == id && instance.running);
    let holders = state.jobs.values().filter_map(Job::holder).map(|by| &by.executor);
    holders.filter(|id| !running(id)).cloned().collect()
}
