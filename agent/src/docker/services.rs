//! Services: which containers run beside the job, under which names, and whether they answer (protocol §4.7).

use crate::docker::config::{Role, Spec, body, entrypoint};
use crate::docker::container::Container;
use crate::docker::dind;
use crate::docker::labels::service_suffix;
use crate::docker::network::Network;
use crate::docker::pull::Image;
use crate::docker::sandbox::Sandbox;
use crate::docker::service_log::Followers;
use crate::docker::volumes::slug;
use crate::fault::Fault;
use crate::log::Log;
use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};
use warmstart_api::settings::Docker;
use warmstart_gitlab::sections::{RESET, YELLOW};

/// Most ports of a service that are tried.
const PORTS: usize = 20;

/// Bytes of a service's output in a warning.
const OUTPUT: usize = 64 * 1024;

/// A service as the job or the settings ask for it, everything expanded.
#[derive(Clone, Debug, Default)]
pub struct Definition {
    /// The image.
    pub name: String,
    /// Names given to it, besides those that its image's name gives.
    pub aliases: Vec<String>,
    /// Empty keeps the image's.
    pub entrypoint: Vec<String>,
    /// Empty keeps the image's.
    pub command: Vec<String>,
    /// `KEY=value`.
    pub env: Vec<String>,
    /// What the job asks for.
    pub pull_policy: Vec<String>,
    /// `linux/arm64`; empty for the machine's own.
    pub platform: String,
    /// Empty keeps the image's.
    pub user: String,
}

/// A service's name, taken apart: `host:port/path:tag@digest`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Name {
    /// Without port, tag and digest.
    pub service: String,
    /// The tag, else the digest, else `latest`.
    pub version: String,
}

impl Name {
    /// Takes a name apart.
    pub fn parse(image: &str) -> Result<Self, Fault> {
        let (reference, digest) = image.split_once('@').map_or((image, None), |(r, d)| (r, Some(d)));
        let (path, tag) = match reference.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (reference, None),
        };
        let service = match path.split_once('/') {
            Some((host, rest)) => format!("{}/{rest}", host.split(':').next().unwrap_or(host)),
            None => path.to_owned(),
        };
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
        if service.is_empty() || !service.chars().all(valid) {
            return Err(Fault::Configuration(format!("invalid service name \"{image}\"")));
        }
        let version = tag.map(str::to_owned).or_else(|| digest.map(|d| format!("@{d}")));
        Ok(Self { service, version: version.unwrap_or_else(|| "latest".to_owned()) })
    }

    /// The names that a service has without being given any.
    #[must_use]
    pub fn aliases(&self) -> Vec<String> {
        let mut aliases = vec![slug(&self.service)];
        let dashed = self.service.replace('/', "-");
        if dashed != aliases[0] {
            aliases.push(dashed);
        }
        aliases
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let glue = if self.version.starts_with('@') { "" } else { ":" };
        write!(f, "{}{glue}{}", self.service, self.version)
    }
}

/// The names left for a service, and those that an earlier one has already.
pub(crate) fn free_aliases(name: &Name, given: &[String], taken: &mut HashSet<String>) -> (Vec<String>, Vec<String>) {
    let mut own = HashSet::new();
    let wanted = name.aliases().into_iter().chain(given.iter().cloned()).filter(|alias| own.insert(alias.clone()));
    let (free, refused): (Vec<_>, Vec<_>) = wanted.partition(|alias| !taken.contains(alias));
    taken.extend(free.iter().cloned());
    (free, refused)
}

/// Splits the names that a job gives to a service.
#[must_use]
pub fn split_aliases(text: &str) -> Vec<String> {
    text.split([' ', ',', '\t', '\n']).filter(|alias| !alias.is_empty()).map(str::to_owned).collect()
}

/// The ports to try: one that the job names, else those of the image, sorted.
#[must_use]
pub fn ports(exposed: &[String], named: &str) -> Vec<u16> {
    if let Ok(port) = named.trim().parse() {
        return vec![port];
    }
    let tcp = |port: &String| port.strip_suffix("/tcp").unwrap_or(port).parse().ok();
    let mut ports: Vec<u16> = exposed.iter().filter_map(tcp).collect();
    ports.sort_unstable();
    ports.truncate(PORTS);
    ports
}

