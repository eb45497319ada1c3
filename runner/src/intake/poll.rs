//! Asking GitLab for jobs (protocol §1.5).

use super::wish;
use super::{Current, Slot, Slots};
use crate::config::Entry;
use crate::desk::{self, Desk};
use crate::ownership::{End, Event, NewJob, Reply, Scope};
use anyhow::{Result, bail};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use warmstart_gitlab::Error;
use warmstart_gitlab::client::{Acquired, Answer, Client, Health, Identity, Verified};
use warmstart_gitlab::flags;
use warmstart_gitlab::payload::Job;

/// How long a request under way may still bring a job when the runner stops: dropping one can lose a job.
const LAST_ANSWER: Duration = Duration::from_mins(1);

/// Asks GitLab whether it knows the entry's token. Only a clear no is an error: GitLab may be away for now, then
/// there is no answer.
pub async fn verify(entry: &Entry, client: &Client, identity: &Identity) -> Result<Option<Verified>> {
    match client.verify(identity).await {
        Ok(verified) => {
            tracing::info!(runner = entry.name, id = verified.id, url = entry.url, "GitLab knows this runner");
            Ok(Some(verified))
        }
        Err(error) if matches!(error.status(), Some(403 | 422)) => {
            let status = error.status().unwrap_or_default();
            bail!(
                "GitLab at {} does not accept the token of runner \"{}\" ({status}): create a runner there and set its token",
                entry.url,
                entry.name
            )
        }
        Err(error) => {
            tracing::warn!(runner = entry.name, "cannot verify the token yet: {error}; going on");
            Ok(None)
        }
    }
}

/// The intake of one entry.
#[derive(Clone, Debug)]
pub struct Intake {
    /// The entry.
    pub entry: Arc<Entry>,
    /// Its GitLab.
    pub client: Client,
    /// As whom to ask.
    pub identity: Current,
    /// Where jobs are brought to.
    pub desk: Desk,
    /// The room for jobs.
    pub slots: Slots,
    /// Between two requests that brought nothing.
    pub interval: Duration,
    /// Ends the intake.
    pub stop: CancellationToken,
}

/// What the parallel requests of an entry share.
#[derive(Debug)]
struct Shared {
    health: Health,
    last_update: Option<String>,
}

impl Shared {
    /// Takes notice of an answer, and gives the job that was in it.
    fn note(&mut self, runner: &str, answer: Result<Answer, Error>) -> Option<Acquired> {
        let healthy = answer.as_ref().is_ok_and(|answer| answer.healthy);
        self.health.observe(healthy, Instant::now());
        match answer {
            Ok(answer) => {
                self.last_update = answer.last_update.or(self.last_update.take());
                if let Some(trouble) = answer.trouble {
                    tracing::warn!(runner, "job request: {trouble}");
                }
                answer.acquired
            }
            Err(error) => {
                tracing::error!(runner, "job request: {error}");
                None
            }
        }
    }
}

impl Intake {
    /// Asks for jobs until stopped, with as many requests at once as the entry allows.
    pub async fn run(self) {
        let health = Health::new(self.entry.unhealthy_limit, self.entry.unhealthy_interval);
        let shared = Arc::new(Mutex::new(Shared { health, last_update: None }));
        let lanes = (0..self.entry.request_concurrency).map(|_| self.clone().lane(shared.clone()));
        futures_util::future::join_all(lanes).await;
    }

