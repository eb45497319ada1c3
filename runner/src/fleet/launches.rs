//! Launches: journalled first, then asked for, again with the same token as long as nobody knows what came of them.

use super::apply::{PAUSE, Pool};
use super::view::{is_of, names};
use crate::clock::{Clock, Time};
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
    shared: Arc<Mutex<Shared>>,
    tasks: TaskTracker,
}

#[derive(Debug, Default)]
struct Shared {
    /// The tokens whose answers are awaited, and until when not to ask again with others.
    calls: BTreeMap<String, Option<Time>>,
    /// Until when a pool launches nothing.
    paused: BTreeMap<String, Time>,
    /// Seeds that were never given to the cloud.
    fresh: BTreeMap<String, Seed>,
}

impl<C: Cloud> Launches<C> {
    pub(super) fn new(cloud: Arc<C>, desk: Desk, clock: Clock) -> Self {
        Self { cloud, desk, clock, shared: Arc::default(), tasks: TaskTracker::new() }
    }

    /// Journals a launch of so many executors; [`Self::call`] makes it.
    pub(super) async fn begin(&self, pool: &Pool, count: usize) -> anyhow::Result<()> {
        if locked(&self.shared).paused.get(&pool.name).is_some_and(|until| self.clock.now() < *until) {
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
            locked(&self.shared).fresh.insert(seed.id.clone(), seed);
        }
        Ok(())
    }

    /// Makes every launch whose answer is neither here nor awaited.
    pub(super) fn call(&self, pools: &[Pool]) {
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
        let mut shared = locked(&self.shared);
        let now = self.clock.now();
        match shared.calls.get(&order.launch.token) {
            Some(None) => return None,
            Some(Some(until)) if now < *until => return None,
            _ => {}
        }
        for seed in &mut order.seeds {
            if let Some(fresh) = shared.fresh.remove(&seed.id) {
                *seed = fresh;
            }
        }
        shared.calls.insert(order.launch.token.clone(), None);
        Some(order)
    }

    fn spawn(&self, order: Order) {
        let (cloud, desk, clock, shared) = (self.cloud.clone(), self.desk.clone(), self.clock, self.shared.clone());
        self.tasks.spawn(async move {
            let token = order.launch.token.clone();
            let until = match cloud.launch(&order).await {
                Ok(launched) => settle(&desk, &clock, &shared, &order, launched).await,
                Err(Failed::Refused(why)) => {
                    let launched = Launched { obstacle: Some(why), ..Launched::default() };
                    settle(&desk, &clock, &shared, &order, launched).await
                }
                Err(Failed::Unsure(why)) => {
                    tracing::error!(pool = order.pool, "{why}; asking again with the same token");
                    desk.tell(Event::Obstacle(order.pool.clone(), why)).await;
                    Some(clock.now() + PAUSE)
                }
            };
            let mut shared = locked(&shared);
            shared.calls.remove(&token);
            shared.calls.extend(until.map(|until| (token, Some(until))));
        });
    }
}

/// Names what was started, forgets what was not.
async fn settle(desk: &Desk, clock: &Clock, shared: &Mutex<Shared>, order: &Order, launched: Launched) -> Option<Time> {
    let token = &order.launch.token;
    for (from, to) in names(token, &launched.executors, &desk.state()) {
        tracing::info!(executor = to, pool = order.pool, "executor is starting");
        desk.tell(Event::Named(from, to)).await;
    }
    if let Some(why) = launched.obstacle {
        tracing::warn!(pool = order.pool, "{why}");
        if !launched.elsewhere {
            locked(shared).paused.insert(order.pool.clone(), clock.now() + PAUSE);
        }
        desk.tell(Event::Obstacle(order.pool.clone(), why)).await;
    }
    for id in unnamed(token, &desk.state().executors) {
        desk.tell(Event::Removed(id)).await;
    }
    None
}

fn unnamed(token: &str, executors: &BTreeMap<String, Executor>) -> Vec<String> {
    executors.iter().filter(|(_, executor)| is_of(executor, token)).map(|(id, _)| id.clone()).collect()
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

fn locked(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// SHA-256 of a token, 64 hex digits: what is journalled of it.
#[must_use]
pub(crate) fn hash(token: &Secret) -> String {
    hex::encode(Sha256::digest(token.expose()))
}
