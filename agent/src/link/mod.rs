//! `warmstart-agent executor`: serve a runner, one job after the other.

pub mod announcement;
pub mod lease;

use crate::cli::Executor;
use crate::fault::causes;
use crate::host::Host;
use crate::instance::metadata::Metadata;
use crate::instance::notice;
use crate::job::{self, End, order::Order, owner::Owner};
use crate::notices::Notices;
use crate::signals::Signals;
use announcement::{Announcement, Proof};
use anyhow::{Context, Result, bail};
use lease::Lease;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;
use warmstart_api::client::{Error, Link};
use warmstart_api::{Assignment, Holding, Registered, Release, Released};

/// How long the first registration is tried: a runner that starts its executors answers at once.
const FIRST_CONTACT: Duration = Duration::from_mins(5);

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(5);

/// What serving a runner takes.
#[derive(Debug)]
pub struct Service {
    /// Who this is.
    pub announcement: Announcement,
    /// Where builds, logs and temporary files are kept.
    pub directory: PathBuf,
    /// Where notices come from that this machine will be taken away; from nowhere if it is no instance of a cloud.
    pub metadata: Option<Metadata>,
}

/// Serves the runner as its environment says.
pub async fn run(arguments: Executor) -> Result<()> {
    let link = Link::new(&arguments.url, &arguments.fingerprint)?;
    let announcement = Announcement::new(link, arguments.executor, Proof::Token(arguments.token));
    Box::pin(serve(Service { announcement, directory: arguments.directory, metadata: None })).await
}

/// Serves the runner until it has no more work, this process is told to stop, the machine is about to be taken away,
/// or contact is lost for too long.
pub async fn serve(service: Service) -> Result<()> {
    let Service { announcement, directory, metadata } = service;
    let signals = Signals::listen()?;
    let host = Arc::new(Host::start(&directory, &announcement.executor).await?);
    let watching = metadata.map(|metadata| {
        let heeding = heed(announcement.link.clone(), host.notices.clone(), signals.clone());
        let watching = notice::watch(metadata, host.notices.clone());
        AbortOnDropHandle::new(tokio::spawn(async move { tokio::join!(heeding, watching) }))
    });
    let agent = Agent { host, announcement, signals, _watching: watching };
    Box::pin(agent.serve()).await
}

/// Tells the runner of each notice; from the first one on no new job is taken.
async fn heed(link: Link, notices: Notices, signals: Signals) {
    let mut notices = notices.follow();
    loop {
        let notice = notices.next().await;
        tracing::warn!("{}", notice.text());
        if let Err(error) = link.notice(&notice.call(), GOODBYE).await {
            tracing::warn!("cannot tell the runner: {}", causes(&error));
        }
        signals.take_no_more();
    }
}

struct Agent {
    host: Arc<Host>,
    announcement: Announcement,
    signals: Signals,
    _watching: Option<AbortOnDropHandle<((), ())>>,
}

impl Agent {
    async fn serve(&self) -> Result<()> {
        let mut registered = self.announce(FIRST_CONTACT).await?;
        tracing::info!(executor = %self.announcement.executor, "registered with the runner");
        loop {
            let limit = Duration::from_millis(registered.contact_limit_ms);
            let answer = tokio::select! {
                answer = self.announcement.link.next(limit) => answer,
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
            answer = self.announcement.register(None, within) => answer.context("cannot register with the runner"),
            () = self.signals.quit() => bail!("told to stop before the runner answered"),
        }
    }

    /// Takes an assignment: only an answered `ack` makes the job this agent's.
    async fn take(&self, assignment: Assignment, registered: &Registered) {
        let holding = assignment.holding;
        let lease = Duration::from_millis(registered.lease_ms);
        match self.announcement.link.ack(holding, lease).await {
            Ok(()) => {}
            Err(error) => return tracing::warn!(job = holding.job, "job is not ours: {}", causes(&error)),
        }
        let span = tracing::info_span!("job", job = holding.job, generation = holding.generation);
        let lease = Lease::begin(&self.announcement, registered, holding);
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
            match self.announcement.link.release(&release, within).await {
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
        tracing::info!("taking no more jobs");
        if let Err(error) = self.announcement.link.leave(GOODBYE).await {
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
