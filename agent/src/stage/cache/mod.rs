//! `restore_cache` and `archive_cache` (protocol §5). A cache never fails a job, only a
//! policy that nobody knows does.
//!
//! Restoring begins with the job: the caches are fetched while images come and git works, and only renamed into
//! place in their stage.

pub mod ahead;
pub mod notes;
pub mod report;
pub mod restore;
pub mod save;
pub mod stoppable;
pub mod wanted;

pub use ahead::Caches;
pub use restore::restore;
pub use save::save;

use crate::stage::Execution;
use wanted::Source;
use warmstart_api::assignment::CacheStore;
use warmstart_cache::store::Credentials;
use warmstart_gitlab::payload::Cache;

impl Execution {
    /// Where the keys of the job's caches come from.
    #[must_use]
    pub fn cache_source(&self) -> Source<'_> {
        Source { job: &self.order.job, variables: &self.variables }
    }
}

/// The cache's key as text: `<job name>/<ref>` when the job gives none.
#[must_use]
pub fn cache_key(job: &Execution, cache: &Cache) -> String {
    job.cache_source().key(cache)
}

/// What opens the store, where the assignment says it.
#[must_use]
pub fn credentials(store: &CacheStore) -> Option<Credentials> {
    store.credentials.as_ref().map(|own| Credentials {
        access_key_id: own.access_key_id.clone(),
        secret_access_key: own.secret_access_key.expose().to_owned(),
        session_token: own.session_token.as_ref().map(|token| token.expose().to_owned()),
        region: (!own.region.is_empty()).then(|| own.region.clone()),
        endpoint: own.endpoint.clone(),
    })
}
