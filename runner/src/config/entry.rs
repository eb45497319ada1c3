//! `[[runners]]`.

use super::values::{GitLabUrl, Humane, StoreUrl};
use super::{Error, TOKEN_VARIABLE};
use crate::fleet::Pool;
use crate::ownership::DEFAULT_POOL;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use warmstart_api::settings::{Docker, Settings};
use warmstart_gitlab::client::{ClientCertificate, Options};
use warmstart_gitlab::flags::Configured;
use warmstart_gitlab::secret::Secret;

/// One source of jobs.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name, made unique among the entries: jobs in the journal name it.
    pub id: String,
    /// Its name, for the jobs' logs.
    pub name: String,
    /// GitLab's URL.
    pub url: String,
    /// The runner authentication token.
    pub token: Secret,
    /// How many jobs of it at once; `None` for any number.
    pub limit: Option<usize>,
    /// How many job requests of it at once.
    pub request_concurrency: usize,
    /// Unhealthy answers in a row after which it pauses.
    pub unhealthy_limit: u32,
    /// How long it pauses then.
    pub unhealthy_interval: Duration,
    /// PEM of the CA of GitLab's certificate.
    pub ca: Option<String>,
    /// The pool whose executors run its jobs.
    pub pool: String,
    /// The pools that a job may choose by `WARMSTART_POOL`, beside that one.
    pub allowed_pools: Vec<String>,
    /// What shows GitLab, or a proxy before it, who calls.
    pub client_certificate: Option<ClientCertificate>,
    /// What its jobs are run with.
    pub settings: Settings,
    /// Where its jobs' caches are kept.
    pub cache: Option<String>,
}

impl Entry {
    /// How to connect to its GitLab.
    #[must_use]
    pub fn options(&self) -> Options {
        let (ca_pem, client_certificate) = (self.ca.clone(), self.client_certificate.clone());
        Options { ca_pem, client_certificate, ..Options::default() }
    }
}

/// The entry as it is written.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    name: String,
    url: Option<GitLabUrl>,
    token: Option<Secret>,
    token_file: Option<PathBuf>,
    #[serde(rename = "tls-ca-file")]
    tls_ca_file: Option<PathBuf>,
    pool: Option<String>,
    allowed_pools: Vec<String>,
    #[serde(rename = "tls-cert-file")]
    tls_cert_file: Option<PathBuf>,
    #[serde(rename = "tls-key-file")]
    tls_key_file: Option<PathBuf>,
    limit: usize,
    request_concurrency: usize,
    output_limit: u64,
    builds_dir: String,
    environment: Vec<String>,
    pre_get_sources_script: String,
    post_get_sources_script: String,
    pre_build_script: String,
    post_build_script: String,
    unhealthy_requests_limit: u32,
    unhealthy_interval: Humane,
    debug_trace_disabled: bool,
    stage_times: bool,
    feature_flags: Configured,
    docker: Docker,
    cache: Cache,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cache {
    store: Option<StoreUrl>,
}

impl Default for Raw {
    fn default() -> Self {
        let settings = Settings::default();
        Self {
            name: String::new(),
            url: None,
            token: None,
            token_file: None,
            tls_ca_file: None,
            pool: None,
            allowed_pools: Vec::new(),
            tls_cert_file: None,
            tls_key_file: None,
            limit: 0,
            request_concurrency: 1,
            output_limit: settings.output_limit,
            builds_dir: settings.builds_dir,
            environment: settings.environment,
            pre_get_sources_script: settings.pre_get_sources_script,
            post_get_sources_script: settings.post_get_sources_script,
            pre_build_script: settings.pre_build_script,
            post_build_script: settings.post_build_script,
            unhealthy_requests_limit: 3,
            unhealthy_interval: Humane(Duration::from_hours(1)),
            debug_trace_disabled: settings.debug_trace_disabled,
            stage_times: settings.stage_times,
            feature_flags: settings.feature_flags,
            docker: settings.docker,
            cache: Cache::default(),
        }
    }
}

