//! `register` and `unregister`: a runner comes to GitLab and goes (protocol §1.4). GitLab Runner's words for options.

mod file;

use crate::config::{Config, Entry};
use crate::intake::{Clients, newest};
use crate::journal::Journal;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use file::File;
use std::path::{Path, PathBuf};
use warmstart_gitlab::client::{Client, Identity, Registration};
use warmstart_gitlab::info::Info;
use warmstart_gitlab::secret::Secret;

/// What a new entry of the configuration is made of.
#[derive(Args, Debug)]
pub struct Register {
    /// The configuration that gets the entry; it is made if it is not there.
    #[arg(long, short, env = "WARMSTART_RUNNER_CONFIG")]
    config: PathBuf,
    /// GitLab's URL.
    #[arg(long, short, env = "CI_SERVER_URL")]
    url: String,
    /// A runner authentication token, `glrt-…`: create the runner in GitLab to get one. A registration token of the
    /// old kind will do too.
    #[arg(long, short, env = "CI_SERVER_TOKEN", hide_env_values = true)]
    token: String,
    /// The entry's name, which jobs' logs show.
    #[arg(long, alias = "description", env = "RUNNER_NAME", default_value = "warmstart")]
    name: String,
    /// The image of jobs that name none.
    #[arg(long, env = "DOCKER_IMAGE", default_value = "debian:12")]
    docker_image: String,
    /// PEM of the CA of GitLab's certificate.
    #[arg(long, env = "CI_SERVER_TLS_CA_FILE")]
    tls_ca_file: Option<PathBuf>,
    /// PEM of a certificate for a server that asks who calls.
    #[arg(long, env = "CI_SERVER_TLS_CERT_FILE", requires = "tls_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// PEM of that certificate's key.
    #[arg(long, env = "CI_SERVER_TLS_KEY_FILE", requires = "tls_cert_file")]
    tls_key_file: Option<PathBuf>,
    #[command(flatten)]
    old: Old,
}

/// What a registration token of the old kind leaves to whoever registers; of other runners GitLab knows it already.
#[derive(Args, Debug)]
#[command(next_help_heading = "Only with a registration token of the old kind")]
struct Old {
    /// Tags, separated by commas.
    #[arg(long, env = "RUNNER_TAG_LIST", default_value = "")]
    tag_list: String,
    /// Take jobs without tags too; always so if there is no tag.
    #[arg(long, env = "REGISTER_RUN_UNTAGGED")]
    run_untagged: bool,
    /// Stay with one project.
    #[arg(long, env = "REGISTER_LOCKED")]
    locked: bool,
    /// `not_protected` or `ref_protected`.
    #[arg(long, env = "REGISTER_ACCESS_LEVEL", default_value = "", value_parser = ["", "not_protected", "ref_protected"])]
    access_level: String,
    /// The longest time of a job, in seconds; 0 for none.
    #[arg(long, env = "REGISTER_MAXIMUM_TIMEOUT", default_value_t = 0)]
    maximum_timeout: u64,
    /// Begin without taking jobs.
    #[arg(long, env = "REGISTER_PAUSED")]
    paused: bool,
    /// A note that GitLab shows.
    #[arg(long, env = "REGISTER_MAINTENANCE_NOTE", default_value = "")]
    maintenance_note: String,
}

/// Which entries are to go.
#[derive(Args, Debug)]
pub struct Unregister {
    /// The configuration that has the entry.
    #[arg(long, short, env = "WARMSTART_RUNNER_CONFIG")]
    config: PathBuf,
    /// The entry's name.
    #[arg(long, required_unless_present = "all_runners", conflicts_with = "all_runners")]
    name: Option<String>,
    /// All entries.
    #[arg(long)]
    all_runners: bool,
}

