//! Caches for the job's own use: `warmstart-cache` and a socket behind which the job's scopes are, in the build
//! container and in services. The credentials for the store stay in this process.

use crate::docker::volumes::Volume;
use crate::fault::causes;
use crate::stage::Execution;
use crate::stage::cache::{cache_key, credentials};
use crate::stage::cache_key::sanitize;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio_util::task::AbortOnDropHandle;
use warmstart_api::assignment::CacheStore;
use warmstart_cache::sidecar::{Access, Listener, Socket, serve};
use warmstart_cache::{Error, Key, Protection, Scope, store};

/// Where the socket's directory is mounted.
const INSIDE: &str = "/run/warmstart";
/// The socket in it.
const SOCKET: &str = "cache.sock";
/// Where the command line is mounted.
const PROGRAM: &str = "/usr/local/bin/warmstart-cache";
/// The variable by which the command line finds the store.
const VARIABLE: &str = "WARMSTART_CACHE_STORE";

/// A job's sidecar while the job runs. Nothing of it is left when this goes.
#[derive(Debug)]
pub struct Sidecar {
    binds: Vec<String>,
    _directory: TempDir,
    _server: AbortOnDropHandle<()>,
}

impl Sidecar {
    /// Offers the job's scopes of the store. Listens at once, and opens the store behind the job's back: the job
    /// does not wait for it.
    fn start(tmp: &Path, wanted: CacheStore, scopes: Vec<Scope>) -> Result<Self, Error> {
        let directory = directory(tmp).map_err(|source| {
            let (action, path) = ("make the sidecar's directory in", tmp.to_owned());
            Error::File { action, path, source }
        })?;
        let socket = Socket::bind(directory.path().join(SOCKET), true)?;
        let server = tokio::spawn(async move {
            match Box::pin(store::open(&wanted.url, credentials(&wanted).as_ref())).await {
                Ok(store) => {
                    let access = Access::Scopes(scopes);
                    serve(Listener::Unix(socket), store, access, std::future::pending()).await;
                }
                Err(error) => tracing::warn!("no caches for the job's own use: {}", causes(&error)),
            }
        });
        let binds = vec![format!("{}:{INSIDE}:ro", directory.path().display())];
        Ok(Self { binds, _directory: directory, _server: AbortOnDropHandle::new(server) })
    }

    /// Mounts the command line too, if it is installed.
    fn with_program(mut self, volumes: &[Volume]) -> Self {
        match program() {
            Some(_) if is_taken(volumes, PROGRAM) => {}
            Some(program) => self.binds.push(format!("{}:{PROGRAM}:ro", program.display())),
            None => tracing::debug!("no warmstart-cache beside this program: jobs do not get it"),
        }
        self
    }
}

/// Starts a sidecar for a job that has a store, and tells the job where it is. A job that has set the variable
/// itself keeps its own. Trouble is no job's failure.
pub fn offer(job: &mut Execution, volumes: &[Volume]) {
    let Some(wanted) = job.order.cache.clone() else { return };
    if is_taken(volumes, INSIDE) {
        tracing::debug!("a volume is mounted at {INSIDE}: no caches for the job's own use");
        return;
    }
    let started = scopes(job).and_then(|scopes| Sidecar::start(&job.host.tmp, wanted, scopes));
    match started {
        Ok(sidecar) => {
            job.variables.set_default(VARIABLE, &format!("unix://{INSIDE}/{SOCKET}"));
            job.sidecar = Some(sidecar.with_program(volumes));
        }
        Err(error) => tracing::warn!("no caches for the job's own use: {}", causes(&error)),
    }
}

/// Docker's binds for the build container and services.
#[must_use]
pub fn binds(job: &Execution) -> &[String] {
    job.sidecar.as_ref().map_or(&[], |sidecar| &sidecar.binds)
}

/// The scopes that the job's caches are in; without caches, or with none that it may have, the unprotected one.
fn scopes(job: &Execution) -> Result<Vec<Scope>, Error> {
    let project = job.order.job.job_info.project_id.to_string();
    let caches = job.order.job.cache.iter();
    let keys = caches.flat_map(|cache| {
        let fallbacks = cache.fallback_keys.iter().map(|key| job.variables.expand(key));
        std::iter::once(cache_key(job, cache)).chain(fallbacks)
    });
    // Variables could say it too, but a job may set them.
    admitted(&project, keys, job.order.job.git_info.protected == Some(true))
}

/// The scopes of these keys; the protected one only where the job's ref is protected, whatever its keys say.
fn admitted(project: &str, keys: impl Iterator<Item = String>, protected: bool) -> Result<Vec<Scope>, Error> {
    let shut = Scope::new(project, Protection::Protected)?;
    let mut scopes = Vec::new();
    for key in keys.filter_map(|key| sanitize(&key)).filter_map(|sanitized| Key::new(sanitized.key).ok()) {
        let scope = Scope::of_key(project, &key)?;
        if !scopes.contains(&scope) && (protected || scope != shut) {
            scopes.push(scope);
        }
    }
    if scopes.is_empty() {
        scopes.push(Scope::new(project, Protection::Unprotected)?);
    }
    Ok(scopes)
}

/// A directory that every user of a container may enter, once it is mounted there.
fn directory(tmp: &Path) -> std::io::Result<TempDir> {
    let directory = tempfile::Builder::new().prefix("sidecar-").tempdir_in(tmp)?;
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755))?;
    Ok(directory)
}

/// The command line, which is installed beside the agent.
fn program() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.with_file_name("warmstart-cache");
    program.is_file().then_some(program)
}

/// Whether a volume of the settings is at this place or above it, and would get what is mounted there.
fn is_taken(volumes: &[Volume], place: &str) -> bool {
    volumes.iter().any(|volume| Path::new(place).starts_with(volume.dest()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(keys: &[&str], protected: bool) -> Vec<String> {
        let keys = keys.iter().map(ToString::to_string);
        admitted("7", keys, protected).expect("scopes").iter().map(Scope::to_string).collect()
    }

    #[test]
    fn a_job_gets_the_scopes_that_its_keys_name() {
        assert_eq!(of(&[], true), ["7/unprotected"]);
        assert_eq!(of(&["a-non_protected", "b"], false), ["7/unprotected"]);
        assert_eq!(of(&["a-protected", "b-protected"], true), ["7/protected"]);
        assert_eq!(of(&["a-protected", "b-non_protected"], true), ["7/protected", "7/unprotected"]);
    }

    #[test]
    fn a_job_of_an_unprotected_ref_never_gets_the_protected_scope() {
        for keys in [&["a-protected"][..], &["a-protected "], &["a-protected", "b"], &["x/%2e/a-protected"]] {
            assert_eq!(of(keys, false), ["7/unprotected"], "{keys:?}");
        }
    }

    #[test]
    fn nothing_is_mounted_into_a_volume_of_the_settings() {
        let volumes = [Volume::Cache { dest: "/usr/local".into() }, Volume::Cache { dest: "/run/warm".into() }];
        assert!(is_taken(&volumes, PROGRAM) && !is_taken(&volumes, INSIDE));
    }
}
