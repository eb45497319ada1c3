//! Everything that one job makes in Docker, and its removal (protocol §4.9).

use crate::docker::labels::{Filter, Identity};
use crate::docker::service_log::Followers;
use crate::docker::volumes::Named;
use crate::fault::Fault;
use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::models::{ContainerCreateBody, NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder,
};
use futures_util::future::join_all;
use std::collections::HashMap;
use std::time::Duration;
use tokio_util::task::TaskTracker;
use warmstart_api::settings;

/// What the clean-up may take in all.
const BUDGET: Duration = Duration::from_mins(5);

/// A job's corner of the Docker daemon. Clones share it.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// The daemon.
    pub docker: Docker,
    /// Names and labels.
    pub identity: Identity,
    /// The output of services on its way to the job's log.
    pub followers: Followers,
    /// Requests that make something: they go on when the job is stopped, and the clean-up waits for them. Otherwise
    /// the daemon could make a container just after everything was removed.
    making: TaskTracker,
}

impl Sandbox {
    /// An empty corner.
    #[must_use]
    pub fn new(docker: Docker, identity: Identity) -> Self {
        Self { docker, identity, followers: Followers::default(), making: TaskTracker::new() }
    }

    /// Makes a container and returns its id. One of the same name is removed first.
    pub async fn create(&self, suffix: &str, body: ContainerCreateBody, platform: &str) -> Result<String, Fault> {
        let name = self.identity.name(suffix);
        let docker = self.docker.clone();
        let options = CreateContainerOptionsBuilder::default().name(&name).platform(platform).build();
        let doing = format!("cannot create container {name}");
        let made = self.make(doing, async move {
            match docker.create_container(Some(options.clone()), body.clone()).await {
                Err(DockerError::DockerResponseServerError { status_code: 409, .. }) => {
                    remove_container(&docker, &name).await?;
                    docker.create_container(Some(options), body).await
                }
                made => made,
            }
        });
        Ok(made.await?.id)
    }

    /// Makes a bridge network and returns its name.
    pub async fn create_network(
        &self,
        name: String,
        options: HashMap<String, String>,
        enable_ipv6: bool,
    ) -> Result<String, Fault> {
        let docker = self.docker.clone();
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".to_owned()),
            options: Some(options),
            enable_ipv6: Some(enable_ipv6),
            labels: Some(self.identity.labels("network")),
            ..Default::default()
        };
        self.make(format!("cannot create network {name}"), async move { docker.create_network(request).await }).await?;
        Ok(name)
    }

    /// Makes a volume, unless it is there already. One that outlives the job does not carry the job's label.
    pub async fn create_volume(&self, volume: &Named, settings: &settings::Docker) -> Result<(), Fault> {
        let docker = self.docker.clone();
        let doing = format!("cannot create volume {}", volume.name);
        let request = VolumeCreateRequest {
            name: Some(volume.name.clone()),
            labels: Some(self.identity.volume_labels(volume)),
            driver: (!settings.volume_driver.is_empty()).then(|| settings.volume_driver.clone()),
            driver_opts: Some(settings.volume_driver_ops.clone().into_iter().collect()),
            ..Default::default()
        };
        self.make(doing, async move { docker.create_volume(request).await }).await?;
        Ok(())
    }

    async fn make<T: Send + 'static>(
        &self,
        doing: String,
        request: impl Future<Output = Result<T, DockerError>> + Send + 'static,
    ) -> Result<T, Fault> {
        match self.making.spawn(request).await {
            Ok(made) => made.map_err(|e| Fault::docker(doing, e)),
            Err(_) => Err(Fault::System(format!("{doing}: stopped"))),
        }
    }

    /// Removes everything the job made, whatever state it is in. Failures are logged for the operator only.
    pub async fn remove_all(&self) {
        let removed = async {
            self.making.close();
            self.making.wait().await;
            remove_labelled(&self.docker, &self.identity.filter()).await
        };
        match tokio::time::timeout(BUDGET, removed).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("cannot clean up after the job: {error:#}"),
            Err(_) => tracing::warn!("cannot clean up after the job within {BUDGET:?}: giving up"),
        }
    }
}

/// Removes every container, network and volume with a label. What is not there any more is fine.
pub async fn remove_labelled(docker: &Docker, filter: &Filter) -> anyhow::Result<()> {
    let mut failures = remove_containers(docker, filter).await?;
    failures.extend(remove_networks(docker, filter).await?);
    failures.extend(remove_volumes(docker, filter).await?);
    anyhow::ensure!(failures.is_empty(), "Docker did not remove {}", failures.join(", "));
    Ok(())
}

async fn remove_containers(docker: &Docker, filter: &Filter) -> anyhow::Result<Vec<String>> {
    let list = ListContainersOptionsBuilder::default().all(true).filters(&filter.query()).build();
    let ids = docker.list_containers(Some(list)).await?.into_iter().filter_map(|container| container.id);
    let removed = ids.map(|id| async move { failure(&id, remove_container(docker, &id).await) });
    Ok(join_all(removed).await.into_iter().flatten().collect())
}

async fn remove_networks(docker: &Docker, filter: &Filter) -> anyhow::Result<Vec<String>> {
    let list = ListNetworksOptionsBuilder::default().filters(&filter.query()).build();
    let names = docker.list_networks(Some(list)).await?.into_iter().filter_map(|network| network.name);
    let removed = names.map(|name| async move { failure(&name, docker.remove_network(&name).await) });
    Ok(join_all(removed).await.into_iter().flatten().collect())
}

async fn remove_volumes(docker: &Docker, filter: &Filter) -> anyhow::Result<Vec<String>> {
    let list = ListVolumesOptionsBuilder::default().filters(&filter.query()).build();
    let names = docker.list_volumes(Some(list)).await?.volumes.unwrap_or_default().into_iter().map(|v| v.name);
    let removed = names.map(|name| async move {
        let options = RemoveVolumeOptionsBuilder::default().force(true).build();
        failure(&name, docker.remove_volume(&name, Some(options)).await)
    });
    Ok(join_all(removed).await.into_iter().flatten().collect())
}

/// Removes a container with its anonymous volumes, running or not, there or not.
pub async fn remove_container(docker: &Docker, id: &str) -> Result<(), DockerError> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    match docker.remove_container(id, Some(options)).await {
        Err(error) if !is_gone(&error) => Err(error),
        _ => Ok(()),
    }
}

fn failure(what: &str, result: Result<(), DockerError>) -> Option<String> {
    result.err().filter(|e| !is_gone(e)).map(|error| format!("{what} ({error})"))
}

/// Whether the daemon does not have it, or is about to have removed it.
fn is_gone(error: &DockerError) -> bool {
    matches!(error, DockerError::DockerResponseServerError { status_code: 404, .. })
        || matches!(error, DockerError::DockerResponseServerError { status_code: 409, message }
            if message.contains("already in progress"))
}
