//! `warmstart-agent instance`: serve a runner from an EC2 instance.

pub mod metadata;
pub mod notice;
pub mod proof;

use crate::cli::Instance;
use crate::link::announcement::{Announcement, Proof};
use crate::link::{self, Service};
use anyhow::{Context, Result};
use metadata::Metadata;
use proof::Role;
use warmstart_api::client::Link;

/// Serves the runner that the user-data names, as the executor that this instance is.
pub async fn run(arguments: Instance) -> Result<()> {
    let metadata = Metadata::new();
    let told = metadata.user_data().await?;
    let (id, region) = (metadata.instance_id().await?, metadata.region().await?);
    let link = Link::new(&told.url, &told.fingerprint).context("cannot use the instance's user-data")?;
    let sts = told.sts.parse().context("cannot use the STS endpoint of the instance's user-data")?;
    tracing::info!(instance = id, region, runner = told.url, deployment = told.deployment, "this is an EC2 instance");
    let role = Role { metadata: metadata.clone(), region, sts, deployment: told.deployment };
    let announcement = Announcement::new(link, id, Proof::Role(Box::new(role)));
    Box::pin(link::serve(Service { announcement, directory: arguments.directory, metadata: Some(metadata) })).await
}
