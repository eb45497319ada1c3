//! The configuration: one TOML text with GitLab Runner's own words where it has them.
//!
//! | table | keys |
//! |---|---|
//! | (global) | `concurrent`, `check_interval`, `log_level`, `log_format` |
//! | `[[runners]]` | `name`, `pool`, `allowed_pools`, `url`, `token`, `token_file`, `limit`, `request_concurrency`, `output_limit`, `builds_dir`, `environment`, `pre_…`/`post_…` scripts, `debug_trace_disabled`, `stage_times`, `tls-ca-file`, `unhealthy_requests_limit`, `unhealthy_interval` |
//! | `[runners.feature_flags]` | GitLab Runner's `FF_…`; they come before what a job says |
//! | `[runners.docker]` | those of [`warmstart_api::settings::Docker`] |
//! | `[runners.cache]` | `store` |
//! | `[state]` | `store` |
//! | `[agents]` | `listen`, `address`, `poll`, `contact_limit` |
//! | `[fleet]` | `cloud`, `max`, `idle_time`, `boot_timeout`, `max_age`, `acquire_timeout`, `max_use_count`, `reuse`, `lease` |
//! | `[fleet.local]` | `command`, `directory` |
//! | `[fleet.ec2]` | `region`, `deployment`, `launch_template`, `role` |
//! | `[[pools]]` | `name`, `max_instances`, those of `[fleet]` from `idle_time` to `reuse`, and those of [`Machines`] |
//!
//! A key that nobody knows is an error that names the nearest known one; one that GitLab Runner documents and that
//! is not done here is a warning. Durations of our own keys are like `15m` or `1h 30m`. Messages never show values
//! of tokens.

mod entry;
mod keys;
mod pools;
mod schema;
mod values;

#[cfg(test)]
mod tests;

use crate::fleet::Pool;
use crate::ownership::Rules;
use serde::Deserialize;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use values::{AgentAddress, Humane, StoreUrl};

pub use entry::Entry;
pub use pools::{Cloud, Ec2, Machines};

/// The environment variable with the token of an entry that has none in the file.
pub const TOKEN_VARIABLE: &str = "WARMSTART_RUNNER_TOKEN";

/// Why a configuration is refused, in one line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// Something in the text.
    #[error("line {line}: {message}")]
    Text {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// Something that is missing, or that another file or variable should have held.
    #[error("{0}")]
    Whole(String),
}

/// A configuration that can be run.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many jobs at once, over all entries.
    pub concurrent: usize,
    /// Between two job requests.
    pub check_interval: Duration,
    /// `debug`, `info`, `warn`, `error`.
    pub log_level: String,
    /// JSON instead of text; by default wherever stderr is no terminal.
    pub json: Option<bool>,
    /// The `[[runners]]` entries.
    pub entries: Vec<Entry>,
    /// Where the journal is kept.
    pub state: String,
    /// The agents' side.
    pub agents: Agents,
    /// The machine's durations and numbers.
    pub rules: Rules,
    /// The pools of executors; jobs of an entry that names none go to the first.
    pub pools: Vec<Pool>,
    /// Where executors come from.
    pub cloud: Cloud,
}

/// `[agents]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Agents {
    /// Where the agents' API listens; with port 0 the first free port is taken and kept for ever.
    pub listen: SocketAddr,
    /// What agents dial, if not that.
    pub address: Option<AgentAddress>,
    /// How long an idle agent's question is held.
    pub poll: Humane,
    /// How long an idle agent goes on without contact.
    pub contact_limit: Humane,
}

impl Default for Agents {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7414)),
            address: None,
            poll: Humane(warmstart_api::client::LONG_POLL),
            contact_limit: Humane(Duration::from_mins(15)),
        }
    }
}

/// `[fleet.local]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Local {
    /// The agent's program; beside the runner's own by default.
    pub command: Option<PathBuf>,
    /// A directory for each executor is made here. It is this runner's alone.
    pub directory: PathBuf,
}

impl Default for Local {
    fn default() -> Self {
        Self { command: None, directory: PathBuf::from("/var/lib/warmstart/executors") }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct File {
    concurrent: usize,
    check_interval: u64,
    log_level: String,
    log_format: Option<String>,
    runners: Vec<entry::Raw>,
    state: State,
    agents: Agents,
    fleet: pools::Fleet,
    pools: Vec<pools::Raw>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            concurrent: 1,
            check_interval: 3,
            log_level: "info".to_owned(),
            log_format: None,
            runners: Vec::new(),
            state: State::default(),
            agents: Agents::default(),
            fleet: pools::Fleet::default(),
            pools: Vec::new(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct State {
    store: StoreUrl,
}

impl Default for State {
    fn default() -> Self {
        Self { store: StoreUrl("file:///var/lib/warmstart/state".to_owned()) }
    }
}

/// Reads a configuration: the configuration, and a line for every key that has no effect here.
///
/// `environment` answers the value of an environment variable.
pub fn parse(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<(Config, Vec<String>), Error> {
    let warnings = schema::check(text)?;
    let file: File = toml::from_str(text).map_err(|error| in_text(text, &error))?;
    Ok((settle(file, environment)?, warnings))
}

/// Reads the text of a configuration file, with this process' environment.
pub fn read(text: &str, path: &Path) -> anyhow::Result<(Config, Vec<String>)> {
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    parse(text, &environment).map_err(|error| match error {
        Error::Text { line, message } => anyhow::anyhow!("{}:{line}: {message}", path.display()),
        Error::Whole(message) => anyhow::anyhow!("{}: {message}", path.display()),
    })
}

fn settle(file: File, environment: &dyn Fn(&str) -> Option<String>) -> Result<Config, Error> {
    let whole = |message: &str| Err(Error::Whole(message.to_owned()));
    if file.runners.is_empty() {
        return whole("there is no [[runners]] entry: add one with url and token");
    }
    if file.concurrent == 0 {
        return whole("concurrent is 0: no job would ever run; set it to 1 or more");
    }
    let rules = Rules {
        acquire_timeout: file.fleet.acquire_timeout.0,
        lease: file.fleet.lease.0,
        script_lease: file.fleet.lease.0 * 3,
        ..Rules::default()
    };
    let (pools, cloud) = pools::settle(file.fleet, file.pools, file.concurrent, &rules)?;
    Ok(Config {
        concurrent: file.concurrent,
        check_interval: Duration::from_secs(file.check_interval.max(1)),
        log_level: file.log_level,
        json: file.log_format.map(|format| format == "json"),
        entries: entry::settle(file.runners, &pools, environment)?,
        state: file.state.store.0,
        agents: file.agents,
        rules,
        pools,
        cloud,
    })
}

/// The message of a TOML error with its line. Its own display quotes the text, which may hold a token.
fn in_text(text: &str, error: &toml::de::Error) -> Error {
    let message = error.message().replace('\n', ", ");
    match error.span() {
        Some(span) => Error::Text { line: line_of(text, span.start), message },
        None => Error::Whole(message),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// `a, b or c`.
fn alternatives(words: &[&str]) -> String {
    let mut text = String::new();
    for (at, word) in words.iter().enumerate() {
        let glue = if at == 0 {
            ""
        } else if at + 1 == words.len() {
            " or "
        } else {
            ", "
        };
        let _ = write!(text, "{glue}`{word}`");
    }
    text
}
