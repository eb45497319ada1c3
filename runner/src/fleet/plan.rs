//! What to do about the fleet, decided without I/O and without a clock.

use super::view::{Seen, Standing, View};
use crate::clock::Time;
use std::time::Duration;

/// The durations and numbers of the plan.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How many executors there may be, in whatever state.
    pub max: usize,
    /// How many idle executors there are always.
    pub idle_count: usize,
    /// How many idle executors there are for each busy one, where that is more.
    pub scale_factor: f64,
    /// The most that `scale_factor` comes to; 0 for no limit.
    pub scale_factor_limit: usize,
    /// How long an executor without a job is kept beyond those.
    pub idle_time: Duration,
    /// How long an executor may take until its agent registers.
    pub boot_timeout: Duration,
    /// How old an executor may become; a busy one finishes its job first.
    pub max_age: Duration,
    /// How long an executor that gets no more jobs may take to end by itself: killing it at once would cut off the
    /// answer to its last call.
    pub farewell: Duration,
    /// How long an idle executor may be silent.
    pub silence: Duration,
    /// How long a launch that nobody has answered counts as capacity.
    pub intent: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max: 1,
            idle_count: 0,
            scale_factor: 0.0,
            scale_factor_limit: 0,
            idle_time: Duration::from_mins(10),
            boot_timeout: Duration::from_mins(5),
            max_age: Duration::from_hours(24),
            farewell: Duration::from_secs(10),
            silence: Duration::from_mins(5),
            intent: Duration::from_mins(5),
        }
    }
}

impl Policy {
    /// The policy of a fleet that is to come to an end: nothing is kept for jobs to come.
    #[must_use]
    pub fn draining(self) -> Self {
        Self { idle_count: 0, scale_factor: 0.0, idle_time: Duration::ZERO, ..self }
    }

    /// How many idle executors are wanted while so many are busy.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small number"
    )]
    fn idle_wanted(&self, busy: usize) -> usize {
        let scaled = (busy as f64 * self.scale_factor).ceil() as usize;
        let limit = if self.scale_factor_limit == 0 { usize::MAX } else { self.scale_factor_limit };
        scaled.min(limit).max(self.idle_count)
    }
}

/// Something to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Start so many executors.
    Launch(usize),
    /// End an executor and all that is on it.
    Terminate(String, Why),
    /// Forget an executor that never came to be.
    Forget(String),
}

/// Why an executor ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// Nobody here knows it.
    Orphan,
    /// It does not run any more.
    Exited,
    /// It has served its jobs, lost one, or asked to leave.
    Spent,
    /// Its agent never registered.
    HungInBoot,
    /// Its agent is not heard.
    Silent,
    /// It is too old.
    Old,
    /// It was idle for too long.
    Idle,
    /// A job waits that it does not suit, and there is no room for another.
    MakesRoom,
}

impl Why {
    /// The reason in a few words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Orphan => "nobody knows it",
            Self::Exited => "it does not run any more",
            Self::Spent => "it gets no more jobs",
            Self::HungInBoot => "its agent did not register in time",
            Self::Silent => "its agent is not heard any more",
            Self::Old => "it has reached its maximum age",
            Self::Idle => "it was idle for too long",
            Self::MakesRoom => "a waiting job needs another one",
        }
    }
}

/// Decides what to do. Busy executors are never touched; executors never become more than `max`, of which one that
/// is being ended counts until it is gone. What this says, once done, leaves nothing to do.
#[must_use]
pub fn plan(view: &View, policy: &Policy, now: Time) -> Vec<Action> {
    let mut actions: Vec<Action> = view.executors.iter().filter_map(|seen| judge(seen, view, policy, now)).collect();
    let busy = view.executors.iter().filter(|seen| seen.standing == Standing::Busy).count();
    let wanted = policy.idle_wanted(busy + view.unserved);
    actions.extend(surplus(view, policy, wanted, &actions, now));
    let coming =
        |seen: &&Seen| matches!(seen.standing, Standing::Intent | Standing::Booting) && !is_touched(&seen.id, &actions);
    let coming = view.executors.iter().filter(coming).count();
    let unserved = view.unserved.saturating_sub(coming);
    let missing = (view.unserved + wanted).saturating_sub(coming + free(view, &actions).len()).max(unserved);
    let room = policy.max.saturating_sub(view.executors.len());
    let room_to_come = (policy.max + actions.len()).saturating_sub(view.executors.len());
    let evicted = evict(view, unserved.saturating_sub(room_to_come), &actions);
    if missing.min(room) > 0 {
        actions.push(Action::Launch(missing.min(room)));
    }
    actions.extend(evicted);
    actions
}

/// The idle executors that no waiting job will take and nothing else is done about, longest idle first.
fn free(view: &View, actions: &[Action]) -> Vec<(Time, String)> {
    let idle = |seen: &Seen| match seen.standing {
        Standing::Idle { since, claimed: false, .. } if !seen.spent && !is_touched(&seen.id, actions) => {
            Some((since, seen.id.clone()))
        }
        _ => None,
    };
    let mut idle: Vec<_> = view.executors.iter().filter_map(idle).collect();
    idle.sort();
    idle
}

/// The executors that have been idle for too long, beyond those that are wanted idle.
fn surplus(view: &View, policy: &Policy, wanted: usize, actions: &[Action], now: Time) -> Vec<Action> {
    let free = free(view, actions);
    let spare = free.len().saturating_sub(wanted);
    let over = free.into_iter().take(spare).filter(|(since, _)| now.since(*since) >= policy.idle_time);
    over.map(|(_, id)| Action::Terminate(id, Why::Idle)).collect()
}

/// Whether something is done about an executor already.
fn is_touched(id: &str, actions: &[Action]) -> bool {
    actions.iter().any(|action| match action {
        Action::Terminate(subject, _) | Action::Forget(subject) => subject == id,
        Action::Launch(_) => false,
    })
}

/// The idle executors that no waiting job can use, longest idle first, as many as there are jobs without room.
fn evict(view: &View, count: usize, actions: &[Action]) -> Vec<Action> {
    free(view, actions).into_iter().take(count).map(|(_, id)| Action::Terminate(id, Why::MakesRoom)).collect()
}

fn judge(seen: &Seen, view: &View, policy: &Policy, now: Time) -> Option<Action> {
    let terminate = |why| Some(Action::Terminate(seen.id.clone(), why));
    let age = now.since(seen.launched);
    match seen.standing {
        Standing::Intent if age >= policy.intent => Some(Action::Forget(seen.id.clone())),
        Standing::Busy | Standing::Intent => None,
        Standing::Orphan => terminate(Why::Orphan),
        Standing::Exited => terminate(Why::Exited),
        Standing::Idle { since, .. } if seen.spent && now.since(since) < policy.farewell => None,
        _ if seen.spent => terminate(Why::Spent),
        Standing::Booting if age >= policy.boot_timeout => terminate(Why::HungInBoot),
        Standing::Idle { .. } if age >= policy.max_age => terminate(Why::Old),
        Standing::Idle { seen: heard, .. } if is_silent(heard, view, policy, now) => terminate(Why::Silent),
        Standing::Booting | Standing::Idle { .. } => None,
    }
}

/// Judged only by a runner that could have heard it.
fn is_silent(heard: Time, view: &View, policy: &Policy, now: Time) -> bool {
    now.since(heard) >= policy.silence && now.since(view.since) >= policy.silence
}
