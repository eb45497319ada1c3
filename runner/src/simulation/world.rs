//! Time, chance, the network, and the order of things.

use super::agent::Agent;
use super::gitlab::{End, GitLabJob};
use super::runner::{Journal, Process, epoch_start};
use crate::clock::Time;
use crate::ownership::{Event, Log, NewJob, Reply, Rules, Scope};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Duration;
use warmstart_api::Holding;

/// How likely each fault is, at each chance it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    pub(super) crash: f64,
    pub(super) write: f64,
    lose: f64,
    late: f64,
    double: f64,
    die: f64,
    rerun: f64,
    vanish: f64,
    cut: f64,
    blackout: f64,
    cancel: f64,
}

impl Faults {
    pub(super) const NONE: Self = Self {
        crash: 0.0,
        write: 0.0,
        lose: 0.0,
        late: 0.0,
        double: 0.0,
        die: 0.0,
        rerun: 0.0,
        vanish: 0.0,
        cut: 0.0,
        blackout: 0.0,
        cancel: 0.0,
    };
    pub(super) const MANY: Self = Self {
        crash: 0.002,
        write: 0.01,
        lose: 0.05,
        late: 0.1,
        double: 0.05,
        die: 0.005,
        rerun: 0.005,
        vanish: 0.002,
        cut: 0.01,
        blackout: 0.003,
        cancel: 0.002,
    };
}

/// What happened in a story.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) crashes: usize,
    pub(super) torn: usize,
    pub(super) failed_writes: usize,
    pub(super) reassigned: usize,
    pub(super) withdrawn: usize,
    pub(super) ended_by_runner: usize,
    pub(super) lost_scripts: usize,
    pub(super) stale: usize,
    pub(super) reruns: usize,
    pub(super) successes: usize,
    pub(super) storms: usize,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.torn += other.torn;
        self.failed_writes += other.failed_writes;
        self.reassigned += other.reassigned;
        self.withdrawn += other.withdrawn;
        self.ended_by_runner += other.ended_by_runner;
        self.lost_scripts += other.lost_scripts;
        self.stale += other.stale;
        self.reruns += other.reruns;
        self.successes += other.successes;
        self.storms += other.storms;
    }
}

/// A job as an agent is given it.
#[derive(Clone, Debug)]
pub(super) struct Assigned {
    pub(super) holding: Holding,
    pub(super) log: Log,
}

/// Which question an answer belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    Register,
    Poll,
    Ack(Holding),
    Script(Holding),
    Beat(Holding),
    Release(Holding),
}

