//! The state of a runner that starts: what the journal says.

use super::job::{Job, Lease, Log, Phase};
use super::turn::Turn;
use super::{Effect, Executor, Rules, State};
use crate::clock::Time;
use std::collections::BTreeMap;

/// Makes a state from the journal's records, and what has to be done first.
///
/// All leases start afresh. A log that the earlier process was writing is known to the server alone.
#[must_use]
pub fn restore(rules: Rules, jobs: Vec<Job>, executors: BTreeMap<String, Executor>, now: Time) -> (State, Vec<Effect>) {
    let jobs = jobs.into_iter().map(|job| (job.id, revive(job, now))).collect();
    let executors = executors.into_iter().map(|(id, e)| (id, Executor { seen: now, idle: now, ..e })).collect();
    let state = State { rules, since: now, jobs, executors, heard: now, storm: None, obstacles: BTreeMap::new() };
    let mut turn = Turn { state, effects: Vec::new(), now };
    for id in turn.state.jobs.keys().copied().collect::<Vec<_>>() {
        match turn.state.jobs.get(&id).map(|job| &job.phase) {
            Some(Phase::Waiting { .. }) => turn.attend(id),
            Some(Phase::Ending(_)) => turn.finish(id),
            _ => {}
        }
    }
    (turn.state, turn.effects)
}

fn revive(mut job: Job, now: Time) -> Job {
    if job.log == Log::Live {
        job.log = Log::Server { section: None };
    }
    match &mut job.phase {
        Phase::Offered { since, .. } => *since = now,
        Phase::Held { lease, .. } | Phase::Scripting { lease, .. } => {
            *lease = Lease { renewed: now, ..Lease::default() }
        }
        Phase::Waiting { .. } | Phase::Ending(_) => {}
    }
    job
}
