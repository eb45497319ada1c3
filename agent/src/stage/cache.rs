//! `restore_cache` and `archive_cache` (protocol §5). A cache never fails a job.

use crate::fault::causes;
use crate::job::order::{has_caches, saves_caches};
use crate::stage::cache_key::{is_protected_fallback, sanitize};
use crate::stage::{Execution, Project};
use std::path::PathBuf;
use warmstart_api::assignment::CacheStore;
use warmstart_cache::store::{self, AnyStore, Credentials};
use warmstart_cache::{Key, RestoreOptions, SaveOptions, Scope, Selection};
use warmstart_gitlab::payload::Cache;

/// Restores every cache of the job, in order.
pub async fn restore(job: &Execution) {
    if has_caches(&job.order.job) {
        job.log.section("restore_cache", "Restoring cache", restore_all(job)).await;
    }
}

/// Saves every cache that fits the job's result.
pub async fn save(job: &Execution, success: bool) {
    if !saves_caches(&job.order.job, success) {
        return;
    }
    let (name, headline) = if success {
        ("archive_cache", "Saving cache for successful job")
    } else {
        ("archive_cache_on_failure", "Saving cache for failed job")
    };
    job.log.section(name, headline, save_all(job, success)).await;
}

async fn restore_all(job: &Execution) {
    let Some((store, project)) = ready(job).await else { return };
    for cache in caches(job) {
        if !policy(job, cache).pull {
            job.log.info(&format!("Not downloading cache {} due to policy", cache_key(job, cache)));
            continue;
        }
        restore_one(job, &store, &project, cache).await;
    }
}

/// Tries the key, then the fallbacks: the first that is there counts.
async fn restore_one(job: &Execution, store: &AnyStore, project: &Project, cache: &Cache) {
    for key in keys(job, cache) {
        job.log.info(&format!("Checking cache for {key}..."));
        match restore_key(job, store, project, &key).await {
            Ok(restored) => {
                restored.warnings.iter().for_each(|warning| job.log.warn(warning));
                if restored.hit {
                    job.log.info("Successfully extracted cache");
                    return;
                }
                job.log.print(&restored.reason.unwrap_or_else(|| "not found".to_owned()));
            }
            Err(error) => job.log.warn(&causes(&error)),
        }
        job.log.caution("Failed to extract cache");
    }
}

async fn restore_key(
    job: &Execution,
    store: &AnyStore,
    project: &Project,
    key: &Key,
) -> Result<warmstart_cache::Restored, warmstart_cache::Error> {
    let scope = Scope::of_key(&job.order.job.job_info.project_id.to_string(), key)?;
    let options = RestoreOptions { deadline: job.settings.cache_request_timeout, ..RestoreOptions::default() };
    let keys = std::slice::from_ref(key);
    Box::pin(warmstart_cache::restore(store, &scope, keys, &project.path, &options)).await
}

async fn save_all(job: &Execution, success: bool) {
    let Some((store, project)) = ready(job).await else { return };
    for cache in caches(job) {
        if !cache.when.fits(success) {
            continue;
        }
        let Some(key) = main_key(job, cache) else { continue };
        if policy(job, cache).push {
            save_one(job, &store, &project, cache, &key).await;
        } else {
            job.log.info(&format!("Not uploading cache {key} due to policy"));
        }
    }
}

async fn save_one(job: &Execution, store: &AnyStore, at: &Project, cache: &Cache, key: &Key) {
    job.log.info(&format!("Creating cache {key}..."));
    let selection = Selection {
        paths: cache.paths.iter().map(|path| job.expand_path(path)).collect(),
        untracked: untracked(job, cache).await,
    };
    let options = SaveOptions { deadline: job.settings.cache_request_timeout, ..SaveOptions::default() };
    let saved = async {
        let scope = Scope::of_key(&job.order.job.job_info.project_id.to_string(), key)?;
        Box::pin(warmstart_cache::save(store, &scope, key, &at.path, &selection, &options)).await
    };
    match saved.await {
        Ok(saved) => {
            saved.warnings.iter().for_each(|warning| job.log.warn(warning));
            saved.reason.iter().for_each(|reason| job.log.print(reason));
            if saved.saved {
                job.log.info("Created cache");
            } else if saved.files == 0 {
                job.log.warn("No files to cache.");
            }
        }
        Err(error) => {
            job.log.warn(&causes(&error));
            job.log.caution("Failed to create cache");
        }
    }
}

