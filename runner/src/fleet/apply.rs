//! The loop that keeps the fleet: list, judge, plan, do.

use super::plan::{Action, Policy, Why, plan};
use super::view::{View, lost};
use crate::clock::{Clock, Time};
use crate::cloud::{Cloud, Seed};
use crate::desk::Desk;
use crate::journal::random_hex;
use crate::ownership::{Event, Reply};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warmstart_gitlab::secret::Secret;

/// How long after something failed it is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// Keeps the fleet of one cloud.
#[derive(Debug)]
pub struct Fleet<C> {
    cloud: Arc<C>,
    desk: Desk,
    clock: Clock,
    policy: Policy,
    /// Until when not to try to launch again.
    paused: Time,
    ending: Ending,
    tasks: TaskTracker,
}

/// Executors that are being ended, or until when not to try that again.
type Ending = Arc<Mutex<BTreeMap<String, Option<Time>>>>;

impl<C: Cloud> Fleet<C> {
    /// A fleet of a cloud.
    pub fn new(cloud: C, desk: Desk, clock: Clock, policy: Policy) -> Self {
        let policy = Policy { intent: cloud.settles(), ..policy };
        Self {
            cloud: Arc::new(cloud),
            desk,
            clock,
            policy,
            paused: Time::default(),
            ending: Ending::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Keeps the fleet until `stop`: at once when a job or an executor changes, else every second.
    /// When `drain` is set no executor is kept or launched for jobs to come.
    pub async fn keep(mut self, drain: CancellationToken, stop: CancellationToken) {
        let mut changes = self.desk.watch();
        while !stop.is_cancelled() {
            if drain.is_cancelled() {
                self.policy = Policy { idle_time: Duration::ZERO, ..self.policy };
            }
            changes.mark_unchanged();
            if let Err(error) = self.turn().await {
                tracing::error!("fleet: {error:#}; trying again");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                _ = changes.changed() => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }

    /// Looks once and does what is to be done.
    async fn turn(&mut self) -> anyhow::Result<()> {
        let listed = self.cloud.list().await?;
        for executor in lost(&listed, &self.desk.state()) {
            self.desk.ask(Event::Lost(executor)).await?;
        }
        let now = self.clock.now();
        locked(&self.ending).retain(|_, until| until.is_none_or(|until| until > now));
        for action in plan(&View::of(&listed, &self.desk.state()), &self.policy, now) {
            match action {
                Action::Launch(count) => self.launch(count).await?,
                Action::Terminate(id, why) => self.terminate(&id, why).await?,
                Action::Forget(id) => _ = self.desk.ask(Event::Removed(id)).await?,
            }
        }
        Ok(())
    }

    /// Journals each executor, then starts it. One that could not be started is forgotten at once.
    async fn launch(&mut self, count: usize) -> anyhow::Result<()> {
        if self.clock.now() < self.paused {
            return Ok(());
        }
        for _ in 0..count {
            let seed = Seed { id: self.cloud.new_id(), token: Secret::new(random_hex()) };
            self.desk.ask(Event::Launching(seed.id.clone(), hash(&seed.token))).await?;
            match self.cloud.launch(&seed).await {
                Ok(()) => tracing::info!(executor = seed.id, "executor is starting"),
                Err(error) => {
                    tracing::error!(executor = seed.id, "cannot start an executor: {error}; trying again");
                    self.paused = self.clock.now() + PAUSE;
                    self.desk.ask(Event::Removed(seed.id)).await?;
                    return self.obstacle(error.to_string()).await;
                }
            }
        }
        Ok(())
    }

    /// Tells waiting jobs why they wait.
    async fn obstacle(&self, obstacle: String) -> anyhow::Result<()> {
        self.desk.ask(Event::Obstacle(obstacle)).await?;
        Ok(())
    }

    /// Ends an executor, unless it was given a job meanwhile. Removing containers takes its time: nobody waits for it.
    async fn terminate(&self, id: &str, why: Why) -> anyhow::Result<()> {
        if locked(&self.ending).contains_key(id) || self.desk.ask(Event::Retire(id.to_owned())).await? == Reply::Stale {
            return Ok(());
        }
        if why == Why::HungInBoot {
            let tail = self.cloud.log_tail(id).await;
            tracing::error!(executor = id, "executor hung in boot; the end of its log: {tail}");
            self.obstacle(format!("executor {id} did not come up: {}", last_line(&tail))).await?;
        }
        locked(&self.ending).insert(id.to_owned(), None);
        let (cloud, desk, clock, ending) = (self.cloud.clone(), self.desk.clone(), self.clock, self.ending.clone());
        let id = id.to_owned();
        self.tasks.spawn(async move {
            match cloud.terminate(&id).await {
                Ok(()) => {
                    tracing::info!(executor = id, "executor is gone: {}", why.text());
                    desk.tell(Event::Removed(id.clone())).await;
                    locked(&ending).remove(&id);
                }
                Err(error) => {
                    tracing::error!(executor = id, "cannot end an executor: {error}; trying again");
                    locked(&ending).insert(id, Some(clock.now() + PAUSE));
                }
            }
        });
        Ok(())
    }
}

fn locked(ending: &Ending) -> std::sync::MutexGuard<'_, BTreeMap<String, Option<Time>>> {
    ending.lock().unwrap_or_else(PoisonError::into_inner)
}

/// SHA-256 of a token, 64 hex digits: what is journalled of it.
#[must_use]
pub(crate) fn hash(token: &Secret) -> String {
    hex::encode(Sha256::digest(token.expose()))
}

fn last_line(text: &str) -> &str {
    text.trim_end().rsplit('\n').next().unwrap_or_default()
}