/// A service that was started.
#[derive(Clone, Debug)]
pub struct Service {
    /// The image as asked for.
    pub image: String,
    /// All its names.
    pub aliases: Vec<String>,
    /// Its addresses in the job's network.
    pub addresses: Vec<IpAddr>,
    ports: Vec<u16>,
    container: Container,
}

/// What starting a service needs besides its definition.
pub struct Starter<'a> {
    /// The job's corner of Docker.
    pub sandbox: &'a Sandbox,
    /// Settings of the runner.
    pub docker: &'a Docker,
    /// The job's network.
    pub network: &'a Network,
    /// Mounted into services, too.
    pub binds: &'a [String],
    /// `HEALTHCHECK_TCP_PORT` of the job.
    pub health_port: &'a str,
}

impl Starter<'_> {
    /// Makes and starts one service.
    pub async fn start(&self, definition: &Definition, image: Image, at: Place) -> Result<Service, Fault> {
        let Place { name, aliases, index } = at;
        let spec = Spec {
            role: Role::Service,
            name: definition.name.clone(),
            image: image.reference,
            cmd: (!definition.command.is_empty()).then(|| definition.command.clone()),
            entrypoint: entrypoint(&definition.entrypoint, self.docker),
            env: definition.env.clone(),
            user: definition.user.clone(),
            binds: self.binds.to_vec(),
            network_mode: self.network.mode().to_owned(),
            aliases: self.network.aliases(&aliases),
            labels: self.sandbox.identity.service_labels(&name.service, &name.version),
            ..Spec::default()
        };
        let suffix = service_suffix(&name.service, index);
        let mut body = body(spec, self.docker)?;
        let start = dind::Start::of(&definition.name, &body, &self.sandbox.docker, &self.docker.dind_services).await?;
        start.change(&mut body);
        let id = self.sandbox.create(&suffix, body, &definition.platform).await?;
        let container = Container { docker: self.sandbox.docker.clone(), id };
        start.furnish(&container).await;
        container.start().await?;
        let addresses = self.addresses(&container).await?;
        let aliases = aliases.into_iter().chain(container.id.get(..12).map(str::to_owned)).collect();
        let own_port = definition.env.iter().rev().find_map(|entry| entry.strip_prefix("HEALTHCHECK_TCP_PORT="));
        let ports = ports(&image.ports, own_port.unwrap_or(self.health_port));
        Ok(Service { image: definition.name.clone(), aliases, addresses, ports, container })
    }

    async fn addresses(&self, container: &Container) -> Result<Vec<IpAddr>, Fault> {
        if self.network.mode() == "host" {
            return Ok(vec![IpAddr::from([127, 0, 0, 1])]);
        }
        let seen = container.docker.inspect_container(&container.id, None).await;
        let seen = seen.map_err(|e| Fault::docker("cannot inspect service", e))?;
        let networks = seen.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let texts = networks.into_values().flat_map(|endpoint| [endpoint.ip_address, endpoint.global_ipv6_address]);
        Ok(texts.flatten().filter_map(|text| text.parse().ok()).collect())
    }
}

/// What tells one service of a job from the others.
#[derive(Debug)]
pub struct Place {
    /// Its name.
    pub name: Name,
    /// Its aliases.
    pub aliases: Vec<String>,
    /// Its number.
    pub index: usize,
}

/// Waits until every service answers on a port, at most for `limit`. One that does not is warned about in the log,
/// and never fails the job.
pub async fn wait_for(services: &[Service], limit: Duration, log: &Log) {
    if services.is_empty() || limit.is_zero() {
        return;
    }
    let seconds = limit.as_secs();
    log.print(&format!("Waiting for services to be up and running (timeout {seconds} seconds)..."));
    let until = Instant::now() + limit;
    let mut checks = Vec::with_capacity(services.len());
    for service in services {
        checks.push(service.check(until, log));
    }
    futures_util::future::join_all(checks).await;
}

