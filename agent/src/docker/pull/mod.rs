//! Getting images: attempts and what they say (protocol §4.2, §4.3).

mod classify;
mod policy;
mod pulls;
mod voice;

pub use policy::{Asked, Policy, policies};
pub use pulls::{Pulls, Turn};

use crate::docker::auth::{Found, Logins};
use crate::fault::{Fault, causes};
use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::errors::Error as DockerError;
use bollard::models::ImageInspect;
use bollard::query_parameters::CreateImageOptionsBuilder;
use classify::classify;
use futures_util::TryStreamExt;
use std::time::Duration;
use tokio::time::sleep;
use voice::Voice;
use warmstart_gitlab::sections::Level;

/// An image that is on this machine now.
#[derive(Clone, Debug)]
pub struct Image {
    /// What to create containers from: the digest it was pulled by, else the id.
    pub reference: String,
    /// `sha256:…`.
    pub id: String,
    /// Ports that it exposes, `80/tcp`.
    pub ports: Vec<String>,
    /// Whether it has an entrypoint.
    pub entrypoint: bool,
}

/// Gets one image for a job.
#[derive(Debug)]
struct Puller {
    docker: Docker,
    voice: Voice,
    logins: Logins,
    /// The image as the job or the settings call it.
    name: String,
    /// `linux/arm64`; empty for the machine's own.
    platform: String,
}

impl Puller {
    /// Gets the image by the first of the policies that can, telling each step.
    async fn get(&self, policies: &[Policy]) -> Result<Image, Fault> {
        let mut last = None;
        for (index, policy) in policies.iter().enumerate() {
            if index > 0 {
                self.voice.say(Level::Info, format!("Attempt #{}: Trying \"{policy}\" pull policy", index + 1));
            }
            match self.by(*policy).await {
                Ok(found) => return Ok(self.tell(found)),
                Err(fault) => {
                    let text = format!("Failed to pull image with policy \"{policy}\": {fault}");
                    self.voice.say(Level::Warning, text);
                    last = Some(fault);
                }
            }
        }
        Err(failed(&self.name, policies, last.as_ref()))
    }

    async fn by(&self, policy: Policy) -> Result<ImageInspect, Fault> {
        if policy == Policy::Always && !self.name.starts_with("sha256:") {
            return self.pull().await;
        }
        match self.docker.inspect_image(&self.name).await {
            Ok(found) => {
                if policy == Policy::IfNotPresent {
                    let text = format!("Using locally found image version due to \"{policy}\" pull policy");
                    self.voice.say(Level::Print, text);
                }
                Ok(found)
            }
            Err(DockerError::DockerResponseServerError { status_code: 404, .. }) if policy == Policy::IfNotPresent => {
                self.pull().await
            }
            Err(error) => Err(classify(&causes(&error))),
        }
    }

    /// Pulls; a network that is away for a moment gets two more attempts.
    async fn pull(&self) -> Result<ImageInspect, Fault> {
        let Found { login, troubles } = self.logins.find(&self.name).await?;
        for trouble in troubles {
            self.voice.say(Level::Warning, trouble);
        }
        if let Some(login) = &login {
            self.voice.say(Level::Print, format!("Authenticating with credentials from {}", login.source));
        }
        let platform = if self.platform.is_empty() { "" } else { &format!(" for platform {}", self.platform) };
        self.voice.say(Level::Print, format!("Pulling docker image {}{platform} ...", self.name));
        let (source, credentials) = login.map(|login| (login.source, login.credentials)).unzip();
        let pulled = self.pull_patiently(credentials.as_ref()).await;
        pulled.map_err(|fault| with_source(fault, source.as_deref()))
    }

    async fn pull_patiently(&self, credentials: Option<&DockerCredentials>) -> Result<ImageInspect, Fault> {
        for (attempt, seconds) in [(1, 2.0), (2, 6.0)] {
            match self.pull_once(credentials.cloned()).await {
                Err(fault @ Fault::Dependency(_)) => {
                    let name = &self.name;
                    let text = format!("Failed to pull image \"{name}\" (attempt #{attempt}), retrying: {fault}");
                    self.voice.say(Level::Warning, text);
                    sleep(Duration::from_secs_f64(seconds * rand::random_range(0.8..1.2))).await;
                }
                result => return result,
            }
        }
        self.pull_once(credentials.cloned()).await
    }

