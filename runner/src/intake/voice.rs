//! Who speaks for the jobs that are the runner's: one task per job, started and stopped by the machine's effects.

use super::Clients;
use super::attend::attend;
use super::end::end;
use crate::clock::Clock;
use crate::desk::{Act, Desk};
use crate::ownership::{Effect, Event};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the tasks share.
#[derive(Debug)]
pub struct Voice {
    /// GitLab.
    pub clients: Clients,
    /// Where they bring what they hear.
    pub desk: Desk,
    /// The time.
    pub clock: Clock,
    /// Where logs are kept on their way.
    pub directory: PathBuf,
    /// The runner stops: the next one will speak.
    pub stop: CancellationToken,
}

impl Voice {
    /// Does what the machine says until the runner stops, then lets the tasks end.
    pub async fn run(self, mut acts: mpsc::UnboundedReceiver<Act>) {
        let voice = Arc::new(self);
        let tasks = TaskTracker::new();
        let mut attending = BTreeMap::new();
        while let Some(Some(act)) = voice.stop.run_until_cancelled(acts.recv()).await {
            voice.act(act, &tasks, &mut attending).await;
        }
        tasks.close();
        tasks.wait().await;
    }

    async fn act(self: &Arc<Self>, act: Act, tasks: &TaskTracker, attending: &mut BTreeMap<u64, oneshot::Sender<()>>) {
        match (act.effect, act.job) {
            (Effect::Attend { start, .. }, Some(job)) => {
                let (detach, detached) = oneshot::channel();
                attending.insert(job.id, detach);
                tasks.spawn(attend(self.clone(), job, start, detached));
            }
            // When nobody attends, nobody knows the log.
            (Effect::Detach(id), _) if attending.remove(&id).is_none_or(|detach| detach.send(()).is_err()) => {
                self.desk.tell(Event::Detached(id, None)).await;
            }
            (Effect::End { start, .. }, Some(job)) => drop(tasks.spawn(end(self.clone(), job, start))),
            _ => {}
        }
        attending.retain(|_, detach| !detach.is_closed());
    }
}
