//! From settings to what Docker is told about a container: pure (protocol §4.6).

mod host;
mod values;

use crate::fault::Fault;
use bollard::models::ContainerCreateBody;
use std::collections::HashMap;
use warmstart_api::settings::Docker;

/// What a container is for. The settings of services are others.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Role {
    /// The user's scripts.
    #[default]
    Build,
    /// Git.
    Helper,
    /// What the job needs beside it.
    Service,
}

/// What is particular to one container.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// What it is for.
    pub role: Role,
    /// The image's name, as lists of allowed images have it.
    pub name: String,
    /// The image's id or digest.
    pub image: String,
    /// `None` keeps the image's.
    pub cmd: Option<Vec<String>>,
    /// `None` keeps the image's.
    pub entrypoint: Option<Vec<String>>,
    /// `KEY=value`.
    pub env: Vec<String>,
    /// Empty keeps the image's.
    pub user: String,
    /// Empty lets Docker choose.
    pub hostname: String,
    /// Docker's `Binds`.
    pub binds: Vec<String>,
    /// Directories in memory, with their options.
    pub tmpfs: HashMap<String, String>,
    /// Added to those of the settings.
    pub extra_hosts: Vec<String>,
    /// `bridge`, `host`, a network's name, …
    pub network_mode: String,
    /// Names in that network, where it has names.
    pub aliases: Vec<String>,
    /// Labels.
    pub labels: HashMap<String, String>,
    /// Whether a shell reads its script from standard input.
    pub stdin: bool,
}

/// Composes a container of a job: the settings' limits and names around its own [`Spec`].
pub fn body(spec: Spec, docker: &Docker) -> Result<ContainerCreateBody, Fault> {
    let host_config = host::compose(&spec, docker)?;
    let networked = !spec.aliases.is_empty();
    let endpoint = bollard::models::EndpointSettings { aliases: Some(spec.aliases), ..Default::default() };
    let networking =
        bollard::models::NetworkingConfig { endpoints_config: Some(HashMap::from([(spec.network_mode, endpoint)])) };
    Ok(ContainerCreateBody {
        image: Some(spec.image),
        cmd: spec.cmd,
        entrypoint: spec.entrypoint,
        env: Some(spec.env),
        user: some(&spec.user),
        hostname: some(&spec.hostname),
        labels: Some(spec.labels),
        attach_stdin: Some(spec.stdin),
        attach_stdout: Some(spec.stdin),
        attach_stderr: Some(spec.stdin),
        open_stdin: Some(spec.stdin),
        stdin_once: Some(spec.stdin),
        tty: Some(false),
        host_config: Some(host_config),
        networking_config: networked.then_some(networking),
        ..Default::default()
    })
}

/// The entrypoint that a job asks for, where it may; `None` keeps the image's.
#[must_use]
pub fn entrypoint(wanted: &[String], docker: &Docker) -> Option<Vec<String>> {
    (!wanted.is_empty() && !docker.disable_entrypoint_overwrite).then(|| wanted.to_vec())
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
