//! One step of the machine: the runner's own events and what they share with the others.

use super::job::{End, Job, Log, NewJob, Phase, Reason};
use super::{Effect, Event, Executor, NewExecutor, Reply, Start, State};
use crate::clock::Time;

/// Applies an event at a time. Writes among the effects come before everything else.
#[must_use]
pub fn step(state: &State, event: Event, now: Time) -> (State, Vec<Effect>) {
    let mut turn = Turn { state: state.clone(), effects: Vec::new(), now };
    turn.apply(event);
    turn.effects.sort_by_key(rank);
    turn.effects.dedup();
    (turn.state, turn.effects)
}

/// The order of writes in which a crash between two of them does no harm: an executor counts as used before it has
/// the job, and is forgotten only after its job is somebody else's.
fn rank(effect: &Effect) -> u8 {
    match effect {
        Effect::WriteExecutor(_) => 0,
        Effect::Create(_) | Effect::Write(_) | Effect::Remove(_) => 1,
        Effect::RemoveExecutor(_) => 2,
        _ => 3,
    }
}

/// A step in the making.
pub(super) struct Turn {
    pub(super) state: State,
    pub(super) effects: Vec<Effect>,
    pub(super) now: Time,
}

impl Turn {
    fn apply(&mut self, event: Event) {
        match event {
            Event::Acquired(job) => self.acquired(*job),
            Event::Reported(job) => self.reported(job),
            Event::Detached(job, log) => self.detached(job, log),
            Event::Canceling(job) => self.canceling(job),
            Event::Aborted(job) => self.aborted(job),
            Event::Fail(job, end) => self.fail(job, end),
            Event::Ended(job) => self.ended(job),
            Event::Register(holder, holding) => self.register(&holder, holding),
            Event::Poll(holder) => self.poll(&holder),
            Event::Ack(holder, holding) => self.ack(&holder, holding),
            Event::Script(holder, holding) => self.script(&holder, holding),
            Event::Heartbeat(holder, holding, section) => self.heartbeat(&holder, holding, section),
            Event::Release(holder, holding, outcome) => self.release(&holder, holding, outcome),
            Event::Leave(holder) => self.leave(&holder),
            Event::Notice(holder) => self.notice(&holder),
            Event::Launching(executor, new) => self.launching(executor, *new),
            Event::Named(launched, executor) => self.named(&launched, executor),
            Event::Lost(executor) => self.lose_all(&executor, "it does not run any more"),
            Event::Retire(executor) => self.retire(executor),
            Event::Removed(executor) => self.removed(executor),
            Event::Obstacle(pool, obstacle) => drop(self.state.obstacles.insert(pool, obstacle)),
            Event::Tick => self.tick(),
        }
    }

    pub(super) fn reply(&mut self, reply: Reply) {
        self.effects.push(Effect::Reply(reply));
    }

    pub(super) fn write(&mut self, job: u64) {
        self.effects.push(Effect::Write(job));
    }

    fn acquired(&mut self, new: NewJob) {
        if let Some(known) = self.state.jobs.get(&new.id) {
            let reply = if known.url == new.url { Reply::Stale } else { Reply::Refused };
            return self.reply(reply);
        }
        let id = new.id;
        let job = self.admit(new);
        self.state.jobs.insert(id, job);
        self.effects.push(Effect::Create(id));
        self.effects.push(Effect::Attend { job: id, start: Start::Fresh });
        self.reply(Reply::Done);
    }

    fn admit(&self, new: NewJob) -> Job {
        let of_entry = || self.state.jobs.values().filter(|job| job.entry == new.entry);
        let of_project = of_entry().filter(|job| job.scope.project == new.scope.project);
        Job {
            concurrent_id: smallest_free(of_entry().map(|job| job.concurrent_id)),
            concurrent_project_id: smallest_free(of_project.map(|job| job.concurrent_project_id)),
            id: new.id,
            entry: new.entry,
            url: new.url,
            token: new.token,
            scope: new.scope,
            pool: new.pool,
            acquired: self.now,
            waiting: self.now,
            timeout: new.timeout,
            correlation_id: new.correlation_id,
            features: new.features,
            debug: new.debug,
            timestamps: new.timestamps,
            payload: Some(new.payload),
            generation: 0,
            losses: 0,
            log: Log::Live,
            refused: None,
            detaching: false,
            phase: Phase::Waiting { reported: false },
        }
    }

