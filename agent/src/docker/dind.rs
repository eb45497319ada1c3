//! Docker-in-docker that answers at once: what the entrypoint of the official `docker:dind` images would make or wait
//! for, given to the service before it starts.
//!
//! With `DOCKER_TLS_CERTDIR` that entrypoint makes three RSA keys of 4096 bits, which takes a core for seconds; keys that
//! are there it keeps, and it makes all certificates itself. Without, the daemon waits for 15 s before it listens, unless
//! it is told that no TLS is meant (docker-library/docker `dockerd-entrypoint.sh`, moby `loadListeners`).

use crate::docker::allow;
use crate::docker::container::Container;
use crate::fault::Fault;
use anyhow::Result;
use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::models::{ContainerCreateBody, ImageConfig};
use bollard::query_parameters::{ContainerArchiveInfoOptionsBuilder, UploadToContainerOptionsBuilder};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};

/// What starts the daemon in the official images.
const ENTRYPOINT: &str = "dockerd-entrypoint.sh";

/// The directories that get a key, and its mode: the client's is for every user of the job's containers.
const KEYS: [(&str, u32); 3] = [("ca", 0o600), ("server", 0o600), ("client", 0o644)];

/// How a service is started.
#[derive(Debug, Eq, PartialEq)]
pub enum Start {
    /// As image and job say.
    AsIs,
    /// With keys below this directory.
    WithKeys(String),
    /// With this command, which says that no TLS is meant.
    WithoutTls(Vec<String>),
}

impl Start {
    /// Decides by the image's name, what Docker is told about the container, and the image.
    pub async fn of(name: &str, body: &ContainerCreateBody, docker: &Docker, globs: &[String]) -> Result<Self, Fault> {
        let privileged = body.host_config.as_ref().and_then(|host| host.privileged) == Some(true);
        let Some(image) = body.image.as_deref().filter(|_| privileged) else { return Ok(Self::AsIs) };
        if !allow::matches(globs, name)? {
            return Ok(Self::AsIs);
        }
        let seen = docker.inspect_image(image).await;
        let seen = seen.inspect_err(|error| tracing::warn!("cannot inspect docker-in-docker image {name}: {error}"));
        Ok(seen.ok().and_then(|seen| seen.config).map_or(Self::AsIs, |config| choose(body, &config)))
    }

    /// Changes the container that is to be made.
    pub fn change(&self, body: &mut ContainerCreateBody) {
        if let Self::WithoutTls(command) = self {
            body.cmd = Some(command.clone());
        }
    }

    /// Puts the keys into the container that has not started. Without them it starts all the same, only later.
    pub async fn furnish(&self, container: &Container) {
        let Self::WithKeys(directory) = self else { return };
        if let Err(error) = put_keys(container, directory).await {
            tracing::warn!("cannot put keys into the docker-in-docker service: {error:#}");
        }
    }
}

/// Only where the entrypoint is known, would start a daemon as root, and was not told how.
fn choose(body: &ContainerCreateBody, image: &ImageConfig) -> Start {
    let arguments = body.cmd.as_ref().or(image.cmd.as_ref()).cloned().unwrap_or_default();
    let user = body.user.as_ref().or(image.user.as_ref()).map_or("", String::as_str);
    let entrypoint = body.entrypoint.as_ref().or(image.entrypoint.as_ref());
    let known = matches!(entrypoint.map(Vec::as_slice), Some([only]) if only.rsplit('/').next() == Some(ENTRYPOINT));
    let only_options = arguments.first().is_none_or(|first| first.starts_with('-'));
    if !known || !only_options || !is_root(user) {
        return Start::AsIs;
    }
    let directory = [&body.env, &image.env].into_iter().flatten().find_map(|env| variable("DOCKER_TLS_CERTDIR", env));
    match directory {
        Some(directory) if directory.starts_with('/') => Start::WithKeys(directory.to_owned()),
        None | Some("") if !arguments.iter().any(|argument| argument.starts_with("--tls")) => {
            Start::WithoutTls([arguments, vec!["--tls=false".to_owned()]].concat())
        }
        _ => Start::AsIs,
    }
}

fn is_root(user: &str) -> bool {
    matches!(user.split(':').next(), None | Some("" | "0" | "root"))
}

/// A variable's value in `KEY=value` entries, of which the last one counts.
fn variable<'a>(key: &str, entries: &'a [String]) -> Option<&'a str> {
    entries.iter().rev().find_map(|entry| entry.strip_prefix(key)?.strip_prefix('='))
}

