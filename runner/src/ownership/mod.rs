//! Who owns each job: one owner at a time, decided without I/O and without a clock.
//!
//! [`step`] is the whole machine: an event and the time make a new state and a list of effects. Whoever runs it
//! writes what the effects name to the journal *before* the new state counts and before anybody is answered; so a
//! crash between the two leaves the journal one step ahead, and each event may be repeated.
//!
//! ```text
//!             Acquired            Poll                Ack              Script
//!   (GitLab) ─────────▶ Waiting ───────▶ Offered ───────────▶ Held ───────────▶ Scripting
//!                          ▲   ◀── not acknowledged ──┘          │                  │
//!                          └──────────── lost ───────────────────┘                  │ lost
//!                          └── no executor, canceled, overdue ──▶ Ending ◀──────────┘
//! ```
//!
//! `Release` ends a job from `Held` and `Scripting`; `Ended` from `Ending`. From `Scripting` no way leads back: a
//! script is never started twice. `Waiting` and `Ending` are the runner's, who alone talks to GitLab there; `Held`
//! and `Scripting` are the agent's; in `Offered` nobody writes to the job's log.

mod agents;
mod executor;
mod job;
mod restore;
mod tick;
mod turn;

#[cfg(test)]
mod tests;

use crate::clock::Time;
use std::collections::BTreeMap;
use std::time::Duration;
use warmstart_api::{Holding, Released};

pub use executor::{DEFAULT_POOL, Executor, Launch, NewExecutor, Reuse, Scope, Sharing};
pub use job::{End, Holder, Job, Lease, Log, NewJob, Phase, Reason};
pub use restore::restore;
pub use turn::step;

/// The durations and numbers of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How long a job may wait for an executor.
    pub acquire_timeout: Duration,
    /// How long an offered job waits for its `ack`.
    pub offer: Duration,
    /// How long a job stays its agent's without a heartbeat.
    pub lease: Duration,
    /// The same once its script may have begun, as long as nobody says that the executor is gone.
    pub script_lease: Duration,
    /// How long after its timeout a job is ended whoever has it.
    pub overdue: Duration,
    /// How often a job may be lost before its script.
    pub losses: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            acquire_timeout: Duration::from_mins(15),
            offer: Duration::from_secs(10),
            lease: Duration::from_mins(5),
            script_lease: Duration::from_mins(15),
            overdue: Duration::from_mins(10),
            losses: 5,
        }
    }
}

/// All that the machine knows.
#[derive(Clone, Debug)]
pub struct State {
    /// The durations and numbers it goes by.
    pub rules: Rules,
    /// Since when this runner is up: leases are judged only by one that could have heard a whole lease.
    pub since: Time,
    /// Jobs by GitLab's id.
    pub jobs: BTreeMap<u64, Job>,
    /// Executors by the cloud's id, from before their launch until they are gone.
    pub executors: BTreeMap<String, Executor>,
    /// When an agent was last heard.
    pub heard: Time,
    /// Since when so many leases have lapsed at once that the fault must be ours.
    pub storm: Option<Time>,
    /// Why the fleet could not get an executor for a pool lately, for the log of jobs that wait in vain; until one is
    /// there.
    pub obstacles: BTreeMap<String, String>,
}

impl State {
    /// Whether an agent that was told [`Reply::Nothing`] would now be told something else.
    #[must_use]
    pub fn concerns(&self, holder: &Holder) -> bool {
        let Some(executor) = self.executors.get(&holder.executor) else { return true };
        let known = executor.run.as_ref() == Some(&holder.run);
        match self.jobs.values().find(|job| job.holder().is_some_and(|by| by.executor == holder.executor)) {
            Some(job) => !known || !job.detaching && !matches!(job.phase, Phase::Scripting { .. }),
            None if !known || executor.is_spent() => true,
            None => self.jobs.values().any(|job| job.is_offerable() && executor.suits(job)),
        }
    }
}

/// What happens to the machine.
#[derive(Clone, Debug)]
pub enum Event {
    /// GitLab handed out a job.
    Acquired(Box<NewJob>),
    /// GitLab was told that the job runs, or could not be told in time: an agent may have it.
    Reported(u64),
    /// The runner stopped writing the job's log, which is this text; `None` if that is not known.
    Detached(u64, Option<String>),
    /// GitLab wants a job that is still the runner's to be canceled.
    Canceling(u64),
    /// GitLab does not want to hear of a job any more that is still the runner's.
    Aborted(u64),
    /// The runner cannot have the job run.
    Fail(u64, End),
    /// GitLab has the final state of a job in `Ending`, or refused it for good.
    Ended(u64),
    /// A process of an executor announces itself; its proof has been checked.
    Register(Holder, Option<Holding>),
    /// An agent asks for a job.
    Poll(Holder),
    /// An agent takes the job it was offered.
    Ack(Holder, Holding),
    /// An agent wants to start the script.
    Script(Holder, Holding),
    /// An agent has its job, with this log section open.
    Heartbeat(Holder, Holding, Option<String>),
    /// An agent is done with its job.
    Release(Holder, Holding, Released),
    /// An agent wants to leave.
    Leave(Holder),
    /// An agent knows that its machine is about to be taken away.
    Notice(Holder),
    /// An executor is about to be started.
    Launching(String, Box<NewExecutor>),
    /// What was launched under the first name is the executor of the second.
    Named(String, String),
    /// The cloud says that the executor does not run any more.
    Lost(String),
    /// The fleet wants to end an executor that does nothing.
    Retire(String),
    /// The executor and everything on it is gone.
    Removed(String),
    /// Why an executor could not be had for a pool.
    Obstacle(String, String),
    /// Time has passed.
    Tick,
}

/// What has to be done, in the order given: writes first, then the rest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    /// Write a new job to the journal, which must not have it yet.
    Create(u64),
    /// Write the job to the journal.
    Write(u64),
    /// Delete the job from the journal.
    Remove(u64),
    /// Write the executor to the journal.
    WriteExecutor(String),
    /// Delete the executor from the journal.
    RemoveExecutor(String),
    /// Speak for the job at GitLab: report it as running, keep it alive, notice that it is canceled.
    Attend {
        /// The job.
        job: u64,
        /// How its log goes on.
        start: Start,
    },
    /// Stop speaking for the job and say [`Event::Detached`].
    Detach(u64),
    /// Send the job's final state, then say [`Event::Ended`].
    End {
        /// The job.
        job: u64,
        /// How its log goes on.
        start: Start,
    },
    /// Wake somebody: the journal or the network of the runner itself seems to be at fault.
    LeaseStorm {
        /// Leases that lapsed.
        lapsed: usize,
        /// Of how many.
        of: usize,
    },
    /// Answer the event.
    Reply(Reply),
}

/// How the runner goes on with a job's log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Start {
    /// Nothing is written yet.
    Fresh,
    /// The log so far is exactly this.
    Continue(String),
    /// What the server has is the truth; end this section first.
    TakeOver(Option<String>),
}

/// The answer to an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// Yes.
    Done,
    /// The agent is known; whether the job it named is still its own.
    Registered(bool),
    /// Do this job.
    Assign(u64),
    /// Nothing to do yet.
    Nothing,
    /// Not, or no longer, the caller's.
    Stale,
    /// The session belongs to no present run of an executor.
    Session,
    /// Nobody here knows that executor, or the job belongs to another GitLab.
    Refused,
    /// No more work for this executor.
    Gone,
}
