//! `warmstart-agent executor`: serve a runner, one job after the other.

pub mod lease;

use crate::cli::Executor;
use crate::fault::causes;
use crate::host::Host;
use crate::job::{self, End, order::Order, owner::Owner};
use crate::signals::Signals;
use anyhow::{Context, Result, bail};
use lease::Lease;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument;
use warmstart_api::client::{Error, Link};
use warmstart_api::{Assignment, Holding, Register, Registered, Release, Released, VERSION};

/// How long the first registration is tried: a runner that starts its executors answers at once.
const FIRST_CONTACT: Duration = Duration::from_mins(5);

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(5);

/// Serves the runner until it has no more work, this process is told to stop, or contact is lost for too long.
pub async fn run(arguments: Executor) -> Result<()> {
    let link = Link::new(&arguments.url, &arguments.fingerprint)?;
    let signals = Signals::listen()?;
    let host = Host::start(&arguments.directory, &arguments.executor).await?;
    let register = Register {
        version: VERSION,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        executor: arguments.executor.clone(),
        run_id: uuid::Uuid::new_v4().to_string(),
        proof: arguments.token.clone(),
        holding: None,
    };
    let agent = Agent { link, host: Arc::new(host), register, signals };
    Box::pin(agent.serve()).await
}

struct Agent {
    link: Link,
    host: Arc<Host>,
    register: Register,
    signals: Signals,
}

impl Agent {
    async fn serve(&self) -> Result<()> {
        let mut registered = self.announce(FIRST_CONTACT).await?;
        tracing::info!(executor = %self.register.executor, "registered with the runner");
        loop {
            let limit = Duration::from_millis(registered.contact_limit_ms);
            let answer = tokio::select! {
                answer = self.link.next(limit) => answer,
                () = self.signals.quit() => return self.leave().await,
            };
            match answer {
                Ok(Some(assignment)) => Box::pin(self.take(assignment, &registered)).await,
                Ok(None) => {}
                Err(Error::Session(_)) => registered = self.announce(limit).await?,
                Err(Error::Gone) => {
                    tracing::info!("runner has no more work for this executor");
                    return Ok(());
                }
                Err(error @ Error::Unreachable { .. }) => {
                    bail!("no contact with the runner for too long, shutting down: {}", causes(&error))
                }
                Err(error) => return Err(error).context("cannot ask the runner for work"),
            }
            if self.signals.is_quitting() {
                return self.leave().await;
            }
        }
    }

    async fn announce(&self, within: Duration) -> Result<Registered> {
        tokio::select! {
            answer = self.link.register(&self.register, within) => answer.context("cannot register with the runner"),
            () = self.signals.quit() => bail!("told to stop before the runner answered"),
        }
    }

    /// Takes an assignment: only an answered `ack` makes the job this agent's.
    async fn take(&self, assignment: Assignment, registered: &Registered) {
        let holding = assignment.holding;
        let lease = Duration::from_millis(registered.lease_ms);
        match self.link.ack(holding, lease).await {
            Ok(()) => {}
            Err(error) => return tracing::warn!(job = holding.job, "job is not ours: {}", causes(&error)),
        }
        let span = tracing::info_span!("job", job = holding.job, generation = holding.generation);
        let lease = Lease::begin(&self.link, &self.register, registered, holding);
        let outcome = self.perform(assignment, Owner::Runner(lease)).instrument(span).await;
        if let Some(outcome) = outcome {
            self.release(holding, outcome, Duration::from_millis(registered.contact_limit_ms)).await;
        }
    }

    /// Runs the job. `None`: it is somebody else's, and there is nothing to tell.
    async fn perform(&self, assignment: Assignment, owner: Owner) -> Option<Released> {
        tracing::info!("job begins");
        let ran = match Order::read(assignment) {
            Ok(order) => Box::pin(job::run(&self.host, order, &owner, self.signals.interrupt())).await,
            Err(error) => Err(error),
        };
        match ran {
            Ok(end) => released(end),
            Err(error) => {
                tracing::error!("cannot begin the job: {error:#}");
                Some(Released::GivenUp { reason: format!("{error:#}") })
            }
        }
    }

    async fn release(&self, holding: Holding, outcome: Released, within: Duration) {
        match &outcome {
            Released::Finished { state, reason } => tracing::info!(job = holding.job, state, reason, "job ended"),
            Released::GivenUp { reason } => tracing::info!(job = holding.job, reason, "job given up"),
        }
        let release = Release { holding, outcome };
        loop {
            match self.link.release(&release, within).await {
                Err(Error::Session(_)) => match self.announce(within).await {
                    Ok(_) => {}
                    Err(error) => return tracing::warn!("cannot release the job: {error:#}"),
                },
                Err(error) => return tracing::warn!("cannot release the job: {}", causes(&error)),
                Ok(()) => return,
            }
        }
    }

    /// Says goodbye. Work that waits for this executor goes to another one.
    async fn leave(&self) -> Result<()> {
        tracing::info!("told to stop");
        if let Err(error) = self.link.leave(GOODBYE).await {
            tracing::info!("left without the runner's leave: {}", causes(&error));
        }
        Ok(())
    }
}

fn released(end: End) -> Option<Released> {
    match end {
        End::Lost => None,
        End::GivenUp(reason) => Some(Released::GivenUp { reason }),
        End::Unreported(why) => {
            tracing::error!("GitLab could not be told how the job ended: {why}");
            Some(Released::Finished { state: "failed".to_owned(), reason: None })
        }
        End::Reported(_) => end
            .reported()
            .map(|(state, reason)| Released::Finished { state: state.to_owned(), reason: reason.map(str::to_owned) }),
    }
}
