//! An executor as the machine and the journal know it.

use crate::clock::Time;
use serde::{Deserialize, Serialize};

use super::Rules;

/// A machine that runs jobs, from the moment before its launch. This is also its record in the journal.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Executor {
    /// SHA-256 (hex) of the token that proves a `local` executor.
    #[serde(default)]
    pub token_sha256: String,
    /// When its launch began.
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
    pub fn new(token_sha256: String, now: Time) -> Self {
        Self {
            token_sha256,
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

    /// Whether it gets no more jobs.
    #[must_use]
    pub fn is_spent(&self, rules: &Rules) -> bool {
        self.doomed || self.used >= rules.max_use_count
    }

    /// Whether a job of this scope may run on it.
    #[must_use]
    pub fn suits(&self, scope: Scope, rules: &Rules) -> bool {
        !self.is_spent(rules) && (rules.reuse == Reuse::Pool || self.scope.is_none_or(|own| own == scope))
    }
}
