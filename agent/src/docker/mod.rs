//! The local Docker daemon: images, containers, networks and volumes of jobs (protocol §4).

pub mod allow;
pub mod attach;
pub mod auth;
pub mod build;
pub mod config;
pub mod container;
pub mod dind;
pub mod helper;
pub mod labels;
pub mod network;
pub mod pull;
pub mod rootfs;
pub mod sandbox;
pub mod service_log;
pub mod services;
pub mod view;
pub mod volumes;
pub mod workplace;

use anyhow::{Context, Result, bail};
use bollard::Docker;
use std::time::Duration;

/// How long the daemon may take to begin an answer: a pull answers only once the registry has.
const ANSWER: Duration = Duration::from_mins(10);

/// Connects to the machine's own daemon, or says in one line why that is not possible.
///
/// A remote daemon is refused: it would not see the directory of the builds.
pub async fn connect() -> Result<Docker> {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let socket = match host.strip_prefix("unix://") {
        Some(path) => path.to_owned(),
        None if host.is_empty() => "/var/run/docker.sock".to_owned(),
        None => {
            bail!("cannot use the Docker daemon at {host}: only a daemon on this machine (unix://) sees the builds")
        }
    };
    reachable(&socket).await?;
    let docker = Docker::connect_with_unix(&socket, ANSWER.as_secs(), bollard::API_DEFAULT_VERSION)
        .with_context(|| format!("cannot connect to Docker at {socket}"))?;
    let docker = docker.negotiate_version().await.with_context(|| format!("cannot talk to Docker at {socket}"))?;
    let info = docker.info().await.with_context(|| format!("cannot ask Docker at {socket} about itself"))?;
    match info.os_type.as_deref() {
        None | Some("linux") => Ok(docker),
        Some(other) => bail!("cannot run jobs with Docker at {socket}: it runs {other} containers, not linux ones"),
    }
}

/// Tells the usual troubles with the socket apart, in words.
async fn reachable(socket: &str) -> Result<()> {
    use std::io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
    let Err(error) = tokio::net::UnixStream::connect(socket).await else { return Ok(()) };
    let advice = match error.kind() {
        NotFound => "is Docker installed and started?",
        ConnectionRefused => "the Docker daemon does not run",
        PermissionDenied => "run as root, or as a member of the group `docker`",
        _ => "see `docker info`",
    };
    bail!("cannot connect to Docker at {socket}: {error}; {advice}")
}
