//! What time alone does: offers, leases and deadlines run out.

use super::job::{End, Job, Phase, Reason};
use super::turn::Turn;
use super::{Effect, Log};
use std::time::Duration;

impl Turn {
    pub(super) fn tick(&mut self) {
        for id in self.state.jobs.keys().copied().collect::<Vec<_>>() {
            self.judge(id);
        }
        self.judge_leases();
    }

    /// Ends what is overdue, and takes back offers.
    fn judge(&mut self, id: u64) {
        let (now, rules) = (self.now, self.state.rules);
        let Some(job) = self.state.jobs.get(&id) else { return };
        let late = now.since(job.deadline());
        match &job.phase {
            Phase::Ending(_) => {}
            Phase::Waiting { .. } if now >= job.deadline() => {
                let text = format!("Job timed out after {} without an executor.", humane(job.timeout));
                self.end(id, End { reason: Reason::Timeout, text });
            }
            Phase::Waiting { .. } if now.since(job.waiting) >= rules.acquire_timeout => {
                let end = End::system(self.in_vain(job));
                self.end(id, end);
            }
            Phase::Offered { since, .. } if job.log != Log::Live && now.since(*since) >= rules.offer => {
                self.withdraw(id);
            }
            _ if late >= rules.overdue => self.overdue(id),
            _ => {}
        }
    }

    fn in_vain(&self, job: &Job) -> String {
        let waited = humane(self.now.since(job.waiting));
        match self.state.obstacles.get(&job.pool) {
            Some(obstacle) => format!("No executor within {waited}: {obstacle}."),
            None => format!("No executor within {waited}."),
        }
    }

    /// Ends a job whose agent neither ended it in time nor let it go.
    fn overdue(&mut self, id: u64) {
        let Some(job) = self.state.jobs.get_mut(&id) else { return };
        let Some(executor) = job.holder().map(|by| by.executor.clone()) else { return };
        let timeout = humane(job.timeout);
        if let Some(lease) = job.lease() {
            job.log = Log::Server { section: lease.section.clone() };
        }
        let text = format!("Job's timeout of {timeout} is long over and executor {executor} did not end it.");
        self.doom(&executor);
        self.end(id, End { reason: Reason::Timeout, text });
    }

    /// Judges leases, unless the fault seems to be ours: nobody is heard at all, or too many lapse together.
    fn judge_leases(&mut self) {
        let rules = self.state.rules;
        if self.state.storm.is_some() || self.now.since(self.state.since) < rules.lease {
            return;
        }
        let leased = self.state.jobs.values().filter(|job| job.lease().is_some()).count();
        let lapsed = self.lapsed(rules.lease);
        let unforgiven = lapsed.iter().filter(|id| !self.is_forgiven(**id)).count();
        let silence = leased > 1 && unforgiven == leased && self.now.since(self.state.heard) >= rules.lease;
        if silence || unforgiven > (leased / 5).max(3) {
            self.state.storm = Some(self.now);
            return self.effects.push(Effect::LeaseStorm { lapsed: unforgiven, of: leased });
        }
        for id in lapsed {
            self.lapse(id);
        }
    }

    fn lapsed(&self, lease: Duration) -> Vec<u64> {
        let jobs = self.state.jobs.values();
        let lapsed = jobs.filter(|job| job.lease().is_some_and(|own| self.now.since(own.renewed) >= lease));
        lapsed.map(|job| job.id).collect()
    }

    fn is_forgiven(&self, id: u64) -> bool {
        self.state.jobs.get(&id).and_then(Job::lease).is_some_and(|lease| lease.forgiven)
    }

    /// A lapsed lease loses the job; one whose script may run is given more time, since nobody says that its
    /// executor is gone.
    fn lapse(&mut self, id: u64) {
        let rules = self.state.rules;
        let Some(job) = self.state.jobs.get(&id) else { return };
        let silent = job.lease().map(|lease| self.now.since(lease.renewed)).unwrap_or_default();
        if matches!(job.phase, Phase::Held { .. }) || silent >= rules.script_lease {
            self.lose(id, &format!("not heard of for {}", humane(silent)));
        }
    }

    /// Starts all leases afresh after a storm. Only once: who is silent again is judged like anybody.
    pub(super) fn forgive(&mut self) {
        let now = self.now;
        for lease in self.state.jobs.values_mut().filter_map(Job::lease_mut).filter(|lease| lease.renewed < now) {
            lease.renewed = now;
            lease.forgiven = true;
        }
    }
}

/// A duration for people: whole seconds.
fn humane(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}
