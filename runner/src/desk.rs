//! The one place where the ownership machine runs: event by event, each journalled before it counts.

use crate::clock::Clock;
use crate::journal::{self, Journal};
use crate::ownership::{self, Effect, Event, Job, Phase, Reply, State};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Something to do for a job at GitLab.
#[derive(Debug)]
pub struct Act {
    /// [`Effect::Attend`], [`Effect::Detach`] or [`Effect::End`].
    pub effect: Effect,
    /// The job, if it is still known.
    pub job: Option<Job>,
}

/// Why an event did not happen. It may be repeated.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The journal could not be written, so nothing has changed.
    #[error("cannot write the journal: {0}")]
    Journal(Arc<journal::Error>),
    /// The runner is stopping.
    #[error("the runner is stopping")]
    Stopping,
}

/// Where events are brought to. Clones bring them to the same desk.
#[derive(Clone, Debug)]
pub struct Desk {
    asks: mpsc::Sender<Ask>,
    state: watch::Receiver<Arc<State>>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Ask {
    event: Event,
    answer: oneshot::Sender<Result<Reply, Error>>,
}

impl Desk {
    /// Opens the desk on a state. What is to be done at GitLab goes to `acts`. It works until all its clones are gone.
    #[must_use]
    pub fn open(
        state: State,
        journal: Journal,
        clock: Clock,
        acts: mpsc::UnboundedSender<Act>,
        stop: CancellationToken,
    ) -> Self {
        let (asks, incoming) = mpsc::channel(256);
        let (publish, state) = watch::channel(Arc::new(state));
        tokio::spawn(Worker { publish, journal, clock, acts }.work(incoming));
        Self { asks, state, stop }
    }

    /// Brings an event and waits for its answer; [`Reply::Done`] where the machine has none.
    ///
    /// Once brought, an event happens even if the caller stops waiting.
    pub async fn ask(&self, event: Event) -> Result<Reply, Error> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask { event, answer }).await.map_err(|_| Error::Stopping)?;
        answered.await.map_err(|_| Error::Stopping)?
    }

    /// Brings an event that must happen, again and again while the journal cannot be written.
    pub async fn tell(&self, event: Event) {
        while let Err(error) = self.ask(event.clone()).await {
            tracing::error!("{error}; trying again");
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// The state now.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.state.borrow().clone()
    }

    /// The state and its changes; signs of life alone are no change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.state.clone()
    }

    /// Ticks until the runner stops.
    pub async fn tick(self, every: Duration) {
        while self.stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            if let Err(error) = self.ask(Event::Tick).await {
                tracing::error!("{error}; trying again");
            }
        }
    }
}

struct Worker {
    publish: watch::Sender<Arc<State>>,
    journal: Journal,
    clock: Clock,
    acts: mpsc::UnboundedSender<Act>,
}

impl Worker {
    async fn work(self, mut incoming: mpsc::Receiver<Ask>) {
        while let Some(Ask { event, answer }) = incoming.recv().await {
            // Who asked may have gone; the event has happened all the same.
            let _ = answer.send(self.handle(event).await);
        }
    }

    /// Decides, writes, commits, acts: in this order.
    async fn handle(&self, event: Event) -> Result<Reply, Error> {
        let before = self.publish.borrow().clone();
        let quiet = matches!(event, Event::Poll(_) | Event::Heartbeat(..) | Event::Tick);
        let (after, effects) = ownership::step(&before, event, self.clock.now());
        for effect in &effects {
            self.write(&after, effect).await.map_err(|error| Error::Journal(Arc::new(error)))?;
        }
        tell_changes(&before, &after, &effects);
        let after = Arc::new(after);
        let changed = !quiet || effects.iter().any(|effect| !matches!(effect, Effect::Reply(_)));
        self.publish.send_if_modified(|state| {
            *state = after.clone();
            changed
        });
        Ok(self.act(&after, effects))
    }

    async fn write(&self, state: &State, effect: &Effect) -> Result<(), journal::Error> {
        match effect {
            Effect::Create(id) => match state.jobs.get(id) {
                Some(job) => self.journal.create(job).await,
                None => Ok(()),
            },
            // What the same step removed again is not written.
            Effect::Write(id) => match state.jobs.get(id) {
                Some(job) => self.journal.write(job).await,
                None => Ok(()),
            },
            Effect::WriteExecutor(id) => match state.executors.get(id) {
                Some(executor) => self.journal.write_executor(id, executor).await,
                None => Ok(()),
            },
            Effect::Remove(id) => self.journal.remove(*id).await,
            Effect::RemoveExecutor(id) => self.journal.remove_executor(id).await,
            _ => Ok(()),
        }
    }

    fn act(&self, state: &State, effects: Vec<Effect>) -> Reply {
        let mut reply = Reply::Done;
        for effect in effects {
            match effect {
                Effect::Reply(answer) => reply = answer,
                Effect::LeaseStorm { lapsed, of } => tracing::error!(
                    alarm = "lease_storm",
                    lapsed,
                    of,
                    "agents are not heard: the fault seems to be the runner's or its network's, so no job is ended; check that agents can reach the runner"
                ),
                Effect::Attend { job, .. } | Effect::Detach(job) | Effect::End { job, .. } => {
                    // With nobody to act the runner is stopping, and the next one takes over from the journal.
                    let _ = self.acts.send(Act { job: state.jobs.get(&job).cloned(), effect });
                }
                _ => {}
            }
        }
        reply
    }
}

/// A line for each job that changed hands.
fn tell_changes(before: &State, after: &State, effects: &[Effect]) {
    for effect in effects {
        match effect {
            Effect::Create(id) | Effect::Write(id) => {
                if let Some(job) = after.jobs.get(id) {
                    tell_job(before.jobs.get(id), job);
                }
            }
            Effect::Remove(id) => {
                let phase = before.jobs.get(id).map(|job| job.phase.name());
                tracing::info!(job = id, phase, "job is settled");
            }
            _ => {}
        }
    }
}

fn tell_job(before: Option<&Job>, job: &Job) {
    let phase = job.phase.name();
    // A new one is told of by the intake, which knows its name.
    let Some(before) = before.filter(|before| before.phase.name() != phase) else { return };
    let executor = job.holder().or_else(|| before.holder()).map(|by| by.executor.as_str());
    let (id, project, generation) = (job.id, job.scope.project, job.generation);
    match (&before.phase, &job.phase) {
        (_, Phase::Ending(end)) => {
            tracing::warn!(job = id, project, generation, executor, reason = ?end.reason, "job is ending: {}", end.text);
        }
        (Phase::Held { .. }, Phase::Waiting { .. }) => {
            tracing::warn!(job = id, project, generation, executor, "job is waiting again: its executor is lost");
        }
        (Phase::Offered { .. }, Phase::Waiting { .. }) => {
            tracing::warn!(
                job = id,
                project,
                generation,
                executor,
                "job is waiting again: its executor did not take it"
            );
        }
        _ => tracing::info!(job = id, project, generation, executor, "job is {phase}"),
    }
}
