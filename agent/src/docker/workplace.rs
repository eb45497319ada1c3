//! The build container from its making to its last script.
//!
//! It is made while git works, and started too where that runs nothing but a shell of ours which waits: then a script
//! begins at once.

use crate::docker::attach::Streams;
use crate::docker::build::Build;
use crate::docker::config::Spec;
use crate::docker::container::Container;
use crate::docker::sandbox::Sandbox;
use crate::fault::Fault;
use crate::job::order::Order;
use crate::log::Log;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

/// How often a container is made that is gone before its script begins; a job may ask for more.
const TRIES: u32 = 2;

/// What the build container is made from.
#[derive(Debug)]
pub struct Recipe {
    /// What is particular to it.
    pub build: Build,
    /// What all containers of the job have in common, and its user and names.
    pub spec: Spec,
    /// The job's corner of Docker.
    pub sandbox: Sandbox,
    /// The job.
    pub order: Arc<Order>,
    /// `EXECUTOR_JOB_SECTION_ATTEMPTS`.
    pub attempts: u32,
}

/// The build container.
#[derive(Debug)]
pub struct Workplace {
    recipe: Arc<Recipe>,
    state: Mutex<State>,
}

/// A container, and the way to its shell where it is started.
type Opened = (Container, Option<Streams>);

#[derive(Debug)]
enum State {
    Coming(AbortOnDropHandle<Result<Opened, Fault>>),
    There(Container),
    Nothing,
}

impl Recipe {
    async fn make(&self) -> Result<Container, Fault> {
        self.build.create(&self.sandbox, &self.order.settings.docker, self.spec.clone()).await
    }

    async fn make_ahead(&self) -> Result<Opened, Fault> {
        let container = self.make().await?;
        let ready = self.build.waits_for_a_script(&self.order.settings.docker);
        let streams = if ready { Some(container.open().await?) } else { None };
        Ok((container, streams))
    }
}

impl Workplace {
    /// Begins to make it.
    #[must_use]
    pub fn begin(recipe: Recipe) -> Self {
        let recipe = Arc::new(recipe);
        let making = recipe.clone();
        let coming = AbortOnDropHandle::new(tokio::spawn(async move { Box::pin(making.make_ahead()).await }));
        Self { recipe, state: Mutex::new(State::Coming(coming)) }
    }

    /// A started container whose shell waits for a script. One that somebody else has removed is made again.
    pub async fn open(&self, name: &str, log: &Log) -> Result<(Container, Streams), Fault> {
        let mut state = self.state.lock().await;
        for left in (0..self.recipe.attempts.max(TRIES)).rev() {
            match Box::pin(self.try_open(&mut state)).await {
                Err(fault) if fault.is_gone() && left > 0 => {
                    log.warn(&format!("{fault}"));
                    log.info(&format!("Retrying {name}"));
                }
                Err(fault) => return Err(self.recipe.build.explain(fault)),
                Ok(opened) => return Ok(opened),
            }
        }
        Err(Fault::System("cannot start the build container".to_owned()))
    }

    async fn try_open(&self, state: &mut State) -> Result<(Container, Streams), Fault> {
        let (container, streams) = match std::mem::replace(state, State::Nothing) {
            State::Coming(coming) => {
                coming.await.map_err(|e| Fault::system("cannot make the build container", &e))??
            }
            State::There(container) => (container, None),
            State::Nothing => (self.recipe.make().await?, None),
        };
        let streams = match streams {
            Some(streams) => still_there(&container).await.map(|()| streams)?,
            None => container.open().await?,
        };
        *state = State::There(container.clone());
        Ok((container, streams))
    }
}

/// Fails if somebody has removed it since it was started. One that has ended by itself has something to say.
async fn still_there(container: &Container) -> Result<(), Fault> {
    match container.process().await {
        Err(fault) if fault.is_gone() => Err(fault),
        _ => Ok(()),
    }
}
