//! An agent: what it asks of the runner, and when.

use super::gitlab;
use super::world::{Assigned, Call, World};
use crate::clock::Time;
use crate::ownership::{Event, Holder, Log, Reply};
use std::time::Duration;
use warmstart_api::{Holding, Released};

/// The agent's own lease, a margin before the runner's.
const LEASE: Duration = Duration::from_mins(4);

/// An executor with its agent.
#[derive(Clone, Debug)]
pub(super) struct Agent {
    pub(super) run: String,
    pub(super) alive: bool,
    pub(super) launched: Time,
    registered: bool,
    pub(super) phase: Phase,
    /// The last answer to a call about the job.
    heard: Time,
    beat: Time,
    /// Counts its questions: who asks again has hung up on the answer to the earlier one.
    pub(super) attempt: u64,
    /// Its network is cut until then.
    pub(super) cut: Time,
    /// Scripts started on this executor.
    pub(super) scripts: u32,
}

#[derive(Clone, Debug)]
pub(super) enum Phase {
    Booting(Time),
    Idle,
    Acking(Assigned, Time),
    Preparing(Holding, Time),
    Barrier(Holding),
    Scripting(Holding, Time),
    Finishing(Holding, Time),
    Releasing(Holding, Released),
}

impl Agent {
    pub(super) fn new(run: String, now: Time, boot: Duration) -> Self {
        Self {
            run,
            alive: true,
            launched: now,
            registered: false,
            phase: Phase::Booting(now + boot),
            heard: now,
            beat: now,
            attempt: 0,
            cut: Time::default(),
            scripts: 0,
        }
    }

    /// The job that the agent believes to have.
    pub(super) fn holding(&self) -> Option<Holding> {
        match self.phase {
            Phase::Preparing(holding, _)
            | Phase::Barrier(holding)
            | Phase::Scripting(holding, _)
            | Phase::Finishing(holding, _) => Some(holding),
            _ => None,
        }
    }
}

impl World {
    /// Lets an agent do what is due.
    pub(super) fn wake(&mut self, id: &str) {
        let now = self.now;
        let Some(agent) = self.agents.get(id).filter(|agent| agent.alive).cloned() else { return };
        let holder = Holder { executor: id.to_owned(), run: agent.run.clone() };
        if let Phase::Booting(until) = agent.phase {
            if now >= until {
                self.set(id, Phase::Idle);
            }
            return;
        }
        if !agent.registered {
            return self.call(id, Call::Register, &Event::Register(holder, agent.holding()));
        }
        self.beat(id, &agent, &holder);
        match agent.phase {
            Phase::Idle => self.call(id, Call::Poll, &Event::Poll(holder)),
            Phase::Acking(_, since) if now.since(since) > Duration::from_secs(25) => self.set(id, Phase::Idle),
            Phase::Acking(assigned, _) => {
                self.call(id, Call::Ack(assigned.holding), &Event::Ack(holder, assigned.holding));
            }
            Phase::Preparing(holding, until) if now >= until => self.set(id, Phase::Barrier(holding)),
            Phase::Preparing(holding, _) => self.write(holding, "a;"),
            Phase::Barrier(holding) if now.since(agent.heard) > LEASE => {
                self.set(id, Phase::Releasing(holding, Released::GivenUp { reason: "no runner".to_owned() }));
            }
            Phase::Barrier(holding) => self.call(id, Call::Script(holding), &Event::Script(holder, holding)),
            Phase::Scripting(holding, until) => self.run_script(id, holding, until),
            Phase::Finishing(holding, until) if now >= until => self.finish(id, holding),
            Phase::Booting(_) | Phase::Finishing(..) => {}
            Phase::Releasing(holding, outcome) => {
                self.call(id, Call::Release(holding), &Event::Release(holder, holding, outcome));
            }
        }
    }

    fn beat(&mut self, id: &str, agent: &Agent, holder: &Holder) {
        if let Some(holding) = agent.holding()
            && self.now.since(agent.beat) >= Duration::from_secs(30)
        {
            self.agent(id).beat = self.now;
            self.call(id, Call::Beat(holding), &Event::Heartbeat(holder.clone(), holding, Some("step".to_owned())));
        }
    }

    fn run_script(&mut self, id: &str, holding: Holding, until: Time) {
        let canceling = self.gitlab.get(&holding.job).is_some_and(|job| job.canceling);
        let refused = self.gitlab.get(&holding.job).is_some_and(|job| job.end.is_some());
        if refused {
            self.stop_script(holding.job);
            self.set(id, Phase::Releasing(holding, finished("failed")));
        } else if canceling || self.now >= until {
            self.stop_script(holding.job);
            let pause = self.between(0, 60);
            self.set(id, Phase::Finishing(holding, self.now + pause));
        }
    }

    fn finish(&mut self, id: &str, holding: Holding) {
        let job = self.gitlab.get_mut(&holding.job).expect("GitLab knows its jobs");
        let end = if job.canceling { gitlab::End::FailedByAgent } else { gitlab::End::Success };
        job.finish(end);
        self.set(id, Phase::Releasing(holding, finished("success")));
    }

