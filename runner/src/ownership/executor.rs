//! An executor as the machine and the journal know it.

use crate::clock::Time;
use serde::{Deserialize, Serialize};

use super::Job;

/// A machine that runs jobs, from the moment before its launch. This is also its record in the journal.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Executor {
    /// The pool it belongs to.
    #[serde(default = "default_pool")]
    pub pool: String,
    /// SHA-256 (hex) of the token that proves a `local` executor.
    #[serde(default)]
    pub token_sha256: String,
    /// The launch it is asked for with, until the cloud has said which executor came of it: until then its id is a
    /// name that only this runner knows.
    #[serde(default)]
    pub launch: Option<Launch>,
    /// How many jobs it may take, and whose.
    #[serde(default)]
    pub sharing: Sharing,
    /// When its launch began, or was answered.
    pub launched: Time,
    /// The run id of its agent, once that has registered.
    #[serde(default)]
    pub run: Option<String>,
    /// The run ids of earlier processes of its agent.
    #[serde(default)]
    pub former: Vec<String>,
    /// How many jobs it has taken.
    #[serde(default)]
    pub used: u32,
    /// Whose jobs those were.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// It gets no more jobs and is to be ended.
    #[serde(default)]
    pub doomed: bool,
    /// The last call of its agent; a new runner's own start.
    #[serde(skip)]
    pub seen: Time,
    /// Since when it has had no job.
    #[serde(skip)]
    pub idle: Time,
}

/// The pool of a configuration without `[[pools]]`, and of records from before there were any.
pub const DEFAULT_POOL: &str = "default";

pub(super) fn default_pool() -> String {
    DEFAULT_POOL.to_owned()
}

/// A request for executors that all come at once. The cloud does the same request, told by its token, only once.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Launch {
    /// Its token.
    pub token: String,
    /// How many executors were asked for with it.
    pub count: usize,
}

/// How many jobs an executor may take, and whose.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sharing {
    /// How many jobs it serves.
    pub max_use_count: u32,
    /// Which jobs may follow one another on it.
    pub reuse: Reuse,
}

impl Default for Sharing {
    fn default() -> Self {
        Self { max_use_count: 1, reuse: Reuse::Project }
    }
}

/// An executor that is about to be launched.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "described in Executor")]
pub struct NewExecutor {
    pub pool: String,
    pub token_sha256: String,
    pub launch: Option<Launch>,
    pub sharing: Sharing,
}

/// Whose a job is, as far as sharing an executor goes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Scope {
    /// GitLab's id of the project.
    pub project: u64,
    /// Whether its ref is protected.
    pub protected: bool,
}

/// Which jobs may follow one another on an executor that serves more than one.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reuse {
    /// Those of one project and one protected state.
    #[default]
    Project,
    /// All: for teams that trust all their jobs.
    Pool,
}

impl Executor {
    /// An executor that is about to be launched.
    #[must_use]
    pub fn new(new: NewExecutor, now: Time) -> Self {
        Self {
            pool: new.pool,
            token_sha256: new.token_sha256,
            launch: new.launch,
            sharing: new.sharing,
            launched: now,
            run: None,
            former: Vec::new(),
            used: 0,
            scope: None,
            doomed: false,
            seen: now,
            idle: now,
        }
    }

    /// Whether it is still without a name, and of this launch.
    #[must_use]
    pub fn awaits(&self, token: &str) -> bool {
        self.launch.as_ref().is_some_and(|launch| launch.token == token)
    }

    /// Whether it gets no more jobs.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.doomed || self.used >= self.sharing.max_use_count
    }

    /// Whether a job may run on it.
    #[must_use]
    pub fn suits(&self, job: &Job) -> bool {
        let trusts = self.sharing.reuse == Reuse::Pool || self.scope.is_none_or(|own| own == job.scope);
        !self.is_spent() && self.pool == job.pool && trusts
    }
}
