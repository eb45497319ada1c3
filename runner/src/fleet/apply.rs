//! The loop that keeps the fleet: list, judge, plan, do.

use super::attempts::Attempts;
use super::launches::Launches;
use super::plan::{Action, Policy, Why, plan};
use super::view::{Listing, View, found, lost};
use crate::clock::{Clock, Time};
use crate::cloud::Cloud;
use crate::desk::Desk;
use crate::ownership::{Event, Reply, Sharing};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Executors of one kind.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// How many there are, and for how long.
    pub policy: Policy,
    /// How many jobs each may take, and whose.
    pub sharing: Sharing,
}

/// Keeps the fleet of one cloud.
#[derive(Debug)]
pub struct Fleet<C> {
    cloud: Arc<C>,
    desk: Desk,
    clock: Clock,
    pools: Vec<Pool>,
    launches: Arc<Launches<C>>,
    listing: Option<Listing>,
    /// Executors that are being ended.
    ending: Attempts,
    tasks: TaskTracker,
}

impl<C: Cloud> Fleet<C> {
    /// A fleet of a cloud.
    pub fn new(cloud: C, desk: Desk, clock: Clock, pools: Vec<Pool>) -> Self {
        let cloud = Arc::new(cloud);
        let launches = Arc::new(Launches::new(cloud.clone(), desk.clone(), clock));
        let (listing, ending, tasks) = (None, Attempts::default(), TaskTracker::new());
        Self { cloud, desk, clock, pools, launches, listing, ending, tasks }
    }

    /// Keeps the fleet until `stop`: at once when a job or an executor changes, else every second.
    /// When `drain` is set no executor is kept or launched for jobs to come.
    pub async fn keep(mut self, drain: CancellationToken, stop: CancellationToken) {
        let mut changes = self.desk.watch();
        while !stop.is_cancelled() {
            if drain.is_cancelled() {
                self.pools.iter_mut().for_each(|pool| pool.policy = pool.policy.draining());
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
        let listing = self.look().await?;
        for (launched, executor) in found(&listing, &self.desk.state()) {
            tracing::info!(executor, "executor has come, whose launch was not answered");
            self.desk.ask(Event::Named(launched, executor)).await?;
        }
        for executor in lost(&listing, &self.desk.state()) {
            self.desk.ask(Event::Lost(executor)).await?;
        }
        let now = self.clock.now();
        for pool in self.pools.clone() {
            let view = View::of(&listing, &self.desk.state(), &|name| name == pool.name);
            self.act(&pool, plan(&view, &pool.policy, now)).await?;
        }
        self.clear(&listing, now).await?;
        self.launches.call(&self.pools);
        Ok(())
    }

    /// Ends what belongs to pools that are not configured any more, once it is idle.
    async fn clear(&mut self, listing: &Listing, now: Time) -> anyhow::Result<()> {
        let strange = |name: &str| self.pools.iter().all(|pool| pool.name != name);
        let view = View::of(listing, &self.desk.state(), &strange);
        let policy = Policy { max: 0, ..Policy::default() }.draining();
        let gone = Pool { name: String::new(), policy, sharing: Sharing::default() };
        self.act(&gone, plan(&view, &gone.policy, now)).await
    }

    /// What the cloud lists: asked afresh when the last answer is too old.
    async fn look(&mut self) -> anyhow::Result<Listing> {
        let at = self.clock.now();
        match &self.listing {
            Some(listing) if at.since(listing.at) < self.cloud.freshness() => Ok(listing.clone()),
            _ => {
                let listing = Listing { at, settles: self.cloud.settles(), instances: self.cloud.list().await? };
                self.listing = Some(listing.clone());
                Ok(listing)
            }
        }
    }

    async fn act(&mut self, pool: &Pool, actions: Vec<Action>) -> anyhow::Result<()> {
        for action in actions {
            match action {
                Action::Launch(count) => self.launches.begin(pool, count).await?,
                Action::Terminate(id, why) => self.terminate(pool, &id, why).await?,
                Action::Forget(id) => _ = self.desk.ask(Event::Removed(id)).await?,
            }
        }
        Ok(())
    }

    /// Ends an executor, unless it was given a job meanwhile. Removing containers takes its time: nobody waits for it.
    async fn terminate(&self, pool: &Pool, id: &str, why: Why) -> anyhow::Result<()> {
        let may_begin = self.ending.may_begin(id, self.clock.now());
        if !may_begin || self.desk.ask(Event::Retire(id.to_owned())).await? == Reply::Stale {
            return Ok(());
        }
        if why == Why::HungInBoot {
            let tail = self.cloud.log_tail(id).await;
            tracing::error!(executor = id, "executor hung in boot; the end of its log: {tail}");
            let obstacle = format!("executor {id} did not come up: {}", last_line(&tail));
            self.desk.ask(Event::Obstacle(pool.name.clone(), obstacle)).await?;
        }
        self.ending.begin(id);
        let (cloud, desk, clock, ending) = (self.cloud.clone(), self.desk.clone(), self.clock, self.ending.clone());
        let id = id.to_owned();
        self.tasks.spawn(async move {
            match cloud.terminate(&id).await {
                Ok(()) => {
                    tracing::info!(executor = id, "executor is gone: {}", why.text());
                    desk.tell(Event::Removed(id.clone())).await;
                    ending.done(&id);
                }
                Err(error) => {
                    tracing::error!(executor = id, "cannot end an executor: {error}; trying again");
                    ending.failed(&id, clock.now());
                }
            }
        });
        Ok(())
    }
}

fn last_line(text: &str) -> &str {
    text.trim_end().rsplit('\n').next().unwrap_or_default()
}