    fn reported(&mut self, id: u64) {
        let Some(job) = self.state.jobs.get_mut(&id) else { return };
        if let Phase::Waiting { reported } = &mut job.phase {
            *reported = true;
            if let Some(end) = job.refused.take() {
                self.end(id, end);
            }
        }
    }

    /// The runner's part of the log is complete: whoever has the job goes on from there.
    fn detached(&mut self, id: u64, text: Option<String>) {
        let Some(job) = self.state.jobs.get_mut(&id).filter(|job| job.detaching) else { return };
        job.detaching = false;
        job.log = text.map_or(Log::Server { section: None }, Log::Known);
        match &mut job.phase {
            Phase::Offered { since, .. } => *since = self.now,
            Phase::Waiting { .. } => return self.attend(id),
            Phase::Ending(_) => return self.finish(id),
            Phase::Held { .. } | Phase::Scripting { .. } => {}
        }
        self.write(id);
    }

    fn canceling(&mut self, id: u64) {
        if self.state.jobs.get(&id).is_some_and(Job::is_waiting) {
            self.end(id, End { reason: Reason::Canceled, text: "Job canceled before an executor had it.".to_owned() });
        }
    }

    fn aborted(&mut self, id: u64) {
        let Some(job) = self.state.jobs.get(&id) else { return };
        if job.log == Log::Live {
            self.remove(id);
        }
    }

    fn fail(&mut self, id: u64, end: End) {
        let Some(job) = self.state.jobs.get_mut(&id) else { return };
        match job.phase {
            Phase::Waiting { reported: false } => job.refused = Some(end),
            Phase::Waiting { reported: true } | Phase::Offered { .. } => self.end(id, end),
            Phase::Held { .. } | Phase::Scripting { .. } | Phase::Ending(_) => {}
        }
    }

    fn ended(&mut self, id: u64) {
        if self.state.jobs.get(&id).is_some_and(|job| matches!(job.phase, Phase::Ending(_))) {
            self.remove(id);
        }
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.state.jobs.remove(&id);
        self.effects.push(Effect::Remove(id));
    }

    fn launching(&mut self, executor: String, new: NewExecutor) {
        let now = self.now;
        self.state.executors.entry(executor.clone()).or_insert_with(|| Executor::new(new, now));
        self.effects.push(Effect::WriteExecutor(executor));
    }

    /// From now on an executor goes by the cloud's name. A crash between the two writes leaves a launch that names an
    /// executor that is known: it is asked for once more, with the same token, and comes to the same.
    fn named(&mut self, launched: &str, executor: String) {
        let known = self.state.executors.get(launched).is_some_and(|known| known.launch.is_some());
        if !known || launched != executor && self.state.executors.contains_key(&executor) {
            return self.reply(Reply::Stale);
        }
        if let Some(record) = self.state.executors.remove(launched) {
            self.state.executors.insert(executor.clone(), Executor { launch: None, launched: self.now, ..record });
        }
        if launched != executor {
            self.effects.push(Effect::RemoveExecutor(launched.to_owned()));
        }
        self.effects.push(Effect::WriteExecutor(executor));
        self.reply(Reply::Done);
    }

    /// Only an executor without a job can be retired: the fleet decides on a view that may be a moment old.
    fn retire(&mut self, executor: String) {
        if self.job_of(&executor).is_some() {
            return self.reply(Reply::Stale);
        }
        if let Some(known) = self.state.executors.get_mut(&executor).filter(|known| !known.doomed) {
            known.doomed = true;
            self.effects.push(Effect::WriteExecutor(executor));
        }
        self.reply(Reply::Done);
    }

    fn removed(&mut self, executor: String) {
        self.lose_all(&executor, "it is gone");
        self.state.executors.remove(&executor);
        self.effects.push(Effect::RemoveExecutor(executor));
    }

