//! Credentials for registries, in GitLab's order (protocol §4.4).

use crate::fault::Fault;
use bollard::auth::DockerCredentials;
use docker_credential::{CredentialRetrievalError as Trouble, DockerCredential};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use warmstart_gitlab::payload::Credential;
use warmstart_gitlab::secret::Secret;

/// Docker Hub's key in a `config.json`.
const HUB: &str = "https://index.docker.io/v1/";

/// Everything that may know a password. For one registry path the first that does wins; a longer path wins over all.
#[derive(Clone, Default)]
pub struct Logins {
    sources: Arc<Vec<Source>>,
    /// Why no login is to be looked for at all.
    refused: Option<String>,
}

#[derive(Clone)]
enum Source {
    /// A `config.json`.
    Config(Config),
    /// Logins of the payload.
    Payload(Vec<Credential>),
}

#[derive(Clone)]
struct Config {
    text: Secret,
    /// The same without a store for all registries: that knows whole registries only, no paths in them.
    for_paths: Secret,
    /// What the log calls it.
    name: String,
}

/// What looking for a login brought.
#[derive(Default)]
pub struct Found {
    /// The login, if there is one.
    pub login: Option<Login>,
    /// Sources that could not be asked, a warning for the job's log each.
    pub troubles: Vec<String>,
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
    ///
    /// A configuration that cannot be read is left out: the second part is a warning for the job's log for each.
    #[must_use]
    pub fn new(variable: Option<String>, payload: &[Credential]) -> (Self, Vec<String>) {
        let variable = variable.filter(|text| !text.trim().is_empty());
        let configs = variable.map(|text| (text, "$DOCKER_AUTH_CONFIG".to_owned())).into_iter().chain(host_config());
        let (mut this, mut warnings, mut sources) = (Self::default(), Vec::new(), Vec::new());
        for (text, name) in configs {
            match serde_json::from_str(&text) {
                Ok(config) => {
                    this.refused = this.refused.or_else(|| path_of_helper(&config, &name));
                    sources.push(Source::Config(Config::new(text, config, name)));
                }
                Err(why) => warnings.push(format!(
                    "Failed to resolve credentials from {name}: {why}. Credentials from this source will not be used."
                )),
            }
        }
        let registries = payload.iter().filter(|credential| credential.kind == "registry").cloned().collect();
        sources.push(Source::Payload(registries));
        (Self { sources: Arc::new(sources), ..this }, warnings)
    }

    /// Finds the login for an image. Credential helpers are programs: they run on a thread of their own.
    pub async fn find(&self, image: &str) -> Result<Found, Fault> {
        if let Some(why) = &self.refused {
            return Err(Fault::Configuration(why.clone()));
        }
        let (sources, image) = (self.sources.clone(), image.to_owned());
        let search = move || {
            let (places, mut troubles) = (places(&image), Vec::new());
            let mut found = places.iter().flat_map(|place| sources.iter().map(move |source| (source, place)));
            let login = found.find_map(|(source, place)| source.find(place, &mut troubles));
            Found { login, troubles }
        };
        Ok(tokio::task::spawn_blocking(search).await.unwrap_or_default())
    }
}

/// Refuses helpers with a path in their name: a job could have a program of its own run on this machine.
fn path_of_helper(config: &Value, source: &str) -> Option<String> {
    let helpers = config.get("credHelpers").and_then(Value::as_object).into_iter().flat_map(|helpers| helpers.values());
    let mut names = helpers.chain(config.get("credsStore")).filter_map(Value::as_str);
    let path = names.find(|name| name.contains('/'))?;
    Some(format!("cannot use credentials from {source}: \"{path}\" is no name of a credential helper but a path"))
}

impl Source {
    fn find(&self, place: &str, troubles: &mut Vec<String>) -> Option<Login> {
        match self {
            Self::Config(config) => config.find(place, troubles),
            Self::Payload(credentials) => credentials.iter().find(|c| normal(&c.url) == place).map(|c| Login {
                source: "job payload (GitLab Registry)".to_owned(),
                credentials: login(&c.username, c.password.expose(), &c.url),
            }),
        }
    }
}

impl Config {
    fn new(text: String, mut config: Value, name: String) -> Self {
        config.as_object_mut().map(|config| config.remove("credsStore"));
        Self { text: text.into(), for_paths: config.to_string().into(), name }
    }

