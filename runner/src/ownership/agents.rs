//! The calls of agents.

use super::job::{Holder, Job, Lease, Log, Phase};
use super::turn::Turn;
use super::{Effect, Reply};
use warmstart_api::{Holding, Released};

impl Turn {
    /// An agent's process announces itself. Another run id than before means that the earlier process is gone, and
    /// with it the job it had.
    pub(super) fn register(&mut self, holder: &Holder, holding: Option<Holding>) {
        let Some(executor) = self.state.executors.get(&holder.executor) else { return self.reply(Reply::Refused) };
        if executor.former.contains(&holder.run) {
            return self.reply(Reply::Refused);
        }
        if executor.run.as_ref() != Some(&holder.run) {
            self.succeed(holder);
        }
        self.hear();
        let still = holding.is_some_and(|holding| self.renew(holder, holding));
        let has_job = self.job_of(&holder.executor).is_some();
        let now = self.now;
        let Some(executor) = self.state.executors.get_mut(&holder.executor) else { return };
        executor.seen = now;
        let spent = executor.is_spent() && !has_job;
        self.reply(if spent { Reply::Gone } else { Reply::Registered(still) });
    }

    /// A first or another process of the agent is there.
    fn succeed(&mut self, holder: &Holder) {
        let now = self.now;
        if self.state.executors.get(&holder.executor).is_some_and(|executor| executor.run.is_some()) {
            self.lose_all(&holder.executor, "its agent was started again");
            self.never_reuse(&holder.executor);
        }
        let Some(executor) = self.state.executors.get_mut(&holder.executor) else { return };
        executor.former.extend(executor.run.replace(holder.run.clone()));
        executor.idle = now;
        self.state.obstacles.remove(&executor.pool);
        self.effects.push(Effect::WriteExecutor(holder.executor.clone()));
    }

    /// What an earlier process left on the machine is nobody's to clean up: it gets no job after one it has had.
    fn never_reuse(&mut self, executor: &str) {
        if self.state.executors.get(executor).is_some_and(|known| known.used > 0) {
            self.doom(executor);
        }
    }

    /// Answers the offer that stands, or makes one from the job that has waited longest.
    pub(super) fn poll(&mut self, holder: &Holder) {
        if !self.admit_call(holder) {
            return;
        }
        if let Some(job) = self.job_of(&holder.executor).and_then(|id| self.state.jobs.get(&id)) {
            let reply = match job.phase {
                // The answer to `next` or to `ack` was lost; a `Scripting` job is asked for only by a late repeat.
                Phase::Offered { .. } | Phase::Held { .. } if !job.detaching => Reply::Assign(job.id),
                _ => Reply::Nothing,
            };
            return self.reply(reply);
        }
        let Some(executor) = self.state.executors.get(&holder.executor) else { return };
        if executor.is_spent() {
            return self.reply(Reply::Gone);
        }
        let waiting = self.state.jobs.values().filter(|job| job.is_offerable());
        let next = waiting.filter(|job| executor.suits(job)).min_by_key(|job| (job.acquired, job.id));
        match next.map(|job| job.id) {
            Some(id) => self.offer(id, holder),
            None => self.reply(Reply::Nothing),
        }
    }

    /// Offers a job; the answer waits until the runner has handed its part of the log over.
    fn offer(&mut self, id: u64, holder: &Holder) {
        let now = self.now;
        let Some(job) = self.state.jobs.get_mut(&id) else { return };
        job.generation += 1;
        job.phase = Phase::Offered { to: holder.clone(), since: now };
        job.detaching = true;
        self.write(id);
        self.effects.push(Effect::Detach(id));
        self.reply(Reply::Nothing);
    }

    pub(super) fn ack(&mut self, holder: &Holder, holding: Holding) {
        if !self.admit_call(holder) {
            return;
        }
        let lease = Lease { renewed: self.now, ..Lease::default() };
        let Some(job) = self.held(holder, holding) else { return self.reply(Reply::Stale) };
        if let Phase::Offered { to, .. } = &job.phase {
            job.phase = Phase::Held { by: to.clone(), lease };
            job.log = Log::Server { section: None };
            let scope = job.scope;
            self.count_use(holder, scope);
            self.write(holding.job);
        }
        self.renew(holder, holding);
        self.reply(Reply::Done);
    }

    fn count_use(&mut self, holder: &Holder, scope: super::Scope) {
        if let Some(executor) = self.state.executors.get_mut(&holder.executor) {
            executor.used += 1;
            executor.scope = Some(scope);
            self.effects.push(Effect::WriteExecutor(holder.executor.clone()));
        }
    }

