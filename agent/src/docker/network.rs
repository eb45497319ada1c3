//! The network of a job's containers, and how they find the services by name (protocol §4.5).

use crate::docker::sandbox::Sandbox;
use crate::fault::Fault;
use std::collections::HashMap;
use std::net::IpAddr;
use warmstart_api::settings::Docker;

/// How containers of a job reach each other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Network {
    /// Docker's default bridge. It has no names: `/etc/hosts` of the build container stands in for them.
    Bridge,
    /// A network that has names: one made for this job, or one of the machine's.
    Named(String),
    /// The host's, none, or another container's: no names and no addresses of its own.
    Other(String),
}

/// What to use.
#[derive(Debug, Eq, PartialEq)]
pub enum Choice {
    /// What is there.
    Existing(Network),
    /// A network to make for this job.
    PerBuild,
}

/// Decides by the runner's `network_mode` and the job's `FF_NETWORK_PER_BUILD`.
#[must_use]
pub fn choose(mode: &str, per_build: bool) -> Choice {
    match mode {
        "" if per_build => Choice::PerBuild,
        "" | "bridge" | "default" => Choice::Existing(Network::Bridge),
        "host" | "none" => Choice::Existing(Network::Other(mode.to_owned())),
        _ if mode.starts_with("container:") => Choice::Existing(Network::Other(mode.to_owned())),
        _ => Choice::Existing(Network::Named(mode.to_owned())),
    }
}

/// Makes the network when it is one of the job's own.
pub async fn prepare(sandbox: &Sandbox, docker: &Docker, per_build: Option<String>) -> Result<Network, Fault> {
    match (choose(&docker.network_mode, per_build.is_some()), per_build) {
        (Choice::PerBuild, Some(name)) => {
            let name = sandbox.create_network(name, options(docker.network_mtu), docker.enable_ipv6).await?;
            Ok(Network::Named(name))
        }
        (Choice::Existing(network), _) => Ok(network),
        (Choice::PerBuild, None) => Ok(Network::Bridge),
    }
}

/// The name of a network per build.
#[must_use]
pub fn name(short_token: &str, project: u64, concurrent: u32, job: u64) -> String {
    let name = format!("runner-{short_token}-{project}-{concurrent}-{job}").to_lowercase();
    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(63).collect()
}

fn options(mtu: u32) -> HashMap<String, String> {
    let mtu = (mtu > 0).then(|| ("com.docker.network.driver.mtu".to_owned(), mtu.to_string()));
    mtu.into_iter().collect()
}

impl Network {
    /// Docker's `NetworkMode`.
    #[must_use]
    pub fn mode(&self) -> &str {
        match self {
            Self::Bridge => "bridge",
            Self::Named(mode) | Self::Other(mode) => mode,
        }
    }

    /// The aliases to give a container, where the network has names.
    #[must_use]
    pub fn aliases(&self, aliases: &[String]) -> Vec<String> {
        match self {
            Self::Named(_) => aliases.to_vec(),
            Self::Bridge | Self::Other(_) => Vec::new(),
        }
    }

    /// The lines of `/etc/hosts` that stand in for names, as `alias:address`.
    #[must_use]
    pub fn hosts(&self, services: &[(Vec<String>, Vec<IpAddr>)]) -> Vec<String> {
        if *self != Self::Bridge {
            return Vec::new();
        }
        let lines = services.iter().flat_map(|(aliases, addresses)| {
            aliases.iter().flat_map(move |alias| addresses.iter().map(move |address| format!("{alias}:{address}")))
        });
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_the_settings_wins_over_one_per_build() {
        assert_eq!(choose("", true), Choice::PerBuild);
        assert_eq!(choose("", false), Choice::Existing(Network::Bridge));
        assert_eq!(choose("ours", true), Choice::Existing(Network::Named("ours".into())));
        assert_eq!(choose("host", true), Choice::Existing(Network::Other("host".into())));
    }

    #[test]
    fn only_the_default_bridge_needs_hosts_and_only_named_networks_take_aliases() {
        let services = [(vec!["db".to_owned(), "sql".to_owned()], vec!["10.0.0.2".parse().expect("an address")])];
        assert_eq!(Network::Bridge.hosts(&services), ["db:10.0.0.2", "sql:10.0.0.2"]);
        assert!(Network::Named("n".into()).hosts(&services).is_empty());
        assert!(Network::Bridge.aliases(&["db".to_owned()]).is_empty());
    }
}