/// Puts a new key for everything that needs one. Where there is a CA or a server's certificate already, somebody else
/// takes care of them.
async fn put_keys(container: &Container, directory: &str) -> Result<()> {
    for part in ["ca", "server"] {
        if has(container, &format!("{directory}/{part}")).await? {
            return Ok(());
        }
    }
    let options = UploadToContainerOptionsBuilder::default().path("/").build();
    let keys = bollard::body_full(keys(directory)?.into());
    Ok(container.docker.upload_to_container(&container.id, Some(options), keys).await?)
}

/// Whether the container has a file or a directory there, its volumes included.
async fn has(container: &Container, path: &str) -> Result<bool> {
    let options = ContainerArchiveInfoOptionsBuilder::default().path(path).build();
    match container.docker.get_container_archive_info(&container.id, Some(options)).await {
        Ok(_) => Ok(true),
        Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// New keys in an archive. Elliptic ones are made in no time.
fn keys(directory: &str) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (part, mode) in KEYS {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?.serialize_pem();
        let mut header = tar::Header::new_gnu();
        header.set_size(key.len() as u64);
        header.set_mode(mode);
        let path = format!("{}/{part}/key.pem", directory.trim_matches('/'));
        archive.append_data(&mut header, path, key.as_bytes())?;
    }
    Ok(archive.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    fn official() -> ImageConfig {
        ImageConfig {
            entrypoint: Some(texts(&["dockerd-entrypoint.sh"])),
            env: Some(texts(&["PATH=/bin", "DOCKER_TLS_CERTDIR=/certs"])),
            ..ImageConfig::default()
        }
    }

    fn started(env: &[&str], command: &[&str]) -> Start {
        let cmd = (!command.is_empty()).then(|| texts(command));
        choose(&ContainerCreateBody { env: Some(texts(env)), cmd, ..ContainerCreateBody::default() }, &official())
    }

    #[test]
    fn the_services_own_directory_of_certificates_wins_over_the_images() {
        assert_eq!(started(&[], &[]), Start::WithKeys("/certs".into()));
        let twice = ["DOCKER_TLS_CERTDIR=/a", "DOCKER_TLS_CERTDIR=/b"];
        assert_eq!(started(&twice, &["--mtu=1400"]), Start::WithKeys("/b".into()));
        assert_eq!(started(&["DOCKER_TLS_CERTDIR=relative"], &[]), Start::AsIs);
    }

    #[test]
    fn without_certificates_the_daemon_is_told_so_unless_the_job_says_it() {
        let off = ["DOCKER_TLS_CERTDIR="];
        assert_eq!(started(&off, &[]), Start::WithoutTls(texts(&["--tls=false"])));
        assert_eq!(started(&off, &["--mtu=1400"]), Start::WithoutTls(texts(&["--mtu=1400", "--tls=false"])));
        assert_eq!(started(&off, &["--tlsverify=false"]), Start::AsIs);
    }

    #[test]
    fn what_starts_anything_else_is_left_alone() {
        assert_eq!(started(&[], &["dockerd", "--host=tcp://0.0.0.0:2375"]), Start::AsIs);
        let asked = ContainerCreateBody { entrypoint: Some(texts(&["sh"])), ..ContainerCreateBody::default() };
        assert_eq!(choose(&asked, &official()), Start::AsIs);
        let plain = ContainerCreateBody::default();
        assert_eq!(choose(&plain, &ImageConfig { user: Some("rootless".into()), ..official() }), Start::AsIs);
        let other = ImageConfig { entrypoint: Some(texts(&["start.sh"])), ..official() };
        assert_eq!(choose(&plain, &other), Start::AsIs);
    }

    #[test]
    fn official_images_are_known_by_their_name_wherever_they_come_from() {
        let globs = warmstart_api::settings::Docker::default().dind_services;
        let known = |name: &str| allow::matches(&globs, name).expect("valid globs");
        let official =
            ["docker:dind", "docker:29.1-dind", "docker.io/library/docker:27-dind", "r.test:5000/a/docker:dind"];
        assert!(official.into_iter().all(known));
        assert!(!["docker:27", "docker", "my-docker:dind", "docker/dind:1"].into_iter().any(known));
        assert!(!allow::matches(&[], "docker:dind").expect("valid globs"));
    }
}
