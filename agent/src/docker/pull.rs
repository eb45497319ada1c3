//! Getting an image: pull policies, attempts and what a failure means (protocol §4.2, §4.3, §1.8).

use crate::docker::auth::Logins;
use crate::fault::{Fault, causes};
use crate::log::Log;
use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::models::ImageInspect;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt;
use std::fmt;
use std::time::Duration;
use tokio::time::sleep;

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Policy {
    /// Always.
    Always,
    /// Only when it is not on this machine.
    IfNotPresent,
    /// Never: it is on this machine, or it is an error.
    Never,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "always",
            Self::IfNotPresent => "if-not-present",
            Self::Never => "never",
        })
    }
}

/// What is asked for: the job's list, else the runner's.
pub struct Asked<'a> {
    /// `pull_policy` of the image in the job.
    pub job: &'a [String],
    /// `pull_policy` of the runner's settings.
    pub runner: &'a [String],
    /// `allowed_pull_policies` of the runner's settings; empty means those of `runner`.
    pub allowed: &'a [String],
}

/// The policies to try, in order: those asked for that are allowed.
pub fn policies(asked: &Asked<'_>) -> Result<Vec<Policy>, Fault> {
    let default = ["always".to_owned()];
    let (wanted, source) = match (asked.job, asked.runner) {
        ([], []) => (&default[..], "Runner config (default)"),
        ([], runner) => (runner, "Runner config"),
        (job, _) => (job, "GitLab pipeline config"),
    };
    let allowed = match (asked.allowed, asked.runner) {
        ([], []) => &default[..],
        ([], runner) => runner,
        (allowed, _) => allowed,
    };
    let names: Vec<&String> = wanted.iter().filter(|name| allowed.contains(name)).collect();
    if names.is_empty() {
        return Err(Fault::Configuration(format!(
            "pull_policy ({}) defined in {source} is not one of the allowed_pull_policies ({})",
            bracketed(wanted),
            bracketed(allowed)
        )));
    }
    names.into_iter().map(|name| policy(name)).collect()
}

fn policy(name: &str) -> Result<Policy, Fault> {
    match name {
        "always" => Ok(Policy::Always),
        "if-not-present" => Ok(Policy::IfNotPresent),
        "never" => Ok(Policy::Never),
        _ => Err(Fault::Configuration(format!("unsupported pull_policy config: \"{name}\""))),
    }
}

