//! `warmstart-agent purge`.

use crate::cli::Purge;
use crate::docker::{self, labels, sandbox};
use anyhow::{Context, Result};

/// Removes every container, network and volume that carries the executor's label. Nothing there is fine.
pub async fn run(arguments: &Purge) -> Result<()> {
    let docker = docker::connect().await?;
    let filter = labels::Filter::label(labels::EXECUTOR, &arguments.executor);
    let purged = sandbox::remove_labelled(&docker, &filter).await;
    purged.with_context(|| format!("cannot remove everything of executor {}", arguments.executor))
}