    fn find(&self, place: &str, troubles: &mut Vec<String>) -> Option<Login> {
        let text = if place.contains('/') { &self.for_paths } else { &self.text };
        for key in keys(place) {
            match from_config(text.expose(), &key) {
                Ok(Some(credentials)) => return Some(Login { source: self.name.clone(), credentials }),
                Ok(None) => {}
                Err(trouble) => {
                    troubles.push(format!("No credentials for {place} from {}: {trouble}", self.name));
                    return None;
                }
            }
        }
        None
    }
}

/// What a `config.json` knows for a registry; its credential helper is asked if it names one. A failure is told without
/// what a helper printed: it could be a password.
fn from_config(text: &str, key: &str) -> Result<Option<DockerCredentials>, String> {
    match docker_credential::get_credential_from_reader(text.as_bytes(), key) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(Some(login(&user, &password, key))),
        Ok(DockerCredential::IdentityToken(token)) => Ok(Some(DockerCredentials {
            identitytoken: Some(token),
            serveraddress: Some(key.to_owned()),
            ..Default::default()
        })),
        Err(Trouble::NoCredentialConfigured) => Ok(None),
        // The words of Docker's own library for helpers.
        Err(Trouble::HelperFailure { stdout, .. }) if stdout.contains("credentials not found") => Ok(None),
        Err(Trouble::HelperFailure { helper, .. }) => {
            Err(format!("{helper} failed; run `echo {key} | {helper} get` on the executor to see why"))
        }
        Err(Trouble::HelperCommunicationError) => Err(
            "its credential helper is no program docker-credential-… on the executor's PATH, or ends before it is asked"
                .into(),
        ),
        Err(Trouble::MalformedHelperResponse) => Err("its credential helper answered something else".into()),
        Err(_) => Err("its entry cannot be read".into()),
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
    let directory = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(home()?.join(".docker")))?;
    let paths = [Some(directory.join("config.json")), home().map(|home| home.join(".dockercfg"))];
    let mut found = paths.into_iter().flatten().filter_map(|path| Some((std::fs::read_to_string(&path).ok()?, path)));
    found.next().map(|(text, path)| (text, path.display().to_string()))
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from)
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

    fn payload(url: &str) -> [Credential; 1] {
        let (kind, username) = ("registry".to_owned(), "ci".to_owned());
        [Credential { kind, url: url.to_owned(), username, password: "token".into() }]
    }

    #[tokio::test]
    async fn the_variable_wins_over_the_payload_unless_that_knows_a_longer_path() {
        let config = r#"{"auths":{"reg.test":{"auth":"dTpw"}}}"#;
        let user = async |logins: (Logins, Vec<String>), image: &str| {
            let login =
                logins.0.find(image).await.expect("no path").login.filter(|login| !login.source.contains("/.docker"));
            login.and_then(|login| login.credentials.username).unwrap_or_default()
        };
        assert_eq!(user(Logins::new(Some(config.to_owned()), &payload("reg.test")), "reg.test/a/b:1").await, "u");
        assert_eq!(user(Logins::new(Some(config.to_owned()), &payload("reg.test/a")), "reg.test/a/b:1").await, "ci");
        assert_eq!(user(Logins::new(None, &payload("reg.test")), "reg.test/a/b:1").await, "ci");
        assert_eq!(user(Logins::new(None, &payload("reg.test")), "other.test/a").await, "");
    }

    #[test]
    fn a_configuration_that_cannot_be_read_is_left_out_with_a_warning_that_does_not_show_it() {
        let (logins, warnings) = Logins::new(Some("{\"auths\": c2VjcmV0}".to_owned()), &[]);
        assert!(warnings[0].starts_with("Failed to resolve credentials from $DOCKER_AUTH_CONFIG: "), "{warnings:?}");
        assert!(!warnings.concat().contains("c2VjcmV0") && logins.refused.is_none());
    }

    #[tokio::test]
    async fn a_helper_with_a_path_in_its_name_is_refused() {
        for config in [r#"{"credHelpers":{"reg.test":"x/../evil"}}"#, r#"{"credsStore":"/builds/evil"}"#] {
            let (logins, _) = Logins::new(Some(config.to_owned()), &payload("reg.test"));
            let refused = logins.find("reg.test/a").await.err().map(|fault| fault.to_string()).unwrap_or_default();
            assert!(refused.contains("evil\" is no name of a credential helper but a path"), "{refused}");
        }
    }
}
