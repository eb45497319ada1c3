//! A runner's process: the machine with a journal that may fail, and a crash between any two writes.

use super::gitlab;
use super::world::{Assigned, What, World};
use crate::clock::Time;
use crate::cloud::{Instance, Status};
use crate::fleet::{Action, Listing, Policy, View, lost, plan};
use crate::ownership::{
    DEFAULT_POOL, Effect, Event, Executor, Job, NewExecutor, Phase, Reply, Sharing, Start, State, restore, step,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// What survives.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) jobs: BTreeMap<u64, Job>,
    pub(super) executors: BTreeMap<String, Executor>,
}

/// What does not.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) state: State,
    /// The jobs it speaks for, with the log as far as it knows it.
    pub(super) attending: BTreeMap<u64, Option<String>>,
}

impl World {
    /// A runner starts on what the journal says. What it remembers went through JSON.
    pub(super) fn start_runner(&mut self) {
        self.epoch += 1;
        let jobs = self.journal.jobs.values().map(through_json).collect();
        let executors = self.journal.executors.iter().map(|(id, e)| (id.clone(), through_json(e))).collect();
        let (state, effects) = restore(self.rules, jobs, executors, self.now);
        self.process = Some(Process { state, attending: BTreeMap::new() });
        self.act(effects);
    }

    pub(super) fn crash(&mut self) {
        self.counts.crashes += 1;
        self.process = None;
        let pause = self.between(1, 200);
        self.later(pause, What::StartRunner);
    }

    /// One event. `None`: the runner is down, or could not write, or died on the way.
    pub(super) fn handle(&mut self, event: Event) -> Option<Reply> {
        let process = self.process.as_ref()?;
        let before = process.state.clone();
        let (after, effects) = step(&before, event, self.now);
        for effect in &effects {
            if self.strikes(self.faults.crash) {
                self.counts.torn += 1;
                self.crash();
                return None;
            }
            if is_write(effect) && self.strikes(self.faults.write) {
                self.counts.failed_writes += 1;
                return None;
            }
            self.journal_write(&after, effect);
        }
        self.count(&before, &after, &effects);
        self.process.as_mut()?.state = after;
        Some(self.act(effects))
    }

    fn journal_write(&mut self, state: &State, effect: &Effect) {
        match effect {
            Effect::Create(id) | Effect::Write(id) => {
                if let Some(job) = state.jobs.get(id) {
                    self.journal.jobs.insert(*id, job.clone());
                    self.gitlab.get_mut(id).expect("GitLab knows its jobs").journalled = true;
                }
            }
            Effect::Remove(id) => drop(self.journal.jobs.remove(id)),
            Effect::WriteExecutor(id) => {
                if let Some(executor) = state.executors.get(id) {
                    self.journal.executors.insert(id.clone(), executor.clone());
                }
            }
            Effect::RemoveExecutor(id) => drop(self.journal.executors.remove(id)),
            _ => {}
        }
    }

    fn act(&mut self, effects: Vec<Effect>) -> Reply {
        let mut reply = Reply::Done;
        for effect in effects {
            match effect {
                Effect::Reply(answer) => reply = answer,
                Effect::Attend { job, start } => self.attend(job, start),
                Effect::Detach(job) => {
                    let text = self.process.as_mut().and_then(|process| process.attending.remove(&job)).flatten();
                    let pause = self.between(0, 5);
                    self.told(pause, Event::Detached(job, text));
                }
                Effect::End { job, start } => {
                    self.check_start(job, &start);
                    let pause = self.between(0, 30);
                    self.later(pause, What::End { epoch: self.epoch, job });
                }
                _ => {}
            }
        }
        reply
    }

    fn attend(&mut self, id: u64, start: Start) {
        self.check_start(id, &start);
        let text = match start {
            Start::Fresh => Some(String::new()),
            Start::Continue(text) => Some(text),
            Start::TakeOver(_) => None,
        };
        let Some(process) = self.process.as_mut() else { return };
        process.attending.insert(id, text);
        let pause = self.between(0, 3);
        self.told(pause, Event::Reported(id));
    }

    /// Whoever says what the log is must be right, or GitLab would find the checksum wrong.
    fn check_start(&mut self, id: u64, start: &Start) {
        let seed = self.seed;
        let job = self.gitlab.get_mut(&id).expect("GitLab knows its jobs");
        match start {
            Start::Fresh => assert_eq!(job.log, "", "seed {seed}: job {id} does not begin"),
            Start::Continue(text) => assert_eq!(job.log, *text, "seed {seed}: job {id} does not go on from there"),
            Start::TakeOver(_) => job.takeovers += 1,
        }
    }

    /// The runner sends the final state, then remembers that it did.
    pub(super) fn end_job(&mut self, epoch: u32, id: u64) {
        if epoch != self.epoch || self.process.is_none() {
            return;
        }
        let job = self.gitlab.get_mut(&id).expect("GitLab knows its jobs");
        job.log.push_str("end;");
        if job.finish(gitlab::End::FailedByRunner) {
            self.counts.ended_by_runner += 1;
        }
        self.told(Duration::ZERO, Event::Ended(id));
    }