    /// One request after the other: at once again after a job, else after the interval.
    async fn lane(self, shared: Arc<Mutex<Shared>>) {
        while let Some(slot) = self.slot(&shared).await {
            let asked = Instant::now();
            let got_job = self.ask(&shared).await;
            drop(slot);
            let pause = if got_job { Duration::ZERO } else { self.interval.saturating_sub(asked.elapsed()) };
            if self.stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Waits for room and health. `None` when stopped.
    async fn slot(&self, shared: &Mutex<Shared>) -> Option<Slot> {
        let mut changes = self.desk.watch();
        while !self.stop.is_cancelled() {
            changes.mark_unchanged();
            let may_poll = lock(shared).health.may_poll(Instant::now());
            if may_poll && let Some(slot) = self.slots.take(&self.entry, &self.desk.state()) {
                return Some(slot);
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                _ = changes.changed(), if may_poll => {}
                () = self.slots.freed(), if may_poll => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
        None
    }

    /// Asks once and brings a job to the desk. Whether there was one.
    async fn ask(&self, shared: &Mutex<Shared>) -> bool {
        let Some(identity) = self.identity().await else { return false };
        let last_update = lock(shared).last_update.clone();
        let request = self.client.request_job(&identity, last_update.as_deref());
        let answer = tokio::select! {
            answer = request => answer,
            () = last_answer(&self.stop) => {
                tracing::warn!(runner = self.entry.name, "gave up a job request that GitLab did not answer");
                return false;
            }
        };
        if self.is_outdated(&identity) && answer.as_ref().is_ok_and(|answer| !answer.healthy) {
            return true;
        }
        let acquired = lock(shared).note(&self.entry.name, answer);
        match acquired {
            Some(acquired) => self.take(acquired).await,
            None => return false,
        }
        true
    }

    /// As whom to ask now, once no new token is under way. `None` when stopped.
    async fn identity(&self) -> Option<Identity> {
        let mut current = self.identity.clone();
        let there = self.stop.run_until_cancelled(current.wait_for(Option::is_some)).await?;
        there.ok()?.clone()
    }

    /// Whether another token has taken the place of this one: then a refusal of it says nothing.
    fn is_outdated(&self, asked: &Identity) -> bool {
        self.identity.borrow().as_ref().is_none_or(|now| now.token != asked.token)
    }

    /// Journals a job, and refuses it at GitLab when that cannot be done: nobody else would ever hear of it.
    async fn take(&self, acquired: Acquired) {
        let (id, token, timestamps) = (acquired.job.id, acquired.job.token.clone(), self.timestamps(&acquired.job));
        let name = acquired.job.job_info.name.clone();
        let project = acquired.job.job_info.project_full_path.clone();
        let pool = wish::pool(&self.entry, &acquired.job);
        let (pool, refusal) = pool.map_or_else(|end| (self.entry.pool.clone(), Some(end)), |pool| (pool, None));
        let event = Event::Acquired(Box::new(self.new_job(acquired, pool)));
        match self.journalled(event).await {
            Ok(Reply::Done) => {
                tracing::info!(job = id, name, project, runner = self.entry.name, "job is acquired");
                if let Some(end) = refusal {
                    self.desk.tell(Event::Fail(id, end)).await;
                }
            }
            Ok(Reply::Stale) => tracing::warn!(job = id, "GitLab handed out a job again that is here already"),
            refused => {
                let why = refused.err().map_or("another GitLab's job has the same id".to_owned(), |e| e.to_string());
                tracing::error!(job = id, "cannot take the job: {why}; it is failed at GitLab");
                let why = format!("the runner cannot take it: {why}");
                if let Err(error) = self.client.job(id, &token).refuse(&why, timestamps).await {
                    tracing::error!(job = id, "cannot fail the job at GitLab: {error}");
                }
            }
        }
    }

    async fn journalled(&self, event: Event) -> Result<Reply, desk::Error> {
        let mut last = self.desk.ask(event.clone()).await;
        for _ in 0..5 {
            match &last {
                Err(error) => tracing::error!("{error}; trying again"),
                Ok(_) => break,
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            last = self.desk.ask(event.clone()).await;
        }
        last
    }

    fn timestamps(&self, job: &Job) -> bool {
        flags::is_on(flags::TIMESTAMPS, &self.entry.settings.feature_flags, job)
    }

    fn new_job(&self, acquired: Acquired, pool: String) -> NewJob {
        let Acquired { job, raw, correlation_id } = acquired;
        NewJob {
            id: job.id,
            entry: self.entry.id.clone(),
            url: self.entry.url.clone(),
            token: job.token.clone(),
            pool,
            scope: Scope { project: job.job_info.project_id, protected: is_protected(&job) },
            timeout: job.timeout(),
            correlation_id,
            debug: !self.entry.settings.debug_trace_disabled && is_debug(&job),
            timestamps: self.timestamps(&job),
            features: job.features,
            payload: raw.into(),
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn last_answer(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_ANSWER).await;
}

fn is_protected(job: &Job) -> bool {
    job.git_info.protected.unwrap_or_else(|| job.variable("CI_COMMIT_REF_PROTECTED") == Some("true"))
}

/// Whether GitLab shows the log to few people only (protocol §1.7).
fn is_debug(job: &Job) -> bool {
    let is_on = |key: &&str| job.variable(key).and_then(flags::parse_bool) == Some(true);
    ["CI_DEBUG_TRACE", "CI_DEBUG_SERVICES"].iter().any(is_on)
}

/// The line for a job whose entry is gone.
#[must_use]
pub(crate) fn entry_is_gone(entry: &str) -> End {
    End::system(format!("The runner that took this job (\"{entry}\") is not configured any more."))
}
