//! `archive_cache`: what the job has made of its caches goes to the store.

use crate::fault::{Fault, causes};
use crate::job::order::saves_caches;
use crate::stage::cache::report;
use crate::stage::{Execution, Project};
use std::path::PathBuf;
use tokio::time::Instant;
use warmstart_cache::store::AnyStore;
use warmstart_cache::{Error, Key, SaveOptions, Saved, Selection};
use warmstart_gitlab::payload::Cache;

/// Saves every cache that fits the job's result. Only a policy that nobody knows is a failure.
pub async fn save(job: &Execution, success: bool) -> Result<(), Fault> {
    let source = job.cache_source();
    source.check_policies(source.caches().filter(|cache| cache.when.fits(success)))?;
    if !saves_caches(&job.order.job, success) {
        return Ok(());
    }
    let (name, headline) = if success {
        ("archive_cache", "Saving cache for successful job")
    } else {
        ("archive_cache_on_failure", "Saving cache for failed job")
    };
    job.log.section(name, headline, save_all(job, success)).await;
    Ok(())
}

async fn save_all(job: &Execution, success: bool) {
    let Some(project) = job.ready_for_caches().await else { return };
    let Ok(store) = job.caches.store().await else { return };
    let source = job.cache_source();
    for cache in source.caches().filter(|cache| cache.when.fits(success)) {
        let kept = source.kept(cache);
        kept.notes.write(&job.log);
        match kept.key {
            Some(key) if kept.push => save_one(job, &store, &project, cache, &key).await,
            Some(key) => job.log.info(&format!("Not uploading cache {key} due to policy")),
            None => {}
        }
    }
}

async fn save_one(job: &Execution, store: &AnyStore, project: &Project, cache: &Cache, key: &Key) {
    job.log.info(&format!("Creating cache {key}..."));
    let start = Instant::now();
    match send(job, store, project, cache, key).await {
        Ok(saved) => {
            saved.warnings.iter().for_each(|warning| job.log.warn(warning));
            saved.reason.iter().for_each(|reason| job.log.print(reason));
            if saved.saved {
                job.log.info("Created cache");
                job.log.print(&report::saved(&saved, start.elapsed()));
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

async fn send(job: &Execution, store: &AnyStore, project: &Project, cache: &Cache, key: &Key) -> Result<Saved, Error> {
    let selection = Selection {
        paths: cache.paths.iter().map(|path| job.expand_path(path)).collect(),
        untracked: untracked(job, cache).await,
    };
    let (deadline, records) = (job.settings.cache_request_timeout, job.caches.records());
    let options = SaveOptions { deadline, records, ..SaveOptions::default() };
    let scope = job.caches.scope(key)?;
    Box::pin(warmstart_cache::save(store, &scope, key, &project.path, &selection, &options)).await
}

async fn untracked(job: &Execution, cache: &Cache) -> Vec<PathBuf> {
    if cache.untracked { job.untracked().await.unwrap_or_default() } else { Vec::new() }
}