    /// The job that an executor has or is offered.
    pub(super) fn job_of(&self, executor: &str) -> Option<u64> {
        let mut jobs = self.state.jobs.values();
        jobs.find(|job| job.holder().is_some_and(|by| by.executor == executor)).map(|job| job.id)
    }

    /// Takes every job from an executor.
    pub(super) fn lose_all(&mut self, executor: &str, why: &str) {
        while let Some(id) = self.job_of(executor) {
            self.lose(id, why);
        }
    }

    /// Takes a job from its agent: before the barrier it waits again, after it the runner ends it.
    pub(super) fn lose(&mut self, id: u64, why: &str) {
        let losses = self.state.rules.losses;
        let Some(job) = self.state.jobs.get_mut(&id) else { return };
        let Some(executor) = job.holder().map(|by| by.executor.clone()) else { return };
        match &job.phase {
            Phase::Offered { .. } => return self.withdraw(id),
            Phase::Held { .. } => job.losses += 1,
            Phase::Scripting { .. } | Phase::Waiting { .. } | Phase::Ending(_) => {}
        }
        job.log = Log::Server { section: job.lease().and_then(|lease| lease.section.clone()) };
        let scripting = matches!(job.phase, Phase::Scripting { .. });
        let exhausted = job.losses >= losses;
        self.doom(&executor);
        if scripting {
            let text =
                format!("Executor {executor} was lost while the script ran: {why}. The script is not started again.");
            self.end(id, End::system(text));
        } else if exhausted {
            let text = format!("Lost {losses} executors before the script could start, {executor} last: {why}.");
            self.end(id, End::system(text));
        } else {
            self.wait_again(id);
        }
    }

    /// Takes back an offer that was not acknowledged. The executor is not blamed.
    pub(super) fn withdraw(&mut self, id: u64) {
        let Some(job) = self.state.jobs.get_mut(&id) else { return };
        job.phase = Phase::Waiting { reported: true };
        // Still handing over: the log's text comes with `Detached`, and then the runner attends again.
        if !job.detaching {
            self.attend(id);
        }
        self.write(id);
    }

    fn wait_again(&mut self, id: u64) {
        let Some(job) = self.state.jobs.get_mut(&id) else { return };
        job.phase = Phase::Waiting { reported: true };
        job.waiting = self.now;
        self.attend(id);
        self.write(id);
    }

    /// An executor that lost a job gets no other.
    pub(super) fn doom(&mut self, executor: &str) {
        if let Some(known) = self.state.executors.get_mut(executor).filter(|known| !known.doomed) {
            known.doomed = true;
            self.effects.push(Effect::WriteExecutor(executor.to_owned()));
        }
    }

    /// Gives the log to this process.
    pub(super) fn attend(&mut self, id: u64) {
        let Some(job) = self.state.jobs.get_mut(&id) else { return };
        let start = start_of(&job.log);
        job.log = Log::Live;
        self.effects.push(Effect::Attend { job: id, start });
    }

    /// Ends a job for the runner's part: as soon as the log is free, its final state is sent.
    pub(super) fn end(&mut self, id: u64, end: End) {
        let Some(job) = self.state.jobs.get_mut(&id) else { return };
        job.phase = Phase::Ending(end);
        job.payload = None;
        self.write(id);
        self.finish(id);
    }

    pub(super) fn finish(&mut self, id: u64) {
        let Some(job) = self.state.jobs.get_mut(&id) else { return };
        match (&job.log, job.detaching) {
            (_, true) => {}
            (Log::Live, false) => {
                job.detaching = true;
                self.effects.push(Effect::Detach(id));
            }
            (log, false) => {
                let start = start_of(log);
                self.effects.push(Effect::End { job: id, start });
            }
        }
    }
}

fn start_of(log: &Log) -> Start {
    match log {
        Log::Live => Start::TakeOver(None),
        Log::Known(text) => Start::Continue(text.clone()),
        Log::Server { section } => Start::TakeOver(section.clone()),
    }
}

/// The smallest number not among those taken.
fn smallest_free(taken: impl Iterator<Item = u32>) -> u32 {
    let taken: std::collections::BTreeSet<u32> = taken.collect();
    (0..u32::MAX).find(|n| !taken.contains(n)).unwrap_or_default()
}
