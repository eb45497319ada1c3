//! What a scope holds.

use std::time::Duration;

use serde::Serialize;

use crate::{deadline::Deadline, error::Error, reference, scope::Scope, store::Store};

/// Refs asked for at a time.
const PAGE: usize = 1000;

/// A key's newest cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cached {
    /// The key.
    pub key: String,
    /// When it was saved, in RFC 3339, by the writer's clock.
    pub created: String,
    /// Files, links included, directories not.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The digest of the manifest: the same content has the same.
    pub manifest: String,
}

/// Everything in a scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// One per key, in the order of the keys' object names.
    pub caches: Vec<Cached>,
    /// Refs that cannot be read, one line each.
    pub warnings: Vec<String>,
}

/// Lists the newest cache of every key in a scope; keys that were ended are left out.
pub async fn list<S: Store>(store: &S, scope: &Scope, limit: Duration) -> Result<Listing, Error> {
    let (deadline, prefix, mut listing) = (Deadline::after(limit), scope.all_refs(), Listing::default());
    let mut after = String::new();
    loop {
        let page = deadline.within("list the caches", store.list(&prefix, &after, PAGE)).await?;
        for entry in &page {
            if key_of(&entry.key) == key_of(&after) {
                continue;
            }
            match cached(store, scope, &entry.key, &deadline).await {
                Ok(cached) => listing.caches.extend(cached),
                Err(error @ Error::Damaged { .. }) => listing.warnings.push(error.to_string()),
                Err(error) => return Err(error),
            }
            after.clone_from(&entry.key);
        }
        if page.len() < PAGE {
            return Ok(listing);
        }
        // Behind all refs of the last key: their own names are digits and dashes, `~` comes after those.
        after = format!("{}/~", key_of(&after));
    }
}

fn key_of(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(key, _)| key)
}

async fn cached<S: Store>(store: &S, scope: &Scope, name: &str, deadline: &Deadline) -> Result<Option<Cached>, Error> {
    let found = reference::read(store, name, deadline).await?;
    if found.scope != *scope || !name.starts_with(&scope.refs(&found.key)) {
        return Err(Error::damaged(name, format!("is the ref of {} in {}", found.key, found.scope)));
    }
    let manifest = found.manifest().map_err(|reason| Error::damaged(name, reason))?;
    Ok(manifest.map(|manifest| Cached {
        key: found.key.to_string(),
        created: found.created().map_or_else(String::new, |time| time.to_string()),
        files: found.files,
        bytes: found.bytes,
        manifest: manifest.to_string(),
    }))
}
