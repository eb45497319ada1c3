//! `restore_cache`: what was fetched comes into the project directory, in the payload's order.

use crate::fault::Fault;
use crate::stage::cache::ahead::Fetched;
use crate::stage::cache::report;
use crate::stage::cache::wanted::Wanted;
use crate::stage::{Attempts, Execution, Project};
use std::sync::Arc;
use tokio::time::Instant;
use warmstart_cache::{Restored, Staged};

/// Restores every cache of the job, in order. Only a policy that nobody knows is a failure.
pub async fn restore(job: &Execution) -> Result<(), Fault> {
    let source = job.cache_source();
    source.check_policies(source.caches())?;
    if !job.caches.wanted().is_empty() {
        job.log.section("restore_cache", "Restoring cache", restore_all(job)).await;
    }
    Ok(())
}

async fn restore_all(job: &Execution) {
    let Some(project) = job.ready_for_caches().await else { return };
    let project = Arc::new(project);
    for wanted in job.caches.wanted() {
        wanted.notes.write(&job.log);
        if !wanted.pull {
            job.log.info(&format!("Not downloading cache {} due to policy", wanted.name));
        } else if !wanted.keys.is_empty() {
            restore_one(job, wanted, &project).await;
        }
    }
}

/// Says of each key that was tried what came of it, as GitLab does.
async fn restore_one(job: &Execution, wanted: &Arc<Wanted>, project: &Arc<Project>) {
    let start = Instant::now();
    job.log.info(&format!("Checking cache for {}...", wanted.keys[0]));
    let mut fetched = job.caches.next(wanted, project).await;
    say_misses(job, &fetched);
    let mut attempts = Attempts::new(&job.log, job.settings.restore_cache_attempts);
    while fetched.found.is_none() && fetched.failed {
        let fault = Fault::System(format!("cannot restore the cache {}", wanted.name));
        if attempts.another(fault).await.is_err() {
            break;
        }
        fetched = job.caches.again(wanted, project).await;
        say_misses(job, &fetched);
    }
    let Some(staged) = fetched.found else { return };
    if !fetched.misses.is_empty() {
        job.log.info(&format!("Checking cache for {}...", staged.restored().key.as_deref().unwrap_or_default()));
    }
    let ready = Instant::now();
    let Some(restored) = commit(job, staged, project).await else { return };
    let spent = fetched.spent + ready.elapsed();
    let is_fallback = restored.key.as_deref() != Some(wanted.keys[0].as_str());
    job.log.print(&report::restored(&restored, is_fallback, spent, start.elapsed()));
}

fn say_misses(job: &Execution, fetched: &Fetched) {
    for (at, (key, why)) in fetched.misses.iter().enumerate() {
        if at > 0 {
            job.log.info(&format!("Checking cache for {key}..."));
        }
        job.log.print(why);
        job.log.caution("Failed to extract cache");
    }
}

async fn commit(job: &Execution, staged: Staged, project: &Arc<Project>) -> Option<Restored> {
    let why = match job.caches.commit(staged, project).await {
        Ok(restored) if restored.hit => {
            restored.warnings.iter().for_each(|warning| job.log.warn(warning));
            job.log.info("Successfully extracted cache");
            return Some(restored);
        }
        Ok(restored) => restored.reason.unwrap_or_default(),
        Err(why) => why,
    };
    job.log.warn(&why);
    job.log.caution("Failed to extract cache");
    None
}

impl Execution {
    /// The project directory, if there is a store; otherwise a line in the log says why there are no caches.
    pub async fn ready_for_caches(&self) -> Option<Project> {
        if self.order.cache.is_none() {
            self.log.warn("No cache store is configured for this runner: caches are not kept");
            return None;
        }
        if let Err(why) = self.caches.store().await {
            self.log.warn(&format!("Caches are not available: {why}"));
            return None;
        }
        let project = self.project();
        let say =
            |error| self.log.warn(&format!("Caches are not available: cannot open the project directory: {error}"));
        project.map_err(say).ok()
    }
}
