//! The end of a key.

use std::time::Duration;

use serde::Serialize;

use crate::{
    deadline::Deadline,
    error::Error,
    reference::{self, Reference},
    scope::{Key, Scope},
    store::Store,
};

/// What a removal came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Whether there was a cache of the key, and now there is none.
    pub removed: bool,
    /// The key.
    pub key: String,
    /// Files of the cache that was removed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why there was nothing to remove; one line.
    pub reason: Option<String>,
}

/// Ends a key: from now on it is a miss, until the next save. Nothing is deleted, so a restore under way goes on;
/// a collection does that later. A key that has no cache is fine.
pub async fn remove<S: Store>(store: &S, scope: &Scope, key: &Key, limit: Duration) -> Result<Removed, Error> {
    scope.admit(key)?;
    let deadline = Deadline::after(limit);
    let mut removed = Removed { key: key.to_string(), ..Removed::default() };
    match reference::newest(store, scope, key, &deadline).await {
        Ok(None) => {
            removed.reason = Some(format!("no cache for {key}"));
            return Ok(removed);
        }
        Ok(Some((newest, _))) => (removed.files, removed.bytes) = (newest.files, newest.bytes),
        // What is damaged can be removed as well.
        Err(Error::Damaged { .. }) => {}
        Err(error) => return Err(error),
    }
    Reference::tombstone(scope, key).put(store, &deadline).await?;
    removed.removed = true;
    Ok(removed)
}
