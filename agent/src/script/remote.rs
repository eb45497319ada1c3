//! The remote's URL without its token, and the rewrites through which git finds the token again (protocol §3.4).

use super::Context;
use url::Url;
use warmstart_gitlab::secret::Secret;

/// Where the repository is.
pub(super) struct Remote {
    /// The URL without credentials: the one that `.git/config` may keep.
    pub(super) clean: String,
    /// `scheme://host[:port]` of a remote over http.
    pub(super) origin: Option<String>,
    /// URL prefixes with credentials, and what they replace.
    pub(super) rewrites: Vec<(Secret, String)>,
}

/// Reads the payload's URL. What is no http URL is used as it is, without credentials.
pub(super) fn remote(context: &Context<'_>) -> Remote {
    let text = context.inputs.job.git_info.repo_url.expose();
    let Some(url) = http(text) else {
        return Remote { clean: text.to_owned(), origin: None, rewrites: Vec::new() };
    };
    let server = http(context.inputs.gitlab.url.trim_end_matches('/').trim_end_matches("/ci"));
    let mut rewrites = vec![(secret(&url), clean(&url))];
    for base in server.as_ref().map(directory).into_iter().chain([root(&url)]) {
        rewrites.push((secret(&with_user_of(&url, &base)), clean(&base)));
    }
    if context.settings.submodule_force_https
        && let Some(server) = &server
    {
        let target = secret(&with_user_of(&url, &directory(server)));
        rewrites.extend(ssh_prefixes(context).into_iter().map(|prefix| (target.clone(), prefix)));
    }
    let mut seen = Vec::new();
    rewrites.retain(|(_, from)| {
        !seen.contains(from) && {
            seen.push(from.clone());
            true
        }
    });
    Remote { clean: clean(&url), origin: Some(root(&url).as_str().trim_end_matches('/').to_owned()), rewrites }
}

/// How people write the server's repositories over ssh.
fn ssh_prefixes(context: &Context<'_>) -> Vec<String> {
    let get = |key| context.variables.get(key);
    let host = if get("CI_SERVER_SHELL_SSH_HOST").is_empty() {
        get("CI_SERVER_HOST")
    } else {
        get("CI_SERVER_SHELL_SSH_HOST")
    };
    match get("CI_SERVER_SHELL_SSH_PORT") {
        _ if host.is_empty() => Vec::new(),
        "" | "22" => vec![format!("git@{host}:"), format!("ssh://git@{host}/")],
        port => vec![format!("ssh://git@{host}:{port}/")],
    }
}

fn http(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// The URL as a prefix: it ends with a slash, or `host` would match `host.evil.test` and send it the token.
fn directory(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_path(&format!("{}/", url.path().trim_end_matches('/')));
    url
}

fn root(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_path("/");
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

/// `base` with the credentials of `url`. Neither call fails for an http URL.
fn with_user_of(url: &Url, base: &Url) -> Url {
    let mut base = base.clone();
    let _ = base.set_username(url.username());
    let _ = base.set_password(url.password());
    base
}

fn secret(url: &Url) -> Secret {
    Secret::new(url.as_str())
}

fn clean(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}