async fn untracked(job: &Execution, cache: &Cache) -> Vec<PathBuf> {
    if cache.untracked { job.untracked().await.unwrap_or_default() } else { Vec::new() }
}

/// The store and the project directory; without one of them a line in the log says why there are no caches.
async fn ready(job: &Execution) -> Option<(AnyStore, Project)> {
    let Some(wanted) = &job.order.cache else {
        job.log.warn("No cache store is configured for this runner: caches are not kept");
        return None;
    };
    let store = match Box::pin(store::open(&wanted.url, credentials(wanted).as_ref())).await {
        Ok(store) => store,
        Err(error) => {
            job.log.warn(&format!("Caches are not available: {}", causes(&error)));
            return None;
        }
    };
    match job.project() {
        Ok(project) => Some((store, project)),
        Err(error) => {
            job.log.warn(&format!("Caches are not available: cannot open the project directory: {error}"));
            None
        }
    }
}

pub(super) fn credentials(store: &CacheStore) -> Option<Credentials> {
    store.credentials.as_ref().map(|own| Credentials {
        access_key_id: own.access_key_id.clone(),
        secret_access_key: own.secret_access_key.expose().to_owned(),
        session_token: own.session_token.as_ref().map(|token| token.expose().to_owned()),
        region: (!own.region.is_empty()).then(|| own.region.clone()),
        endpoint: own.endpoint.clone(),
    })
}

fn caches(job: &Execution) -> Vec<&Cache> {
    let all = job.order.job.cache.iter();
    all.filter(|cache| cache.untracked || !cache.paths.is_empty()).collect()
}

/// What a cache is used for.
struct Policy {
    pull: bool,
    push: bool,
}

/// An unknown word is said and means that the cache is left alone.
fn policy(job: &Execution, cache: &Cache) -> Policy {
    let word = job.variables.expand(&cache.policy);
    let (pull, push) = match word.as_str() {
        "" | "pull-push" => (true, true),
        "pull" => (true, false),
        "push" => (false, true),
        _ => {
            job.log.warn(&format!("unknown cache policy \"{word}\": expected pull, push or pull-push"));
            (false, false)
        }
    };
    Policy { pull, push }
}

/// The cache's key as text: `<job name>/<ref>` when the job gives none.
pub(super) fn cache_key(job: &Execution, cache: &Cache) -> String {
    let key = job.variables.expand(&cache.key);
    if key.is_empty() { format!("{}/{}", job.order.job.job_info.name, job.order.job.git_info.ref_name) } else { key }
}

fn main_key(job: &Execution, cache: &Cache) -> Option<Key> {
    sound(job, &cache_key(job, cache))
}

/// The keys to try, in order.
fn keys(job: &Execution, cache: &Cache) -> Vec<Key> {
    let fallbacks = cache.fallback_keys.iter().map(|key| job.variables.expand(key)).filter(|key| !key.is_empty());
    let last = job.variables.get("CACHE_FALLBACK_KEY");
    let refused = is_protected_fallback(last);
    if refused {
        job.log.caution(&format!("CACHE_FALLBACK_KEY {last} not allowed to end in \"-protected\""));
    }
    let last = (!last.is_empty() && !refused).then(|| last.to_owned());
    std::iter::once(cache_key(job, cache)).chain(fallbacks).chain(last).filter_map(|key| sound(job, &key)).collect()
}

fn sound(job: &Execution, raw: &str) -> Option<Key> {
    let Some(sanitized) = sanitize(raw) else {
        job.log.caution(&format!("cache key \"{raw}\" is empty once sanitized"));
        job.log.info("Skipping cache due to empty cache key");
        return None;
    };
    if sanitized.changed {
        job.log.caution(&format!("cache key \"{raw}\" sanitized to \"{}\"", sanitized.key));
    }
    Key::new(sanitized.key).map_err(|error| job.log.warn(&error.to_string())).ok()
}