    /// The runner writes its lines and notices what GitLab wants.
    pub(super) fn speak(&mut self) {
        let Some(process) = self.process.as_mut() else { return };
        let attending: Vec<u64> = process.attending.keys().copied().collect();
        for id in attending {
            let job = self.gitlab.get_mut(&id).expect("GitLab knows its jobs");
            if job.end.is_some() {
                self.process.as_mut().and_then(|process| process.attending.remove(&id));
                self.told(Duration::ZERO, Event::Aborted(id));
            } else if job.canceling {
                self.told(Duration::ZERO, Event::Canceling(id));
            } else {
                job.log.push_str("r;");
                if let Some(Some(text)) = self.process.as_mut().and_then(|process| process.attending.get_mut(&id)) {
                    text.push_str("r;");
                }
            }
        }
    }

    /// One turn of the fleet's loop.
    pub(super) fn keep_fleet(&mut self) {
        let instances = self.agents.iter().map(|(id, agent)| instance(id, agent)).collect();
        let listed = Listing { at: self.now, settles: Duration::ZERO, instances };
        let Some(state) = self.process.as_ref().map(|process| process.state.clone()) else { return };
        for executor in lost(&listed, &state) {
            self.handle(Event::Lost(executor));
        }
        let Some(process) = self.process.as_ref() else { return };
        let policy = Policy { max: 6, idle_time: Duration::from_mins(3), intent: Duration::ZERO, ..Policy::default() };
        for action in plan(&View::of(&listed, &process.state, &|_| true), &policy, self.now) {
            match action {
                Action::Launch(count) => (0..count).for_each(|_| self.launch()),
                Action::Terminate(id, _) => self.terminate(&id),
                Action::Forget(id) => drop(self.handle(Event::Removed(id))),
            }
        }
    }

    fn launch(&mut self) {
        let id = self.name("executor");
        let new = NewExecutor {
            pool: DEFAULT_POOL.to_owned(),
            token_sha256: String::new(),
            launch: None,
            sharing: Sharing::default(),
        };
        if self.handle(Event::Launching(id.clone(), Box::new(new))).is_none() || self.process.is_none() {
            return;
        }
        let (run, boot) = (self.name("run"), self.between(1, 60));
        self.agents.insert(id, super::agent::Agent::new(run, self.now, boot));
    }

    fn terminate(&mut self, id: &str) {
        let seed = self.seed;
        match self.handle(Event::Retire(id.to_owned())) {
            None | Some(Reply::Stale) => return,
            Some(_) => {}
        }
        let busy = self.process.as_ref().is_some_and(|p| p.state.jobs.values().any(|j| has(j, id)));
        assert!(!busy, "seed {seed}: executor {id} was ended with a job");
        self.kill(id);
        self.agents.remove(id);
        self.told(Duration::ZERO, Event::Removed(id.to_owned()));
    }

    /// The job with its log as the agents' API would answer it.
    pub(super) fn assigned(&self, reply: &Reply) -> Option<Assigned> {
        let Reply::Assign(id) = reply else { return None };
        let job = self.process.as_ref()?.state.jobs.get(id)?;
        assert!(job.payload.is_some(), "seed {}: job {id} is assigned without its payload", self.seed);
        Some(Assigned { holding: job.holding(), log: job.log.clone() })
    }

    fn count(&mut self, before: &State, after: &State, effects: &[Effect]) {
        for (id, job) in &after.jobs {
            let Some(earlier) = before.jobs.get(id) else { continue };
            match (&earlier.phase, &job.phase) {
                (Phase::Held { .. }, Phase::Waiting { .. }) => self.counts.reassigned += 1,
                (Phase::Offered { .. }, Phase::Waiting { .. }) => self.counts.withdrawn += 1,
                (Phase::Scripting { .. }, to) => assert!(
                    matches!(to, Phase::Scripting { .. } | Phase::Ending(_)),
                    "seed {}: job {id} left its script for {to:?}",
                    self.seed
                ),
                _ => {}
            }
            assert!(job.generation >= earlier.generation, "seed {}: job {id}'s generation fell", self.seed);
        }
        self.counts.storms += effects.iter().filter(|effect| matches!(effect, Effect::LeaseStorm { .. })).count();
    }

    /// An event of the runner's own that will happen, unless this process dies.
    fn told(&mut self, pause: Duration, event: Event) {
        self.later(pause, What::Told { epoch: self.epoch, event });
    }

    pub(super) fn tell(&mut self, epoch: u32, event: Event) {
        if epoch == self.epoch
            && self.process.is_some()
            && self.handle(event.clone()).is_none()
            && self.process.is_some()
        {
            self.told(Duration::from_secs(1), event);
        }
    }
}

fn has(job: &Job, executor: &str) -> bool {
    job.holder().is_some_and(|by| by.executor == executor)
}

fn is_write(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Create(_) | Effect::Write(_) | Effect::Remove(_) | Effect::WriteExecutor(_) | Effect::RemoveExecutor(_)
    )
}

fn instance(id: &str, agent: &super::agent::Agent) -> Instance {
    let (id, pool) = (id.to_owned(), DEFAULT_POOL.to_owned());
    let status = if agent.alive { Status::Running } else { Status::Stopped };
    Instance { id, pool, launch: None, launched: agent.launched, status }
}

fn through_json<T: serde::Serialize + serde::de::DeserializeOwned>(record: &T) -> T {
    let text = serde_json::to_string(record).expect("records are JSON");
    serde_json::from_str(&text).expect("records can be read back")
}

/// When this is called the state of the runner's process is over: time cannot go back.
pub(super) fn epoch_start() -> Time {
    Time::from_secs(1_800_000_000)
}
