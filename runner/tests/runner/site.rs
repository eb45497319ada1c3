//! A runner within the test whose executors are EC2 instances: its agents' API, and STS as its judge.

use super::support::SOON;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use warmstart_api::client::{Error, Link};
use warmstart_api::user_data::UserData;
use warmstart_api::{Register, Registered};
use warmstart_runner::clock::Clock;
use warmstart_runner::config::{self, Agents, Config};
use warmstart_runner::desk::{Act, Desk};
use warmstart_runner::intake::{Clients, Intake, Slots, Voice, newest};
use warmstart_runner::journal::Journal;
use warmstart_runner::ownership::{DEFAULT_POOL, Executor, NewExecutor, Rules, Sharing, restore};
use warmstart_runner::server::proof::{self, Prover};
use warmstart_runner::server::{self, Server};
use warmstart_tests::aws::Sts;

/// The deployment.
pub(crate) const DEPLOYMENT: &str = "warmstart-1";
/// Its executors' role.
pub(crate) const ROLE: &str = "executor";
/// An instance that is known to the runner.
pub(crate) const INSTANCE: &str = "i-0123456789abcdef0";
/// Another one.
pub(crate) const OTHER: &str = "i-00000000000000002";

pub(crate) struct Site {
    pub(crate) sts: Sts,
    pub(crate) desk: Desk,
    /// An instance that no other site has: agents clean up after their executor's earlier run.
    pub(crate) instance: String,
    pub(crate) directory: TempDir,
    url: String,
    fingerprint: String,
    _stop: DropGuard,
}

impl Site {
    /// A runner without any GitLab.
    pub(crate) async fn start() -> Result<Self> {
        Self::with("").await
    }

    /// A runner with these `[[runners]]`.
    pub(crate) async fn with(entries: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("warmstart-site-").tempdir()?;
        let journal = Journal::open(&format!("file://{}", directory.path().join("state").display())).await?;
        let identity = journal.identity().await?;
        let (tls, fingerprint) = server::tls(&identity)?;
        let (clock, stop) = (Clock::start(), CancellationToken::new());
        let instance = format!("i-{}", &uuid::Uuid::new_v4().simple().to_string()[..17]);
        let known = [INSTANCE, OTHER, &instance].map(|id| (id.to_owned(), Executor::new(launched(), clock.now())));
        let (state, _) = restore(Rules::default(), Vec::new(), BTreeMap::from(known), clock.now());
        let (acts, todo) = mpsc::unbounded_channel();
        let desk = Desk::open(state, journal.clone(), clock, acts, stop.clone());

        let sts = Sts::start().await?;
        let role = format!("arn:aws:iam::123456789012:role/{ROLE}").parse()?;
        let prover = Prover::Sts(proof::Sts::new(sts.url.parse()?, DEPLOYMENT.to_owned(), role)?);
        let config = if entries.is_empty() { None } else { Some(config::read(entries, Path::new("config.toml"))?.0) };
        let entries: Vec<_> = config.iter().flat_map(|config| config.entries.iter().cloned().map(Arc::new)).collect();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let url = format!("https://{}", listener.local_addr()?);
        let server = Server::new(desk.clone(), prover, &identity, &entries, &Agents::default(), clock, stop.clone());
        tokio::spawn(server.serve(listener, tls));
        if let Some(config) = &config {
            take_jobs(config, &journal, &identity.system_id, &desk, clock, &stop, todo).await?;
        }
        Ok(Self { sts, desk, instance, directory, url, fingerprint: fingerprint.to_string(), _stop: stop.drop_guard() })
    }

    /// What the runner would write into an instance's user-data.
    pub(crate) fn user_data(&self) -> UserData {
        let (url, fingerprint) = (self.url.clone(), self.fingerprint.clone());
        UserData { url, fingerprint, deployment: DEPLOYMENT.to_owned(), sts: self.sts.url.clone() }
    }

    pub(crate) fn link(&self) -> Result<Link> {
        Ok(Link::new(&self.url, &self.fingerprint)?)
    }

    /// Registers an executor's run with this proof.
    pub(crate) async fn register(&self, executor: &str, run: &str, proof: String) -> Result<Registered, Error> {
        let register = Register {
            version: warmstart_api::VERSION,
            agent_version: "test".to_owned(),
            executor: executor.to_owned(),
            run_id: run.to_owned(),
            proof: proof.into(),
            holding: None,
        };
        self.link().expect("a link").register(&register, SOON).await
    }
}

/// An instance of the default pool, after EC2 has named it.
pub(crate) fn launched() -> NewExecutor {
    let (pool, token_sha256) = (DEFAULT_POOL.to_owned(), String::new());
    NewExecutor { pool, token_sha256, launch: None, sharing: Sharing::default() }
}

/// Takes the jobs of the first entry, as the runner does.
async fn take_jobs(
    config: &Config,
    journal: &Journal,
    system_id: &str,
    desk: &Desk,
    clock: Clock,
    stop: &CancellationToken,
    todo: mpsc::UnboundedReceiver<Act>,
) -> Result<()> {
    let clients = Clients::new(&config.entries)?;
    let entry = Arc::new(config.entries.first().context("there is an entry")?.clone());
    let client = clients.of(&entry.id).context("it has a client")?.clone();
    let (sender, identity) = watch::channel(Some(newest(journal, &entry, system_id).await?));
    let intake = Intake {
        entry,
        client,
        identity,
        desk: desk.clone(),
        slots: Slots::new(1, BTreeMap::from([(DEFAULT_POOL.to_owned(), 1)])),
        interval: Duration::from_secs(1),
        stop: stop.clone(),
    };
    tokio::spawn(async move {
        intake.run().await;
        drop(sender);
    });
    let directory = std::env::temp_dir();
    tokio::spawn(Voice { clients, desk: desk.clone(), clock, directory, stop: stop.clone() }.run(todo));
    Ok(())
}
