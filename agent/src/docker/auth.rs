//! Credentials for registries, in GitLab's order (protocol §4.4).

use bollard::auth::DockerCredentials;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use std::path::PathBuf;
use std::sync::Arc;
use warmstart_gitlab::payload::Credential;
use warmstart_gitlab::secret::Secret;

/// Docker Hub's key in a `config.json`.
const HUB: &str = "https://index.docker.io/v1/";

/// Everything that may know a password. The first that does wins.
#[derive(Clone, Default)]
pub struct Logins {
    sources: Arc<Vec<Source>>,
}

#[derive(Clone)]
enum Source {
    /// The text of a `config.json`, and what the log calls it.
    Config(Secret, String),
    /// Logins of the payload.
    Payload(Vec<Credential>),
}

/// A login that was found.
#[derive(Clone)]
pub struct Login {
    /// What the log calls where it was found.
    pub source: String,
    /// What the daemon sends to the registry.
    pub credentials: DockerCredentials,
}

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Logins({})", self.sources.len())
    }
}

impl Logins {
    /// Gathers `DOCKER_AUTH_CONFIG`, the host's configuration and the payload's logins, in this order.
    #[must_use]
    pub fn new(variable: Option<String>, payload: &[Credential]) -> Self {
        let mut sources = Vec::new();
        if let Some(text) = variable.filter(|text| !text.trim().is_empty()) {
            sources.push(Source::Config(text.into(), "$DOCKER_AUTH_CONFIG".to_owned()));
        }
        if let Some((text, path)) = host_config() {
            sources.push(Source::Config(text.into(), path));
        }
        let registries = payload.iter().filter(|credential| credential.kind == "registry").cloned().collect();
        sources.push(Source::Payload(registries));
        Self { sources: Arc::new(sources) }
    }

    /// Finds the login for an image. Credential helpers are programs: they run on a thread of their own.
    pub async fn find(&self, image: &str) -> Option<Login> {
        let sources = self.sources.clone();
        let image = image.to_owned();
        let search = move || {
            let places = places(&image);
            sources.iter().find_map(|source| places.iter().find_map(|place| source.find(place)))
        };
        tokio::task::spawn_blocking(search).await.unwrap_or_default()
    }
}

impl Source {
    fn find(&self, place: &str) -> Option<Login> {
        match self {
            Self::Config(text, name) => {
                let found = keys(place).into_iter().find_map(|key| from_config(text.expose(), &key, name));
                found.map(|credentials| Login { source: name.clone(), credentials })
            }
            Self::Payload(credentials) => credentials.iter().find(|c| normal(&c.url) == place).map(|c| Login {
                source: "job payload (GitLab Registry)".to_owned(),
                credentials: login(&c.username, c.password.expose(), &c.url),
            }),
        }
    }
}

fn from_config(text: &str, key: &str, source: &str) -> Option<DockerCredentials> {
    match docker_credential::get_credential_from_reader(text.as_bytes(), key) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Some(login(&user, &password, key)),
        Ok(DockerCredential::IdentityToken(token)) => Some(DockerCredentials {
            identitytoken: Some(token),
            serveraddress: Some(key.to_owned()),
            ..Default::default()
        }),
        Err(CredentialRetrievalError::NoCredentialConfigured) => None,
        Err(error) => {
            // A helper says this also when it knows nothing of that registry. Its output could hold a password.
            let what = format!("{error:?}");
            tracing::debug!(
                "no credentials for {key} from {source}: {}",
                what.split([' ', '{']).next().unwrap_or_default()
            );
            None
        }
    }
}

fn login(user: &str, password: &str, server: &str) -> DockerCredentials {
    DockerCredentials {
        username: Some(user.to_owned()),
        password: Some(password.to_owned()),
        serveraddress: Some(server.to_owned()),
        ..Default::default()
    }
}

/// The `config.json` of the user who runs the agent, with its path.
fn host_config() -> Option<(String, String)> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let directory = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(home?.join(".docker")))?;
    let path = directory.join("config.json");
    Some((std::fs::read_to_string(&path).ok()?, path.display().to_string()))
}

/// The registry paths whose login fits an image, the most particular first.
fn places(image: &str) -> Vec<String> {
    let full = normal(&qualified(image));
    let mut places = vec![full.clone()];
    let mut rest = full.as_str();
    while let Some((parent, _)) = rest.rsplit_once('/') {
        places.push(parent.to_owned());
        rest = parent;
    }
    places
}

/// The image's name with its registry, without tag and digest.
fn qualified(image: &str) -> String {
    let name = image.split('@').next().unwrap_or(image);
    let name = match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    };
    match name.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => name.to_owned(),
        _ => format!("docker.io/{name}"),
    }
}

/// A registry path to compare by: no scheme, no path behind a URL's host, lower-case host, one name for Docker Hub.
fn normal(registry: &str) -> String {
    let bare = registry.strip_prefix("https://").or_else(|| registry.strip_prefix("http://"));
    let path = match bare {
        Some(url) => url.split('/').next().unwrap_or(url),
        None => registry.trim_end_matches('/'),
    };
    let (host, rest) = path.split_once('/').map_or((path, None), |(host, rest)| (host, Some(rest)));
    let host = match host.to_lowercase().as_str() {
        "index.docker.io" => "docker.io".to_owned(),
        host => host.to_owned(),
    };
    rest.map_or(host.clone(), |rest| format!("{host}/{rest}"))
}

/// The keys under which a `config.json` may hold a registry path.
fn keys(place: &str) -> Vec<String> {
    let mut keys = vec![place.to_owned(), format!("https://{place}"), format!("http://{place}")];
    if place == "docker.io" {
        keys.extend([HUB.to_owned(), "index.docker.io".to_owned()]);
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_registry_path_comes_first() {
        assert_eq!(places("alpine:3"), ["docker.io/alpine", "docker.io"]);
        assert_eq!(places("REG.test:5000/g/p@sha256:0"), ["reg.test:5000/g/p", "reg.test:5000/g", "reg.test:5000"]);
    }

    #[test]
    fn registry_names_are_compared_without_scheme_and_case() {
        assert_eq!(normal("https://Index.docker.io/v1/"), "docker.io");
        assert_eq!(normal("Reg.test/group/"), "reg.test/group");
    }

    #[tokio::test]
    async fn the_variable_wins_over_the_payload() {
        let variable = r#"{"auths":{"reg.test":{"auth":"dTpw"}}}"#.to_owned();
        let payload = [Credential {
            kind: "registry".to_owned(),
            url: "reg.test".to_owned(),
            username: "ci".to_owned(),
            password: "token".into(),
        }];
        let both = Logins::new(Some(variable), &payload);
        let found = both.find("reg.test/a/b:1").await.expect("a login");
        assert_eq!((found.source.as_str(), found.credentials.username.as_deref()), ("$DOCKER_AUTH_CONFIG", Some("u")));
        let found = Logins::new(None, &payload).find("reg.test/a/b:1").await.expect("a login");
        assert_eq!(found.credentials.username.as_deref(), Some("ci"));
        assert!(Logins::new(None, &payload).find("other.test/a").await.is_none_or(|l| !l.source.contains("payload")));
    }
}