/// Completes all entries with what lies outside of the text.
pub(super) fn settle(
    raws: Vec<Raw>,
    pools: &[Pool],
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Entry>, Error> {
    let mut ids = BTreeSet::new();
    let mut entries = Vec::new();
    for (at, raw) in raws.into_iter().enumerate() {
        let mut entry = complete(raw, at + 1, pools, environment)?;
        // Every `gitlab-runner register` on a host takes the host's name.
        if !ids.insert(entry.id.clone()) {
            entry.id = format!("{}#{}", entry.id, at + 1);
            ids.insert(entry.id.clone());
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn complete(
    raw: Raw,
    number: usize,
    pools: &[Pool],
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Entry, Error> {
    let name = if raw.name.is_empty() { format!("runner {number}") } else { raw.name };
    let whole = |message: String| Error::Whole(format!("[[runners]] entry \"{name}\": {message}"));
    let Some(GitLabUrl(url)) = raw.url else { return Err(whole("url is missing".to_owned())) };
    let token = token(raw.token, raw.token_file, environment).map_err(&whole)?;
    let allowed = raw.allowed_pools.into_iter().map(|name| pool(Some(name), pools));
    let allowed_pools = allowed.collect::<Result<Vec<_>, _>>().map_err(&whole)?;
    let pool = pool(raw.pool, pools).map_err(&whole)?;
    let mut docker = raw.docker;
    for (key, options) in
        [("security_opt", &mut docker.security_opt), ("services_security_opt", &mut docker.services_security_opt)]
    {
        options.iter_mut().try_for_each(|option| bring_profile(key, option)).map_err(&whole)?;
    }
    let ca = raw.tls_ca_file.map(|path| read(&path, "tls-ca-file")).transpose().map_err(&whole)?;
    let client_certificate = client_certificate(raw.tls_cert_file, raw.tls_key_file).map_err(&whole)?;
    if !raw.builds_dir.starts_with('/') {
        return Err(whole(format!("builds_dir `{}` is no absolute path", raw.builds_dir)));
    }
    Ok(Entry {
        id: name.clone(),
        name,
        url,
        token,
        pool,
        allowed_pools,
        limit: (raw.limit > 0).then_some(raw.limit),
        request_concurrency: raw.request_concurrency.max(1),
        unhealthy_limit: raw.unhealthy_requests_limit.max(1),
        unhealthy_interval: raw.unhealthy_interval.0,
        ca,
        client_certificate,
        settings: Settings {
            builds_dir: raw.builds_dir,
            output_limit: raw.output_limit,
            environment: raw.environment,
            pre_get_sources_script: raw.pre_get_sources_script,
            post_get_sources_script: raw.post_get_sources_script,
            pre_build_script: raw.pre_build_script,
            post_build_script: raw.post_build_script,
            debug_trace_disabled: raw.debug_trace_disabled,
            stage_times: raw.stage_times,
            feature_flags: raw.feature_flags,
            docker,
        },
        cache: raw.cache.store.map(|store| store.0),
    })
}

/// The pool named, else the first.
fn pool(wanted: Option<String>, pools: &[Pool]) -> Result<String, String> {
    let known: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
    match wanted {
        Some(name) if known.contains(&name.as_str()) => Ok(name),
        Some(name) => Err(format!("there is no pool \"{name}\"; the pools are {}", known.join(", "))),
        None => Ok(known.first().copied().unwrap_or(DEFAULT_POOL).to_owned()),
    }
}

/// The token: from its file, from the entry, else from the environment.
fn token(
    token: Option<Secret>,
    file: Option<PathBuf>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Secret, String> {
    let found = match (token, file) {
        (Some(_), Some(_)) => return Err("has both token and token_file: keep one".to_owned()),
        (None, Some(file)) => Some(Secret::new(read(&file, "token_file")?.trim())),
        (token, None) => {
            token.filter(|token| !token.is_empty()).or_else(|| environment(TOKEN_VARIABLE).map(Secret::new))
        }
    };
    let usable = |token: &Secret| !token.is_empty() && token.expose().bytes().all(|byte| byte.is_ascii_graphic());
    match found {
        Some(token) if usable(&token) => Ok(token),
        Some(_) => Err("the token is empty or has blanks in it".to_owned()),
        None => Err(format!("no token: set token, token_file or the environment variable {TOKEN_VARIABLE}")),
    }
}

/// Neither file, or both.
fn client_certificate(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<ClientCertificate>, String> {
    let (cert, key) = match (cert, key) {
        (None, None) => return Ok(None),
        (Some(cert), Some(key)) => (cert, key),
        (Some(_), None) => return Err("has tls-cert-file without tls-key-file: set both".to_owned()),
        (None, Some(_)) => return Err("has tls-key-file without tls-cert-file: set both".to_owned()),
    };
    let (certificate, key) = (read(&cert, "tls-cert-file")?, read(&key, "tls-key-file")?.into());
    Ok(Some(ClientCertificate { certificate, key }))
}

/// Puts the content of a profile of seccomp in the place of its path: it is a file of this machine, not of executors.
fn bring_profile(key: &str, option: &mut String) -> Result<(), String> {
    let profile = option.strip_prefix("seccomp=").filter(|profile| !profile.starts_with('{'));
    let Some(path) = profile.filter(|profile| !["unconfined", "builtin"].contains(profile)) else { return Ok(()) };
    let text = read(path.as_ref(), key)?;
    if let Err(why) = serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        return Err(format!("{key} {path} is no profile of seccomp: {why}"));
    }
    *option = format!("seccomp={text}");
    Ok(())
}

fn read(path: &std::path::Path, key: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|why| format!("cannot read {key} {}: {why}", path.display()))
}