    /// Takes an answer, which may be late.
    pub(super) fn answered(
        &mut self,
        id: &str,
        run: &str,
        (call, attempt): (Call, u64),
        reply: &Reply,
        assigned: Option<Assigned>,
    ) {
        let now = self.now;
        let Some(agent) = self.agents.get(id).filter(|agent| agent.alive && agent.run == run).cloned() else { return };
        if !matches!(call, Call::Beat(_)) && attempt != agent.attempt {
            return;
        }
        if *reply == Reply::Stale {
            self.counts.stale += 1;
        }
        match (call, reply, agent.phase.clone()) {
            (Call::Register, Reply::Registered(still), _) => {
                self.agent(id).registered = true;
                if !still && agent.holding().is_some() {
                    self.abort(id);
                }
            }
            (Call::Register, Reply::Gone | Reply::Refused, _) | (Call::Poll, Reply::Gone, Phase::Idle) => self.kill(id),
            (_, Reply::Session, _) => self.agent(id).registered = false,
            (Call::Poll, Reply::Assign(_), Phase::Idle) => {
                let assigned = assigned.expect("an assignment has a job");
                self.set(id, Phase::Acking(assigned, now));
            }
            (Call::Ack(asked), Reply::Done, Phase::Acking(assigned, _)) if asked == assigned.holding => {
                self.check_log(&assigned);
                self.agent(id).heard = now;
                let preparation = self.between(1, 90);
                self.set(id, Phase::Preparing(asked, now + preparation));
            }
            (Call::Ack(asked), Reply::Stale, Phase::Acking(assigned, _)) if asked == assigned.holding => {
                self.set(id, Phase::Idle);
            }
            (Call::Script(asked), Reply::Done, Phase::Barrier(holding)) if asked == holding => {
                self.start_script(id, holding);
            }
            (Call::Script(asked) | Call::Beat(asked), Reply::Stale, _) if agent.holding() == Some(asked) => {
                self.abort(id);
            }
            (Call::Beat(asked), Reply::Done, _) if agent.holding() == Some(asked) => self.agent(id).heard = now,
            (Call::Release(asked), Reply::Done | Reply::Stale, Phase::Releasing(holding, _)) if asked == holding => {
                self.set(id, Phase::Idle);
            }
            _ => {}
        }
    }

    /// What the runner handed over must be what GitLab has, if it was said to be known.
    fn check_log(&mut self, assigned: &Assigned) {
        let seed = self.seed;
        let job = self.gitlab.get_mut(&assigned.holding.job).expect("GitLab knows its jobs");
        match &assigned.log {
            Log::Known(text) => {
                assert_eq!(*text, job.log, "seed {seed}: {assigned:?}: the log is not what it was said to be");
            }
            _ => job.takeovers += 1,
        }
    }

    fn start_script(&mut self, id: &str, holding: Holding) {
        let (seed, now) = (self.seed, self.now);
        let duration = self.between(5, 900);
        let agent = self.agent(id);
        agent.scripts += 1;
        agent.heard = now;
        assert_eq!(agent.scripts, 1, "seed {seed}: executor {id} served a second job");
        let run = agent.run.clone();
        let job = self.gitlab.get_mut(&holding.job).expect("GitLab knows its jobs");
        job.scripts += 1;
        assert_eq!(job.scripts, 1, "seed {seed}: the script of job {} was started again", holding.job);
        assert_eq!(job.running, None, "seed {seed}: the script of job {} runs twice", holding.job);
        job.running = Some(run);
        self.set(id, Phase::Scripting(holding, now + duration));
    }

    pub(super) fn stop_script(&mut self, job: u64) {
        if let Some(job) = self.gitlab.get_mut(&job) {
            job.running = None;
        }
    }

    /// A 409: stop, remove the containers, say nothing more.
    fn abort(&mut self, id: &str) {
        if let Some(holding) = self.agent(id).holding() {
            let run = self.agent(id).run.clone();
            if self.gitlab.get(&holding.job).is_some_and(|job| job.running.as_ref() == Some(&run)) {
                self.counts.lost_scripts += 1;
                self.stop_script(holding.job);
            }
        }
        self.set(id, Phase::Idle);
    }

    /// The process ends, and with it its script.
    pub(super) fn kill(&mut self, id: &str) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        agent.alive = false;
        let run = agent.run.clone();
        for job in self.gitlab.values_mut().filter(|job| job.running.as_ref() == Some(&run)) {
            job.running = None;
            self.counts.lost_scripts += 1;
        }
    }

    /// The process is started again on the same executor, as a service manager does.
    pub(super) fn rerun(&mut self, id: &str) {
        self.kill(id);
        self.counts.reruns += 1;
        let run = self.name("run");
        let (now, scripts) = (self.now, self.agents.get(id).map_or(0, |agent| agent.scripts));
        let launched = self.agents.get(id).map_or(now, |agent| agent.launched);
        let boot = self.between(1, 5);
        self.agents.insert(id.to_owned(), Agent { launched, scripts, ..Agent::new(run, now, boot) });
    }

    fn set(&mut self, id: &str, phase: Phase) {
        self.agent(id).phase = phase;
    }

    fn agent(&mut self, id: &str) -> &mut Agent {
        self.agents.get_mut(id).expect("the agent is there")
    }
}

fn finished(state: &str) -> Released {
    Released::Finished { state: state.to_owned(), reason: None }
}