impl Service {
    /// Copies its output into the job's log, with all of its names but Docker's own before each line.
    pub fn follow(&self, followers: &Followers, log: &Log) {
        let names = self.aliases.iter().map(String::as_str).filter(|name| !self.container.id.starts_with(name));
        let names: Vec<&str> = names.collect();
        followers.follow(&self.container, &names.join("-"), log);
    }

    async fn check(&self, until: Instant, log: &Log) {
        if let Err(reason) = self.answers(until).await {
            let output = self.container.last_output(OUTPUT).await;
            log.complain(&warning(&self.image, &reason, &output));
        }
    }

    async fn answers(&self, until: Instant) -> Result<(), String> {
        if self.ports.is_empty() {
            return Err("service exposes no TCP port: nothing to check".to_owned());
        }
        loop {
            for attempt in self.places() {
                // A port that drops packets must not keep the others waiting.
                let limit = until.min(Instant::now() + Duration::from_secs(2));
                if let Ok(Ok(_)) = timeout_at(limit, TcpStream::connect(attempt)).await {
                    return Ok(());
                }
            }
            if let Some(code) = self.exit_code().await {
                return Err(format!("service ended with exit code {code}"));
            }
            if Instant::now() >= until {
                return Err(format!("service answered on none of its ports {:?} in time", self.ports));
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    fn places(&self) -> Vec<(IpAddr, u16)> {
        let on = |address: IpAddr| self.ports.iter().map(move |port| (address, *port));
        self.addresses.iter().copied().flat_map(on).collect()
    }

    async fn exit_code(&self) -> Option<i64> {
        let state = self.container.docker.inspect_container(&self.container.id, None).await.ok()?.state?;
        (state.running == Some(false)).then(|| state.exit_code.unwrap_or(-1))
    }
}

fn warning(image: &str, reason: &str, output: &str) -> String {
    format!(
        "\n{YELLOW}*** WARNING:{RESET} Service {image} probably didn't start properly.\n\n\
         Health check error:\n{reason}\n\nService container logs:\n{output}\n\n{YELLOW}*********{RESET}\n\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aliases(image: &str) -> Vec<String> {
        Name::parse(image).expect("a valid name").aliases()
    }

    #[test]
    fn a_services_names_are_those_of_the_protocols_examples() {
        assert_eq!(aliases("mysql:8"), ["mysql"]);
        assert_eq!(aliases("tutum/wordpress:latest"), ["tutum__wordpress", "tutum-wordpress"]);
        assert_eq!(
            aliases("registry.example.com:4999/group/db:1"),
            ["registry.example.com__group__db", "registry.example.com-group-db"]
        );
        let name = Name::parse("a/b@sha256:00").expect("a valid name");
        assert_eq!((name.service.as_str(), name.to_string().as_str()), ("a/b", "a/b@sha256:00"));
        assert_eq!(Name::parse("mysql").expect("a valid name").to_string(), "mysql:latest");
        assert!(Name::parse("").is_err() && Name::parse("a b").is_err());
    }

    #[test]
    fn an_alias_belongs_to_the_first_service_that_has_it() {
        let mut taken = HashSet::new();
        let name = Name::parse("redis:7").expect("a valid name");
        let first = free_aliases(&name, &["cache".to_owned()], &mut taken);
        assert_eq!(first, (vec!["redis".to_owned(), "cache".to_owned()], vec![]));
        let second = free_aliases(&name, &["two".to_owned()], &mut taken);
        assert_eq!(second, (vec!["two".to_owned()], vec!["redis".to_owned()]));
    }

    #[test]
    fn exposed_tcp_ports_are_tried_in_order_unless_the_job_names_one() {
        let exposed = ["8080/tcp", "53/udp", "80/tcp"].map(str::to_owned);
        assert_eq!(ports(&exposed, ""), [80, 8080]);
        assert_eq!(ports(&exposed, "99"), [99]);
        assert_eq!(split_aliases("a, b c"), ["a", "b", "c"]);
    }
}