    /// The barrier: from here on nobody starts the job again, so nobody needs its payload.
    pub(super) fn script(&mut self, holder: &Holder, holding: Holding) {
        if !self.admit_call(holder) || !self.admit_lease(holder, holding) {
            return;
        }
        let Some(job) = self.held(holder, holding) else { return };
        if let Phase::Held { by, lease } = &job.phase {
            job.phase = Phase::Scripting { by: by.clone(), lease: lease.clone() };
            job.payload = None;
            self.write(holding.job);
        }
        self.reply(Reply::Done);
    }

    pub(super) fn heartbeat(&mut self, holder: &Holder, holding: Holding, section: Option<String>) {
        if !self.admit_call(holder) || !self.admit_lease(holder, holding) {
            return;
        }
        if let Some(lease) = self.held(holder, holding).and_then(Job::lease_mut) {
            lease.section = section;
        }
        self.reply(Reply::Done);
    }

    pub(super) fn release(&mut self, holder: &Holder, holding: Holding, outcome: Released) {
        if !self.admit_call(holder) {
            return;
        }
        // A job that is not known any more was released before, and that answer was lost.
        if !self.state.jobs.contains_key(&holding.job) {
            return self.reply(Reply::Done);
        }
        let Some(job) = self.held(holder, holding) else { return self.reply(Reply::Stale) };
        match (outcome, &job.phase) {
            (Released::Finished { .. }, Phase::Offered { .. }) => return self.reply(Reply::Stale),
            (Released::Finished { .. }, _) => self.remove(holding.job),
            (Released::GivenUp { reason }, _) => self.lose(holding.job, &format!("given up: {reason}")),
        }
        self.rest(holder);
        self.reply(Reply::Done);
    }

    /// From now on the executor has nothing to do.
    fn rest(&mut self, holder: &Holder) {
        let now = self.now;
        if let Some(executor) = self.state.executors.get_mut(&holder.executor) {
            executor.idle = now;
        }
    }

    /// An agent may leave when it has nothing and nothing waits that it could take.
    pub(super) fn leave(&mut self, holder: &Holder) {
        if !self.admit_call(holder) {
            return;
        }
        let Some(executor) = self.state.executors.get(&holder.executor) else { return };
        let mut waiting = self.state.jobs.values().filter(|job| job.is_waiting());
        if self.job_of(&holder.executor).is_some() || waiting.any(|job| executor.suits(job)) {
            return self.reply(Reply::Stale);
        }
        self.doom(&holder.executor);
        self.rest(holder);
        self.reply(Reply::Done);
    }

    /// The executor gets no more jobs. One that it has goes on; one that it was only offered goes to another.
    pub(super) fn notice(&mut self, holder: &Holder) {
        if !self.admit_call(holder) {
            return;
        }
        self.doom(&holder.executor);
        let offered = |job: &&Job| matches!(&job.phase, Phase::Offered { to, .. } if to == holder);
        if let Some(id) = self.state.jobs.values().find(offered).map(|job| job.id) {
            self.withdraw(id);
        }
        self.reply(Reply::Done);
    }

    /// Answers 401 unless the caller is the present run of a known executor.
    fn admit_call(&mut self, holder: &Holder) -> bool {
        let now = self.now;
        match self.state.executors.get_mut(&holder.executor) {
            Some(executor) if executor.run.as_ref() == Some(&holder.run) => executor.seen = now,
            _ => {
                self.reply(Reply::Session);
                return false;
            }
        }
        self.hear();
        true
    }

    /// A sign of life of any agent ends a storm: everybody's lease then starts afresh, once.
    fn hear(&mut self) {
        self.state.heard = self.now;
        if self.state.storm.take().is_some() {
            self.forgive();
        }
    }

    /// Answers 409 unless the caller has the job under a lease, which is renewed.
    fn admit_lease(&mut self, holder: &Holder, holding: Holding) -> bool {
        let renewed = self.renew(holder, holding);
        if !renewed {
            self.reply(Reply::Stale);
        }
        renewed
    }

    /// The job, if this generation of it is the holder's.
    fn held(&mut self, holder: &Holder, holding: Holding) -> Option<&mut Job> {
        let job = self.state.jobs.get_mut(&holding.job)?;
        (job.generation == holding.generation && job.holder() == Some(holder)).then_some(job)
    }

    /// Starts a lease afresh.
    fn renew(&mut self, holder: &Holder, holding: Holding) -> bool {
        let now = self.now;
        let Some(lease) = self.held(holder, holding).and_then(Job::lease_mut) else { return false };
        lease.renewed = now;
        lease.forgiven = false;
        true
    }
}