    async fn pull_once(&self, credentials: Option<DockerCredentials>) -> Result<ImageInspect, Fault> {
        let reference = with_tag(&self.name);
        let options = CreateImageOptionsBuilder::default().from_image(&reference).platform(&self.platform).build();
        let progress = self.docker.create_image(Some(options), None, credentials);
        let pulled: Result<(), DockerError> = progress.try_for_each(|_| async { Ok(()) }).await;
        pulled.map_err(|e| classify(&causes(&e)))?;
        self.docker.inspect_image(&reference).await.map_err(|e| classify(&causes(&e)))
    }

    fn tell(&self, found: ImageInspect) -> Image {
        let (id, name) = (found.id.unwrap_or_default(), &self.name);
        let digest = found.repo_digests.unwrap_or_default().into_iter().next();
        let text = match &digest {
            Some(digest) => format!("Using docker image {id} for {name} with digest {digest} ..."),
            None => format!("Using docker image {id} for {name} ..."),
        };
        if *name != id {
            self.voice.say(Level::Print, text);
        }
        let config = found.config.unwrap_or_default();
        let (ports, entrypoint) = (config.exposed_ports.unwrap_or_default(), config.entrypoint.unwrap_or_default());
        let entrypoint = entrypoint.iter().any(|word| !word.is_empty());
        Image { reference: digest.unwrap_or_else(|| id.clone()), id, ports, entrypoint }
    }
}

/// `[a b]`, as GitLab Runner prints lists.
fn bracketed(names: &[impl ToString]) -> String {
    format!("[{}]", names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

/// The fault with where the credentials came from: the first thing to look at when a registry says no.
fn with_source(fault: Fault, source: Option<&str>) -> Fault {
    let text = match (source, &fault) {
        (Some(source), _) => format!("{fault} (with credentials from {source})"),
        (None, Fault::Dependency(_)) => return fault,
        (None, _) => format!("{fault} (without credentials)"),
    };
    like(&fault, text)
}

fn failed(name: &str, policies: &[Policy], last: Option<&Fault>) -> Fault {
    let Some(last) = last else {
        return Fault::Configuration(format!("failed to pull image \"{name}\": no pull policy"));
    };
    let policies = bracketed(policies);
    like(last, format!("failed to pull image \"{name}\" with specified policies {policies}: {last}"))
}

/// A fault of the same kind, in other words.
fn like(fault: &Fault, text: String) -> Fault {
    match fault {
        Fault::Configuration(_) => Fault::Configuration(text),
        Fault::Dependency(_) => Fault::Dependency(text),
        _ => Fault::ImagePull(text),
    }
}

/// The reference to pull: with neither tag nor digest, `latest`.
#[must_use]
pub fn with_tag(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains(':') || last.contains('@') { name.to_owned() } else { format!("{name}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_without_tag_or_digest_means_latest() {
        assert_eq!(with_tag("alpine"), "alpine:latest");
        assert_eq!(with_tag("localhost:5000/a/b"), "localhost:5000/a/b:latest");
        assert_eq!(with_tag("a/b:1"), "a/b:1");
        assert_eq!(with_tag("a@sha256:00"), "a@sha256:00");
    }

    #[test]
    fn a_fault_keeps_its_kind_and_names_the_image_and_where_the_credentials_came_from() {
        let fault = with_source(Fault::Configuration("unauthorized".to_owned()), Some("$DOCKER_AUTH_CONFIG"));
        let fault = failed("reg.test/a:1", &[Policy::Always], Some(&fault));
        assert!(matches!(fault, Fault::Configuration(_)));
        assert_eq!(
            fault.to_string(),
            "failed to pull image \"reg.test/a:1\" with specified policies [always]: unauthorized (with credentials \
             from $DOCKER_AUTH_CONFIG)"
        );
        let denied = with_source(Fault::Configuration("denied".to_owned()), None);
        assert_eq!(denied.to_string(), "denied (without credentials)");
        let limited = with_source(Fault::ImagePull("toomanyrequests".to_owned()), None);
        assert_eq!(limited.to_string(), "toomanyrequests (without credentials)");
        let away = with_source(Fault::Dependency("refused".to_owned()), None);
        assert_eq!((away.to_string().as_str(), matches!(away, Fault::Dependency(_))), ("refused", true));
    }
}