/// What is going to happen.
#[derive(Debug)]
pub(super) enum What {
    StartRunner,
    Job,
    Turn,
    Wake(String),
    Told { epoch: u32, event: Event },
    End { epoch: u32, job: u64 },
    Request { epoch: u32, executor: String, run: String, call: (Call, u64), event: Event },
    Answer { executor: String, run: String, call: (Call, u64), reply: Reply, assigned: Option<Assigned> },
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) now: Time,
    pub(super) faults: Faults,
    pub(super) rules: Rules,
    pub(super) epoch: u32,
    pub(super) process: Option<Process>,
    pub(super) journal: Journal,
    pub(super) gitlab: BTreeMap<u64, GitLabJob>,
    pub(super) agents: BTreeMap<String, Agent>,
    pub(super) counts: Counts,
    /// Nobody reaches the runner until then.
    blackout: Time,
    queue: BTreeMap<(Time, u64), What>,
    random: StdRng,
    names: u64,
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        let mut world = Self {
            seed,
            now: epoch_start(),
            faults,
            rules: Rules::default(),
            epoch: 0,
            process: None,
            journal: Journal::default(),
            gitlab: BTreeMap::new(),
            agents: BTreeMap::new(),
            counts: Counts::default(),
            blackout: Time::default(),
            queue: BTreeMap::new(),
            random: StdRng::seed_from_u64(seed),
            names: 0,
        };
        world.start_runner();
        world.later(Duration::ZERO, What::Turn);
        world
    }

    /// Lives for a while with jobs coming in.
    pub(super) fn live(&mut self, duration: Duration, jobs: u64) {
        for _ in 0..jobs {
            let pause = self.between(0, duration.as_secs());
            self.later(pause, What::Job);
        }
        let end = self.now + duration;
        self.until(end, |_| false);
    }

    /// Lives on without new faults until nothing is left to do.
    pub(super) fn settle(&mut self) {
        self.faults = Faults::NONE;
        let end = self.now + Duration::from_hours(5);
        self.until(end, |world| {
            let runner =
                world.process.as_ref().is_some_and(|p| p.state.jobs.is_empty() && p.state.executors.is_empty());
            runner && world.agents.is_empty()
        });
        self.counts.successes = self.gitlab.values().filter(|job| job.succeeded()).count();
    }

    /// What must be true whatever has happened.
    pub(super) fn judge(&self) {
        let seed = self.seed;
        for (id, job) in self.gitlab.iter().filter(|(_, job)| job.journalled) {
            assert!(job.end.is_some(), "seed {seed}: job {id} never ended: {job:?}");
            assert!(job.running.is_none(), "seed {seed}: job {id} still runs: {job:?}");
            assert!(
                job.end != Some(End::Success) || job.scripts == 1,
                "seed {seed}: job {id} succeeded without a script"
            );
        }
        assert!(self.journal.jobs.is_empty(), "seed {seed}: left in the journal: {:?}", self.journal.jobs);
        assert!(self.journal.executors.is_empty(), "seed {seed}: left in the journal: {:?}", self.journal.executors);
        assert!(self.agents.is_empty(), "seed {seed}: executors that nobody stopped: {:?}", self.agents);
    }

    fn until(&mut self, end: Time, done: impl Fn(&Self) -> bool) {
        while let Some(((at, _), _)) = self.queue.first_key_value() {
            if *at > end || done(self) {
                return;
            }
            let ((at, _), what) = self.queue.pop_first().expect("it was there");
            self.now = at;
            self.happen(what);
        }
    }

    fn happen(&mut self, what: What) {
        match what {
            What::StartRunner => self.start_runner(),
            What::Job => self.hand_out(),
            What::Turn => self.turn(),
            What::Wake(id) => self.wake(&id),
            What::Told { epoch, event } => self.tell(epoch, event),
            What::End { epoch, job } => self.end_job(epoch, job),
            What::Answer { executor, run, call, reply, assigned } => {
                self.answered(&executor, &run, call, &reply, assigned);
            }
            // The runner that it was sent to may be gone, and its connections with it.
            What::Request { epoch, executor, run, call, event } if epoch == self.epoch && self.now >= self.blackout => {
                if let Some(reply) = self.handle(event) {
                    let assigned = self.assigned(&reply);
                    self.deliver(|_| What::Answer {
                        executor: executor.clone(),
                        run: run.clone(),
                        call,
                        reply: reply.clone(),
                        assigned: assigned.clone(),
                    });
                }
            }
            What::Request { .. } => {}
        }
    }

    /// Every few seconds: the runner's loops, the agents, and misfortune.
    fn turn(&mut self) {
        self.misfortune();
        self.handle(Event::Tick);
        self.speak();
        self.keep_fleet();
        for id in self.agents.keys().cloned().collect::<Vec<_>>() {
            let pause = self.between(0, 4);
            self.later(pause, What::Wake(id));
        }
        self.later(Duration::from_secs(4), What::Turn);
    }

    fn misfortune(&mut self) {
        let faults = self.faults;
        if self.process.is_some() && self.strikes(faults.crash * 2.0) {
            self.crash();
        }
        if self.strikes(faults.blackout) {
            let pause = self.between(60, 900);
            self.blackout = self.now + pause;
        }
        for id in self.agents.keys().cloned().collect::<Vec<_>>() {
            if self.strikes(faults.die) {
                self.kill(&id);
            } else if self.strikes(faults.rerun) {
                self.rerun(&id);
            } else if self.strikes(faults.vanish) {
                self.kill(&id);
                self.agents.remove(&id);
            } else if self.strikes(faults.cut) {
                let (now, pause) = (self.now, self.between(10, 900));
                self.agents.entry(id).and_modify(|agent| agent.cut = now + pause);
            }
        }
        for id in self.gitlab.keys().copied().collect::<Vec<_>>() {
            if self.strikes(faults.cancel) {
                let job = self.gitlab.get_mut(&id).expect("it is there");
                job.canceling = job.end.is_none();
            }
        }
    }

    /// GitLab hands a job to the runner, if that is up and has room.
    fn hand_out(&mut self) {
        let room = self.process.as_ref().is_some_and(|process| process.state.jobs.len() < 8);
        if !room {
            return self.later(Duration::from_secs(10), What::Job);
        }
        self.names += 1;
        let id = self.names;
        self.gitlab.insert(id, GitLabJob::default());
        let timeout = self.between(1200, 3600);
        self.handle(Event::Acquired(Box::new(job(id, timeout))));
    }

    /// An agent asks the runner something.
    pub(super) fn call(&mut self, executor: &str, call: Call, event: &Event) {
        let agent = self.agents.get_mut(executor).expect("the agent is there");
        agent.attempt += u64::from(!matches!(call, Call::Beat(_)));
        let (run, cut, epoch, call) = (agent.run.clone(), agent.cut, self.epoch, (call, agent.attempt));
        if self.process.is_none() || self.now < cut {
            return;
        }
        let executor = executor.to_owned();
        self.deliver(|_| What::Request {
            epoch,
            executor: executor.clone(),
            run: run.clone(),
            call,
            event: event.clone(),
        });
    }

    /// A message on its way: lost, late, or there twice.
    fn deliver(&mut self, message: impl Fn(usize) -> What) {
        let copies = 1 + usize::from(self.strikes(self.faults.double));
        for copy in 0..copies {
            if self.strikes(self.faults.lose) {
                continue;
            }
            let late = if self.strikes(self.faults.late) { self.between(1, 60) } else { Duration::ZERO };
            let pause = Duration::from_millis(self.random.random_range(1..200)) + late;
            self.later(pause, message(copy));
        }
    }

    pub(super) fn write(&mut self, holding: Holding, text: &str) {
        if let Some(job) = self.gitlab.get_mut(&holding.job) {
            job.log.push_str(text);
        }
    }

    pub(super) fn later(&mut self, pause: Duration, what: What) {
        self.names += 1;
        self.queue.insert((self.now + pause, self.names), what);
    }

    pub(super) fn strikes(&mut self, chance: f64) -> bool {
        chance > 0.0 && self.random.random_bool(chance.min(1.0))
    }

    pub(super) fn between(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_secs(self.random.random_range(low..=high))
    }

    pub(super) fn name(&mut self, what: &str) -> String {
        self.names += 1;
        format!("{what}-{}", self.names)
    }
}

fn job(id: u64, timeout: Duration) -> NewJob {
    NewJob {
        pool: crate::ownership::DEFAULT_POOL.to_owned(),
        id,
        entry: "entry".to_owned(),
        url: "https://gitlab.test".to_owned(),
        token: "glcbt-test".into(),
        scope: Scope { project: id % 3, protected: false },
        timeout,
        correlation_id: String::new(),
        features: warmstart_gitlab::payload::Features::default(),
        debug: false,
        timestamps: false,
        payload: RawValue::from_string("{}".to_owned()).expect("it is JSON").into(),
    }
}
