//! The runner: everything put together, from start to stop.

use crate::clock::Clock;
use crate::cloud::ec2::{self, Ec2};
use crate::cloud::local::Local;
use crate::config::{self, Config, Entry};
use crate::desk::{Act, Desk};
use crate::fleet::Fleet;
use crate::intake::{Clients, Intake, Rotation, Slots, Voice, newest, verify};
use crate::journal::{self, Journal, Lock};
use crate::ownership::{self, Effect};
use crate::server::proof::{Prover, Sts};
use crate::server::{self, Server};
use crate::stop::Stop;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;
use warmstart_api::user_data::UserData;

/// How often the machine looks at the clock.
const TICK: Duration = Duration::from_secs(1);

/// Runs until told to stop, in this order:
///
/// 1. take the state directory, read who this runner is, take the port;
/// 2. ask GitLab about each token;
/// 3. read the journal and go on where the last runner stopped;
/// 4. serve agents, keep the fleet, ask for jobs;
/// 5. on SIGTERM stop asking, wait for requests under way, and leave running jobs to the next runner; on SIGQUIT
///    first wait for all jobs to end and end all executors.
pub async fn run(config: Config, stop: Stop) -> Result<()> {
    let _lock = Lock::of_store(&config.state)?;
    let journal = Journal::open(&config.state).await?;
    let identity = journal.identity().await.context("read the state store")?;
    let (tls, fingerprint) = server::tls(&identity)?;
    let clock = Clock::start();
    let entries: Vec<Arc<Entry>> = config.entries.iter().cloned().map(Arc::new).collect();
    let clients = Clients::new(&config.entries)?;

    let listener = server::bind(config.agents.listen, &journal).await?;
    let bound = listener.local_addr().context("read the port of the agents' API")?;
    let url = server::address(&config.agents, bound);
    let (cloud, prover) = open_cloud(&config, url, &fingerprint.to_string(), clock).await?;

    let mut asking = Vec::new();
    for entry in &entries {
        let identity = newest(&journal, entry, &identity.system_id).await.context("read the state store")?;
        let Some(client) = clients.of(&entry.id) else { continue };
        let verified = verify(entry, client, &identity).await.context("check the configuration")?;
        let (sender, current) = watch::channel(Some(identity));
        let (entry, client, journal) = (entry.clone(), client.clone(), journal.clone());
        let rotation = Rotation { entry: entry.clone(), client: client.clone(), journal, identity: sender };
        asking.push((entry, client, current, rotation, verified));
    }

    let (acts, todo) = mpsc::unbounded_channel();
    let desk = open(&config, journal, clock, &acts, &stop).await?;
    tracing::info!(address = %bound, jobs = desk.state().jobs.len(), executors = desk.state().executors.len(), "runner is up");
    let voice = Voice { clients, desk: desk.clone(), clock, directory: std::env::temp_dir(), stop: stop.now.clone() };
    let server = Server::new(desk.clone(), prover, &identity, &entries, &config.agents, clock, stop.now.clone());

    let intake = TaskTracker::new();
    let room = config.pools.iter().map(|pool| (pool.name.clone(), pool.policy.max)).collect();
    let slots = Slots::new(config.concurrent, room);
    for (entry, client, identity, rotation, verified) in asking {
        let interval = config.check_interval;
        let (desk, slots, stop) = (desk.clone(), slots.clone(), stop.intake.clone());
        intake.spawn(rotation.keep(verified, stop.clone()));
        intake.spawn(Intake { entry, client, identity, desk, slots, interval, stop }.run());
    }
    intake.close();
    let parts = TaskTracker::new();
    parts.spawn(voice.run(todo));
    parts.spawn(desk.clone().tick(TICK));
    match cloud {
        AnyCloud::Local(cloud) => {
            parts.spawn(Fleet::new(cloud, desk.clone(), clock, config.pools).keep(stop.drain.clone(), stop.now.clone()))
        }
        AnyCloud::Ec2(cloud) => parts
            .spawn(Fleet::new(*cloud, desk.clone(), clock, config.pools).keep(stop.drain.clone(), stop.now.clone())),
    };
    parts.close();
    let mut serving = tokio::spawn(server.serve(listener, tls));

    tokio::select! {
        ended = &mut serving => return ended.context("serve agents")?,
        () = leave(&stop, &desk, &intake) => {}
    }
    serving.await.context("serve agents")??;
    parts.wait().await;
    tracing::info!(jobs = desk.state().jobs.len(), "runner has stopped");
    Ok(())
}

/// Waits for the end: all job requests are answered, and after SIGQUIT nothing is left to do.
async fn leave(stop: &Stop, desk: &Desk, intake: &TaskTracker) {
    stop.intake.cancelled().await;
    intake.wait().await;
    if stop.drain.is_cancelled() {
        let mut state = desk.watch();
        let idle = state.wait_for(|state| state.jobs.is_empty() && state.executors.is_empty());
        let _ = stop.now.run_until_cancelled(idle).await;
    }
    stop.now.cancel();
}

/// Opens the desk on what the journal says, and does what that asks for.
async fn open(
    config: &Config,
    journal: Journal,
    clock: Clock,
    acts: &mpsc::UnboundedSender<Act>,
    stop: &Stop,
) -> Result<Desk, journal::Error> {
    let (jobs, executors) = journal.load().await?;
    let (state, effects) = ownership::restore(config.rules, jobs, executors, clock.now());
    for effect in effects {
        if let Some(job) = subject(&effect).and_then(|id| state.jobs.get(&id)) {
            let _ = acts.send(Act { job: Some(job.clone()), effect });
        }
    }
    Ok(Desk::open(state, journal, clock, acts.clone(), stop.now.clone()))
}

fn subject(effect: &Effect) -> Option<u64> {
    match effect {
        Effect::Attend { job, .. } | Effect::End { job, .. } => Some(*job),
        _ => None,
    }
}

/// One of the clouds.
enum AnyCloud {
    Local(Local),
    Ec2(Box<Ec2>),
}

/// The cloud, and how its executors prove what they are.
async fn open_cloud(config: &Config, url: String, fingerprint: &str, clock: Clock) -> Result<(AnyCloud, Prover)> {
    Ok(match &config.cloud {
        config::Cloud::Local(local) => {
            let (command, directory) = (command(local)?, local.directory.clone());
            let cloud = Local::open(command, directory, url, fingerprint.to_owned(), clock)?;
            (AnyCloud::Local(cloud), Prover::Token)
        }
        config::Cloud::Ec2(config) => {
            let sdk = ec2::sdk(config.region.clone()).await?;
            let (fingerprint, deployment) = (fingerprint.to_owned(), config.deployment.clone());
            let sts = ec2::sts_endpoint(&sdk);
            let user_data = serde_json::to_string(&UserData { url, fingerprint, deployment, sts: sts.clone() })?;
            let sts = sts.parse().with_context(|| format!("use the STS endpoint {sts}"))?;
            let prover = Prover::Sts(Sts::new(sts, config.deployment.clone(), config.role.clone())?);
            let cloud = Ec2::open(config.clone(), &sdk, &user_data, clock).await?;
            (AnyCloud::Ec2(Box::new(cloud)), prover)
        }
    })
}

/// The agent's program: as configured, else beside this one.
fn command(local: &config::Local) -> Result<PathBuf> {
    match &local.command {
        Some(command) => Ok(command.clone()),
        None => Ok(std::env::current_exe().context("find the runner's own program")?.with_file_name("warmstart-agent")),
    }
}
