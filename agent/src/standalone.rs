//! `warmstart-agent run`: take jobs from GitLab directly and run them on this machine.

use crate::cli::Run;
use crate::host::Host;
use crate::job::{self, End, order::Order, owner::Owner};
use crate::signals::Signals;
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use warmstart_api::assignment::{CacheStore, GitLab, Log};
use warmstart_api::settings::{Docker, Settings};
use warmstart_api::{Assignment, Holding};
use warmstart_gitlab::client::{Acquired, Client, ClientCertificate, Health, Identity};
use warmstart_gitlab::flags::{self, Configured};
use warmstart_gitlab::info::Info;
use warmstart_gitlab::token;
use warmstart_gitlab::update::{FailureReason, Signal, State, Update, Verdict, map_reason};

/// Serves GitLab until this process is told to stop, or after one job with `--once`.
pub async fn run(arguments: Run) -> Result<()> {
    let signals = Signals::listen()?;
    let gitlab = gitlab(&arguments)?;
    let client = Client::new(&gitlab.url, &gitlab.options())?;
    let host = Host::start(&arguments.directory, &executor(&arguments)).await?;
    let system_id = system_id(&arguments.directory)?;
    let identity = Identity { token: arguments.token.clone(), system_id, info: Info::default() };
    verify(&client, &identity).await?;
    let intake = Intake { host: Arc::new(host), client, identity, gitlab, arguments, signals, slots: Arc::default() };
    intake.serve().await
}

struct Intake {
    host: Arc<Host>,
    client: Client,
    identity: Identity,
    /// What is the same for all jobs.
    gitlab: GitLab,
    arguments: Run,
    signals: Signals,
    slots: Arc<Slots>,
}

/// A wrong token is an error now rather than a log line every three seconds; a GitLab that is away is not.
async fn verify(client: &Client, identity: &Identity) -> Result<()> {
    match client.verify(identity).await {
        Ok(_) => Ok(()),
        Err(error) if error.status() == Some(403) => {
            Err(error).context("GitLab does not accept the token: it is wrong, or its runner was removed")
        }
        Err(error) if error.status() == Some(422) => Err(error).context("the token's runner has no project any more"),
        Err(error) => {
            tracing::warn!("cannot verify the token now: {error}");
            Ok(())
        }
    }
}

impl Intake {
    async fn serve(&self) -> Result<()> {
        tracing::info!(url = %self.arguments.url, "waiting for jobs");
        let room = Arc::new(Semaphore::new(self.arguments.concurrent as usize));
        let jobs = TaskTracker::new();
        let mut health = Health::default();
        let mut last_update = None;
        while !self.signals.is_quitting() {
            let permit = tokio::select! {
                permit = room.clone().acquire_owned() => permit?,
                () = self.signals.quit() => break,
            };
            if !health.may_poll(Instant::now()) {
                self.pause().await;
                continue;
            }
            // Not dropped when told to stop: a job may be on its way in the answer.
            let answer = Box::pin(self.client.request_job(&self.identity, last_update.as_deref())).await?;
            health.observe(answer.healthy, Instant::now());
            last_update = answer.last_update.or(last_update);
            if let Some(trouble) = answer.trouble {
                tracing::warn!("{trouble}");
            }
            match answer.acquired {
                Some(acquired) => {
                    jobs.spawn(self.work(acquired, permit));
                    if self.arguments.once {
                        break;
                    }
                }
                None if answer.long_polled => {}
                None => self.pause().await,
            }
        }
        jobs.close();
        jobs.wait().await;
        Ok(())
    }

    async fn pause(&self) {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(self.arguments.check_interval)) => {}
            () = self.signals.quit() => {}
        }
    }

    /// Confirms a job to GitLab and runs it to its end.
    fn work(&self, acquired: Acquired, permit: OwnedSemaphorePermit) -> impl Future<Output = ()> + Send + 'static {
        let slot = Slots::take(&self.slots, acquired.job.job_info.project_id);
        let assignment = self.assignment(&acquired, &slot);
        let (host, client, interrupt) = (self.host.clone(), self.client.clone(), self.signals.interrupt().clone());
        let span = tracing::info_span!("job", job = acquired.job.id, project = acquired.job.job_info.project_id);
        let work = async move {
            let _room = (slot, permit);
            if !confirm(&client, &acquired).await {
                return;
            }
            tracing::info!("job begins");
            let ran = match Order::read(assignment) {
                Ok(order) => Box::pin(job::run(&host, order, &Owner::Alone, &interrupt)).await,
                Err(error) => Err(error),
            };
            match ran {
                Ok(End::Unreported(why)) => tracing::error!("GitLab could not be told how the job ended: {why}"),
                Ok(end) => {
                    let (state, reason) = end.reported().unwrap_or(("given up", None));
                    tracing::info!(state, reason, "job ended");
                }
                Err(error) => refuse(&client, &acquired, &format!("{error:#}")).await,
            }
        };
        work.instrument(span)
    }

    fn assignment(&self, acquired: &Acquired, slot: &Slot) -> Assignment {
        let project = acquired.job.job_info.project_id;
        let secret = self.arguments.token.expose();
        Assignment {
            holding: Holding { job: acquired.job.id, generation: 0 },
            payload: acquired.raw.clone(),
            correlation_id: acquired.correlation_id.clone(),
            gitlab: GitLab {
                runner_name: self.arguments.name.clone().unwrap_or_else(|| self.host.name.clone()),
                short_token: token::short(secret).to_owned(),
                system_id: self.identity.system_id.clone(),
                concurrent_id: slot.overall,
                concurrent_project_id: slot.in_project,
                volume_prefix: token::volume_prefix(secret, &self.identity.system_id, project, slot.in_project),
                ..self.gitlab.clone()
            },
            seconds_left: acquired.job.timeout().as_secs(),
            log: Log::Continue(String::new()),
            settings: settings(&self.arguments),
            cache: self.arguments.cache_store.clone().map(|url| CacheStore { url, credentials: None }),
        }
    }
}