/// `[a b]`, as GitLab Runner prints lists.
pub(crate) fn bracketed(names: &[impl ToString]) -> String {
    format!("[{}]", names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

/// An image that is on this machine now.
#[derive(Clone, Debug)]
pub struct Image {
    /// What to create containers from: the digest it was pulled by, else the id.
    pub reference: String,
    /// `sha256:…`.
    pub id: String,
    /// Ports that it exposes, `80/tcp`.
    pub ports: Vec<String>,
}

/// Gets images for one job.
#[derive(Clone, Debug)]
pub struct Puller {
    /// The daemon.
    pub docker: Docker,
    /// The job's log.
    pub log: Log,
    /// Credentials for registries.
    pub logins: Logins,
}

impl Puller {
    /// Gets `name` by the first of the policies that can, telling each step in the log.
    pub async fn get(&self, name: &str, policies: &[Policy], platform: &str) -> Result<Image, Fault> {
        self.log.print(&format!("Using effective pull policy of {} for container {name}", bracketed(policies)));
        let mut last = None;
        for (index, policy) in policies.iter().enumerate() {
            if index > 0 {
                self.log.print(&format!("Attempt #{}: Trying \"{policy}\" pull policy", index + 1));
            }
            match self.by(name, *policy, platform).await {
                Ok(found) => return Ok(self.tell(name, found)),
                Err(fault) => {
                    self.log.warn(&format!("Failed to pull image with policy \"{policy}\": {fault}"));
                    last = Some(fault);
                }
            }
        }
        Err(failed(name, policies, last.as_ref()))
    }

    async fn by(&self, name: &str, policy: Policy, platform: &str) -> Result<ImageInspect, Fault> {
        if policy == Policy::Always && !name.starts_with("sha256:") {
            return self.pull(name, platform).await;
        }
        match self.docker.inspect_image(name).await {
            Ok(found) => {
                self.log.print(&format!("Using locally found image version due to \"{policy}\" pull policy"));
                Ok(found)
            }
            Err(DockerError::DockerResponseServerError { status_code: 404, .. }) if policy == Policy::IfNotPresent => {
                self.pull(name, platform).await
            }
            Err(error) => Err(classify(&causes(&error))),
        }
    }

    /// Pulls; a network that is away for a moment gets two more attempts.
    async fn pull(&self, name: &str, platform: &str) -> Result<ImageInspect, Fault> {
        for seconds in [2.0, 6.0] {
            match self.pull_once(name, platform).await {
                Err(fault @ Fault::Dependency(_)) => {
                    self.log.warn(&format!("Failed to pull image {name}: {fault}; trying again"));
                    sleep(Duration::from_secs_f64(seconds * rand::random_range(0.8..1.2))).await;
                }
                result => return result,
            }
        }
        self.pull_once(name, platform).await
    }

    async fn pull_once(&self, name: &str, platform: &str) -> Result<ImageInspect, Fault> {
        let login = self.logins.find(name).await;
        if let Some(login) = &login {
            self.log.print(&format!("Authenticating with credentials from {}", login.source));
        }
        let reference = with_tag(name);
        self.log.print(&format!("Pulling docker image {reference} ..."));
        let options = CreateImageOptionsBuilder::default().from_image(&reference).platform(platform).build();
        let progress = self.docker.create_image(Some(options), None, login.map(|login| login.credentials));
        let pulled: Result<(), DockerError> = progress.try_for_each(|_| async { Ok(()) }).await;
        pulled.map_err(|e| classify(&causes(&e)))?;
        self.docker.inspect_image(&reference).await.map_err(|e| classify(&causes(&e)))
    }

    fn tell(&self, name: &str, found: ImageInspect) -> Image {
        let id = found.id.unwrap_or_default();
        let digest = found.repo_digests.unwrap_or_default().into_iter().next();
        self.log.print(&match &digest {
            Some(digest) => format!("Using docker image {id} for {name} with digest {digest} ..."),
            None => format!("Using docker image {id} for {name} ..."),
        });
        let ports = found.config.and_then(|config| config.exposed_ports).unwrap_or_default();
        Image { reference: digest.unwrap_or_else(|| id.clone()), id, ports }
    }
}

fn failed(name: &str, policies: &[Policy], last: Option<&Fault>) -> Fault {
    let text = |fault: &Fault| {
        format!("failed to pull image \"{name}\" with specified policies {}: {fault}", bracketed(policies))
    };
    match last {
        Some(fault @ Fault::Configuration(_)) => Fault::Configuration(text(fault)),
        Some(fault @ Fault::Dependency(_)) => Fault::Dependency(text(fault)),
        Some(fault) => Fault::ImagePull(text(fault)),
        None => Fault::Configuration(format!("failed to pull image \"{name}\": no pull policy")),
    }
}

/// What the daemon's words about a pull mean (protocol §1.8).
fn classify(message: &str) -> Fault {
    const NETWORK: [&str; 8] = [
        "dial tcp",
        "connection refused",
        "no such host",
        "i/o timeout",
        "tls handshake",
        "client.timeout exceeded",
        "request canceled",
        "connection reset",
    ];
    const CONFIGURATION: [&str; 9] = [
        "not found",
        "manifest unknown",
        "pull access denied",
        "access to the resource is denied",
        "no basic auth credentials",
        "repository does not exist or may require",
        "unauthorized",
        "authentication required",
        "no such image",
    ];
    let lower = message.to_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|text| lower.contains(text));
    match () {
        () if says(&NETWORK) => Fault::Dependency(message.to_owned()),
        () if says(&CONFIGURATION) => Fault::Configuration(message.to_owned()),
        () => Fault::ImagePull(message.to_owned()),
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

    fn effective(job: &[&str], runner: &[&str], allowed: &[&str]) -> Result<Vec<Policy>, String> {
        let own = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (job, runner, allowed) = (own(job), own(runner), own(allowed));
        policies(&Asked { job: &job, runner: &runner, allowed: &allowed }).map_err(|e| e.to_string())
    }

    #[test]
    fn the_jobs_policies_are_limited_to_the_allowed_ones_in_the_jobs_order() {
        assert_eq!(effective(&[], &[], &[]), Ok(vec![Policy::Always]));
        assert_eq!(effective(&[], &["never"], &[]), Ok(vec![Policy::Never]));
        let both = effective(&["if-not-present", "always", "never"], &[], &["always", "if-not-present"]);
        assert_eq!(both, Ok(vec![Policy::IfNotPresent, Policy::Always]));
        let refused = effective(&["never"], &["always"], &[]);
        let text = "pull_policy ([never]) defined in GitLab pipeline config is not one of the allowed_pull_policies ([always])";
        assert_eq!(refused, Err(text.to_owned()));
    }

    #[test]
    fn pull_errors_are_told_apart_by_their_words() {
        assert!(matches!(classify("Get https://x: dial tcp: lookup x: no such host"), Fault::Dependency(_)));
        assert!(matches!(classify("manifest for x:1 not found: manifest unknown"), Fault::Configuration(_)));
        assert!(matches!(classify("denied: requested access to the resource is denied"), Fault::Configuration(_)));
        assert!(matches!(classify("toomanyrequests: rate limit"), Fault::ImagePull(_)));
    }

    #[test]
    fn a_reference_without_tag_or_digest_means_latest() {
        assert_eq!(with_tag("alpine"), "alpine:latest");
        assert_eq!(with_tag("localhost:5000/a/b"), "localhost:5000/a/b:latest");
        assert_eq!(with_tag("a/b:1"), "a/b:1");
        assert_eq!(with_tag("a@sha256:00"), "a@sha256:00");
    }
}
