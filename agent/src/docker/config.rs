//! From settings to what Docker is told about a container: pure (protocol §4.6).

use crate::fault::Fault;
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, RestartPolicy, RestartPolicyNameEnum};
use std::collections::HashMap;
use warmstart_api::settings::Docker;

/// What is particular to one container.
#[derive(Debug, Default)]
pub struct Spec {
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
    let host_config = host(&spec, docker)?;
    let networked = !spec.aliases.is_empty();
    let endpoint = bollard::models::EndpointSettings { aliases: Some(spec.aliases), ..Default::default() };
    let networking =
        bollard::models::NetworkingConfig { endpoints_config: Some(HashMap::from([(spec.network_mode, endpoint)])) };
    Ok(ContainerCreateBody {
        image: Some(spec.image),
        cmd: spec.cmd,
        entrypoint: spec.entrypoint,
        env: Some(spec.env),
        user: some(spec.user),
        hostname: some(spec.hostname),
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

fn host(spec: &Spec, docker: &Docker) -> Result<HostConfig, Fault> {
    Ok(HostConfig {
        binds: Some(spec.binds.clone()),
        tmpfs: (!spec.tmpfs.is_empty()).then(|| spec.tmpfs.clone()),
        network_mode: some(spec.network_mode.clone()),
        extra_hosts: list(docker.extra_hosts.iter().chain(&spec.extra_hosts)),
        dns: list(&docker.dns),
        dns_search: list(&docker.dns_search),
        memory: bytes("memory", &docker.memory)?,
        nano_cpus: nano_cpus(&docker.cpus)?,
        shm_size: (docker.shm_size > 0).then_some(docker.shm_size),
        privileged: Some(docker.privileged),
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        log_config: Some(HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(log_options()) }),
        ..Default::default()
    })
}

/// The output is in GitLab's log; what Docker keeps of it besides must not fill the disk.
fn log_options() -> HashMap<String, String> {
    HashMap::from([("max-size".to_owned(), "1m".to_owned()), ("max-file".to_owned(), "1".to_owned())])
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn list<'a>(items: impl IntoIterator<Item = &'a String>) -> Option<Vec<String>> {
    let items: Vec<String> = items.into_iter().cloned().collect();
    (!items.is_empty()).then_some(items)
}

/// `512m`, `2g`, `1024`: bytes, with Docker's binary units.
fn bytes(key: &str, text: &str) -> Result<Option<i64>, Fault> {
    let text = text.trim().to_lowercase();
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.trim_end_matches('b');
    let (digits, shift) = match digits.chars().last() {
        Some('k') => (&digits[..digits.len() - 1], 10),
        Some('m') => (&digits[..digits.len() - 1], 20),
        Some('g') => (&digits[..digits.len() - 1], 30),
        _ => (digits, 0),
    };
    let number: Option<i64> = digits.parse().ok().and_then(|n: i64| n.checked_mul(1 << shift));
    number.map(Some).ok_or_else(|| Fault::Configuration(format!("invalid {key} \"{text}\": expected for example 512m")))
}

/// `1.5` or `3/2`, in billionths.
fn nano_cpus(text: &str) -> Result<Option<i64>, Fault> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let number = match text.split_once('/') {
        Some((above, below)) => above.parse::<f64>().ok().zip(below.parse::<f64>().ok()).map(|(a, b)| a / b),
        None => text.parse().ok(),
    };
    #[expect(clippy::cast_possible_truncation, reason = "checked to be a sensible number of CPUs")]
    match number {
        Some(cpus) if cpus > 0.0 && cpus < 1e6 => Ok(Some((cpus * 1e9).round() as i64)),
        _ => Err(Fault::Configuration(format!("invalid cpus \"{text}\": expected for example 1.5"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_dockers_units() {
        let read = |text| bytes("memory", text).ok().flatten();
        assert_eq!(read("512m"), Some(512 << 20));
        assert_eq!(read("2GB"), Some(2 << 30));
        assert_eq!(read("1024"), Some(1024));
        assert_eq!(read(""), None);
        assert!(bytes("memory", "lots").is_err());
        assert!(bytes("memory", "9999999999g").is_err());
    }

    #[test]
    fn cpus_are_decimal_or_a_fraction() {
        assert_eq!(nano_cpus("1.5").ok(), Some(Some(1_500_000_000)));
        assert_eq!(nano_cpus("1/2").ok(), Some(Some(500_000_000)));
        assert!(nano_cpus("1/0").is_err());
        assert!(nano_cpus("-1").is_err());
    }
}