/// The first update, which comes before any log (protocol §1.5). Whether the job is to be run.
async fn confirm(client: &Client, acquired: &Acquired) -> bool {
    let answer = client.job(acquired.job.id, &acquired.job.token).update(&Update::running()).await;
    match answer {
        Ok(answer) if answer.signal == Signal::Canceling => {
            end_canceled(client, acquired).await;
            false
        }
        Ok(answer) if answer.signal == Signal::Aborted || matches!(answer.verdict, Verdict::Refused(_)) => {
            tracing::info!("job is gone before it began");
            false
        }
        Ok(_) => true,
        Err(error) => {
            tracing::warn!("cannot confirm the job, beginning all the same: {error}");
            true
        }
    }
}

/// Fails a job that cannot be begun.
async fn refuse(client: &Client, acquired: &Acquired, why: &str) {
    tracing::error!("cannot run the job: {why}");
    let timestamps = flags::is_on(flags::TIMESTAMPS, &Configured::new(), &acquired.job);
    if let Err(error) = client.job(acquired.job.id, &acquired.job.token).refuse(why, timestamps).await {
        tracing::error!("GitLab could not be told: {error}");
    }
}

/// Ends a job that was cancelled before it began; GitLab makes `canceled` of it.
async fn end_canceled(client: &Client, acquired: &Acquired) {
    let reason = Some(map_reason(FailureReason::JobCanceled, &acquired.job.features));
    let update = Update { state: State::Failed, reason, ..Update::running() };
    if let Err(error) = client.job(acquired.job.id, &acquired.job.token).update(&update).await {
        tracing::error!("GitLab could not be told that the cancelled job is over: {error}");
    }
}

fn settings(arguments: &Run) -> Settings {
    Settings {
        builds_dir: arguments.builds_dir.clone(),
        docker: Docker {
            image: arguments.image.clone(),
            privileged: arguments.privileged,
            volumes: arguments.volumes.clone().into(),
            pull_policy: arguments.pull_policy.clone(),
            ..Docker::default()
        },
        ..Settings::default()
    }
}

/// Where GitLab is and what TLS with it needs.
fn gitlab(arguments: &Run) -> Result<GitLab> {
    let read =
        |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let client_certificate = match (&arguments.tls_cert_file, &arguments.tls_key_file) {
        (Some(certificate), Some(key)) => {
            Some(ClientCertificate { certificate: read(certificate)?, key: read(key)?.into() })
        }
        _ => None,
    };
    let ca = arguments.tls_ca_file.as_ref().map(read).transpose()?;
    Ok(GitLab { url: arguments.url.clone(), ca, client_certificate, ..GitLab::default() })
}

/// One per machine and GitLab.
fn executor(arguments: &Run) -> String {
    let digest = hex::encode(Sha256::digest(format!("{} {}", arguments.url, arguments.directory.display())));
    arguments.executor.clone().unwrap_or_else(|| format!("standalone-{}", &digest[..12]))
}

/// The system id of this directory: kept, so that GitLab sees one runner manager however often the agent starts.
fn system_id(directory: &Path) -> Result<String> {
    let path = directory.join("system-id");
    if let Ok(text) = std::fs::read_to_string(&path)
        && token::is_system_id(text.trim())
    {
        return Ok(text.trim().to_owned());
    }
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let id = if machine.trim().is_empty() { token::random_system_id() } else { token::system_id_of(machine.trim()) };
    std::fs::write(&path, &id).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(id)
}

/// The smallest free numbers of running jobs: `CI_CONCURRENT_ID` and `CI_CONCURRENT_PROJECT_ID`.
#[derive(Debug, Default)]
struct Slots {
    taken: Mutex<Vec<(u32, u64, u32)>>,
}

/// The numbers of one running job; free again when dropped.
#[derive(Debug)]
struct Slot {
    overall: u32,
    project: u64,
    in_project: u32,
    slots: Arc<Slots>,
}

impl Slots {
    fn take(slots: &Arc<Self>, project: u64) -> Slot {
        let mut taken = slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let overall = smallest_free(taken.iter().map(|slot| slot.0));
        let in_project = smallest_free(taken.iter().filter(|slot| slot.1 == project).map(|slot| slot.2));
        taken.push((overall, project, in_project));
        drop(taken);
        Slot { overall, project, in_project, slots: slots.clone() }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let own = (self.overall, self.project, self.in_project);
        self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner).retain(|slot| *slot != own);
    }
}

fn smallest_free(taken: impl Iterator<Item = u32>) -> u32 {
    let taken: std::collections::BTreeSet<u32> = taken.collect();
    (0..=u32::MAX).find(|number| !taken.contains(number)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_jobs_have_the_smallest_free_numbers() {
        let slots = Arc::new(Slots::default());
        let (a, b) = (Slots::take(&slots, 1), Slots::take(&slots, 2));
        assert_eq!((a.overall, a.in_project, b.overall, b.in_project), (0, 0, 1, 0));
        drop(a);
        let c = Slots::take(&slots, 2);
        assert_eq!((c.overall, c.in_project), (0, 1));
    }

    #[test]
    fn a_machine_keeps_its_system_id() {
        let directory = tempfile::tempdir().expect("a directory");
        let id = system_id(directory.path()).expect("an id");
        assert!(token::is_system_id(&id));
        assert_eq!(system_id(directory.path()).expect("an id"), id);
    }
}
