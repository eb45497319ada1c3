//! Launches: journalled first, then asked for, again with the same token as long as nobody knows what came of them.

use super::apply::Pool;
use super::attempts::Attempts;
use super::view::names;
use crate::clock::Clock;
use crate::cloud::{Cloud, Failed, Launched, Order, Seed};
use crate::desk::Desk;
use crate::journal::random_hex;
use crate::ownership::{Event, Executor, Launch, NewExecutor};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::task::TaskTracker;
use warmstart_gitlab::secret::Secret;

/// The launches of one cloud.
#[derive(Debug)]
pub(super) struct Launches<C> {
    cloud: Arc<C>,
    desk: Desk,
    clock: Clock,
    /// By their tokens.
    calls: Attempts,
    /// Pools that rest, since their last launch failed.
    pools: Attempts,
    /// Seeds that were never given to the cloud.
    fresh: Mutex<BTreeMap<String, Seed>>,
    tasks: TaskTracker,
}

impl<C: Cloud> Launches<C> {
    pub(super) fn new(cloud: Arc<C>, desk: Desk, clock: Clock) -> Self {
        let (calls, pools, fresh) = Default::default();
        Self { cloud, desk, clock, calls, pools, fresh, tasks: TaskTracker::new() }
    }

    /// Journals a launch of so many executors; [`Self::call`] makes it.
    pub(super) async fn begin(&self, pool: &Pool, count: usize) -> anyhow::Result<()> {
        if !self.pools.may_begin(&pool.name, self.clock.now()) {
            return Ok(());
        }
        let launch = Launch { token: random_hex()[..24].to_owned(), count };
        for at in 0..count {
            let seed = self.cloud.seed(&launch, at);
            let new = NewExecutor {
                pool: pool.name.clone(),
                token_sha256: seed.token.as_ref().map(hash).unwrap_or_default(),
                launch: Some(launch.clone()),
                sharing: pool.sharing,
            };
            self.desk.ask(Event::Launching(seed.id.clone(), Box::new(new))).await?;
            self.fresh().insert(seed.id.clone(), seed);
        }
        Ok(())
    }

    /// Makes every launch whose answer is neither here nor awaited.
    pub(super) fn call(self: &Arc<Self>, pools: &[Pool]) {
        let state = self.desk.state();
        for order in orders(&state.executors) {
            let known = pools.iter().any(|pool| pool.name == order.pool);
            if known && let Some(order) = self.take(order) {
                self.spawn(order);
            }
        }
    }

    /// The order with its seeds as they were made, unless it is under way or has just failed.
    fn take(&self, mut order: Order) -> Option<Order> {
        if !self.calls.may_begin(&order.launch.token, self.clock.now()) {
            return None;
        }
        let mut fresh = self.fresh();
        for seed in &mut order.seeds {
            if let Some(made) = fresh.remove(&seed.id) {
                *seed = made;
            }
        }
        Some(order)
    }

    fn spawn(self: &Arc<Self>, order: Order) {
        let this = self.clone();
        self.calls.begin(&order.launch.token);
        self.tasks.spawn(async move {
            let launched = match this.cloud.launch(&order).await {
                Ok(launched) => launched,
                Err(Failed::Refused(why)) => Launched { obstacle: Some(why), ..Launched::default() },
                Err(Failed::Unsure(why)) => return this.unsure(&order, why).await,
            };
            this.settle(&order, launched).await;
            this.calls.done(&order.launch.token);
        });
    }

    /// Nobody knows what came of it.
    async fn unsure(&self, order: &Order, why: String) {
        tracing::error!(pool = order.pool, "{why}; asking again with the same token");
        self.desk.tell(Event::Obstacle(order.pool.clone(), why)).await;
        self.calls.failed(&order.launch.token, self.clock.now());
    }

    /// Names what was started, forgets what was not.
    async fn settle(&self, order: &Order, launched: Launched) {
        let (desk, token) = (&self.desk, &order.launch.token);
        for (from, to) in names(token, &launched.executors, &desk.state()) {
            tracing::info!(executor = to, pool = order.pool, "executor is starting");
            desk.tell(Event::Named(from, to)).await;
        }
        if let Some(why) = launched.obstacle {
            tracing::warn!(pool = order.pool, "{why}");
            if !launched.elsewhere {
                self.pools.failed(&order.pool, self.clock.now());
            }
            desk.tell(Event::Obstacle(order.pool.clone(), why)).await;
        }
        for id in unnamed(token, &desk.state().executors) {
            desk.tell(Event::Removed(id)).await;
        }
    }

    fn fresh(&self) -> MutexGuard<'_, BTreeMap<String, Seed>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unnamed(token: &str, executors: &BTreeMap<String, Executor>) -> Vec<String> {
    executors.iter().filter(|(_, executor)| executor.awaits(token)).map(|(id, _)| id.clone()).collect()
}

/// The launches that executors without a name wait for.
fn orders(executors: &BTreeMap<String, Executor>) -> Vec<Order> {
    let mut orders = BTreeMap::<&str, Order>::new();
    for (id, executor) in executors {
        let Some(launch) = &executor.launch else { continue };
        let order = orders.entry(&launch.token).or_insert_with(|| Order {
            launch: launch.clone(),
            pool: executor.pool.clone(),
            seeds: Vec::new(),
        });
        order.seeds.push(Seed { id: id.clone(), token: None });
    }
    orders.into_values().collect()
}

/// SHA-256 of a token, 64 hex digits: what is journalled of it.
#[must_use]
pub(crate) fn hash(token: &Secret) -> String {
    hex::encode(Sha256::digest(token.expose()))
}
