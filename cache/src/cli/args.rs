//! Arguments that several subcommands have, and what they default to.
//!
//! Environment: `WARMSTART_CACHE_STORE`, `WARMSTART_CACHE_SCOPE`, `WARMSTART_CACHE_DEADLINE`, and of GitLab's
//! variables `CI_PROJECT_ID` (scope) and `CI_PROJECT_DIR` (directory).

use std::{path::PathBuf, time::Duration};

use clap::Args;
use warmstart_cache::{Key, Scope};

use super::Failure;

/// The scope of a command.
#[derive(Clone, Debug, Args)]
pub(super) struct ScopeArguments {
    /// Who shares the caches: <project>/protected or <project>/unprotected [default: the project is $CI_PROJECT_ID,
    /// else "default"; protected if the key ends in -protected].
    #[arg(long, env = "WARMSTART_CACHE_SCOPE", value_name = "SCOPE")]
    scope: Option<String>,
    /// GitLab's number of the project.
    #[arg(long, env = "CI_PROJECT_ID", hide = true)]
    project: Option<String>,
}

impl ScopeArguments {
    /// Gives the scope that was named, else the one of the key.
    pub(super) fn scope(&self, key: Option<&Key>) -> Result<Scope, Failure> {
        if let Some(scope) = self.scope.as_deref().filter(|scope| !scope.is_empty()) {
            return Ok(scope.parse()?);
        }
        let project = self.project.as_deref().filter(|project| !project.is_empty()).unwrap_or("default");
        match key {
            Some(key) => Ok(Scope::of_key(project, key)?),
            None => Ok(Scope::new(project, warmstart_cache::Protection::Unprotected)?),
        }
    }
}

/// The directory and the time of a command.
#[derive(Clone, Debug, Args)]
pub(super) struct WorkArguments {
    /// Paths are relative to this directory [default: $CI_PROJECT_DIR, else the current one].
    #[arg(
        short = 'C',
        long,
        env = "CI_PROJECT_DIR",
        value_name = "DIRECTORY",
        default_value = ".",
        hide_default_value = true
    )]
    pub(super) directory: PathBuf,
    /// Give up after this many seconds.
    #[arg(long, env = "WARMSTART_CACHE_DEADLINE", value_name = "SECONDS", default_value = "600")]
    deadline: u64,
}

impl WorkArguments {
    pub(super) fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline)
    }
}