/// Asks GitLab about the token, or exchanges a registration token for one, and adds an entry to the configuration.
/// What was done is the answer. The configuration is read, with the new entry, before GitLab is asked anything: a
/// runner that could not be used is not made.
pub async fn register(wanted: &Register) -> Result<String> {
    let mut file = File::open_or_new(&wanted.config)?;
    file.add(wanted, &wanted.token)?;
    let (config, entry) = (file.read()?, file.last()?);
    let client = client(&config, &entry)?;
    let mut identity = identity(&config, Secret::new(wanted.token.clone())).await?;
    match client.verify(&identity).await {
        Ok(verified) => {
            file.write()?;
            return Ok(format!("runner {} is entry \"{}\" of {}", verified.id, entry.name, wanted.config.display()));
        }
        // It may be a registration token.
        Err(error) if error.status() == Some(403) && !wanted.token.starts_with("glrt-") => {}
        Err(error) => return Err(error).context("register the runner"),
    }
    let registered = client.register(&wanted.registration()).await.context("register the runner")?;
    file.replace_token(registered.token.expose())?;
    if let Err(error) = file.write() {
        identity.token = registered.token;
        let undone = client.unregister(&identity).await;
        let left = undone.err().map_or_else(String::new, |why| format!("; remove it in GitLab: {why}"));
        return Err(error.context(format!("runner {} was registered, but cannot be kept{left}", registered.id)));
    }
    Ok(format!("runner {} is made, entry \"{}\" of {}", registered.id, entry.name, wanted.config.display()))
}

/// Takes entries off GitLab's list, then out of the configuration. An entry that GitLab does not know any more goes
/// as well. A line for each.
pub async fn unregister(wanted: &Unregister) -> Result<Vec<String>> {
    let mut file = File::open(&wanted.config)?;
    let config = file.read()?;
    let chosen = |(_, entry): &(usize, &Entry)| wanted.name.as_ref().is_none_or(|name| *name == entry.name);
    let entries: Vec<(usize, &Entry)> = config.entries.iter().enumerate().filter(chosen).collect();
    let names = || config.entries.iter().map(|entry| format!("\"{}\"", entry.name)).collect::<Vec<_>>().join(", ");
    ensure!(!entries.is_empty(), "{} has no such entry; it has {}", wanted.config.display(), names());
    ensure!(wanted.all_runners || entries.len() == 1, "{} has several entries of that name", wanted.config.display());
    let journal = Journal::open(&config.state).await?;
    let system_id = journal.identity().await.context("read the state store")?.system_id;
    let mut lines = Vec::new();
    // From the last one: the places of those before it stay.
    for (at, entry) in entries.into_iter().rev() {
        let identity = newest(&journal, entry, &system_id).await.context("read the state store")?;
        let gone = match client(&config, entry)?.unregister(&identity).await {
            Ok(()) => "is gone",
            Err(error) if matches!(error.status(), Some(403 | 404)) => "was not known to GitLab any more",
            Err(error) => bail!("cannot unregister \"{}\": {error}; its entry stays", entry.name),
        };
        file.remove(at)?;
        file.write()?;
        lines.push(format!("\"{}\" {gone}; its entry is removed from {}", entry.name, wanted.config.display()));
    }
    Ok(lines)
}

impl Register {
    fn registration(&self) -> Registration {
        let Old { tag_list, run_untagged, locked, access_level, maximum_timeout, paused, maintenance_note } = &self.old;
        Registration {
            token: Secret::new(self.token.clone()),
            description: self.name.clone(),
            maintenance_note: maintenance_note.clone(),
            tag_list: tag_list.clone(),
            run_untagged: *run_untagged || tag_list.is_empty(),
            locked: *locked,
            access_level: access_level.clone(),
            maximum_timeout: *maximum_timeout,
            paused: *paused,
            info: Info::default(),
        }
    }
}

fn client(config: &Config, entry: &Entry) -> Result<Client> {
    let clients = Clients::new(&config.entries)?;
    clients.of(&entry.id).cloned().context("the entry has no client")
}

/// This runner, as GitLab will know it: with the system id of its state store.
async fn identity(config: &Config, token: Secret) -> Result<Identity> {
    let journal = Journal::open(&config.state).await?;
    let system_id = journal.identity().await.context("read the state store")?.system_id;
    Ok(Identity { token, system_id, info: Info::default() })
}

/// Reads a configuration file.
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read configuration {}", path.display()))
}
