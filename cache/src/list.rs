//! What a scope holds.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use crate::{
    deadline::Deadline,
    digest::Digest,
    error::Error,
    reference::{self, CONNECTIONS, Reference},
    scope::Scope,
    store::Store,
};

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
    let deadline = Deadline::after(limit);
    let names = reference::newest_of_each(store, &scope.all_refs(), &deadline).await?;
    let mut refs =
        stream::iter(names).map(|name| reference::read_in(store, scope, name, &deadline)).buffered(CONNECTIONS);
    let mut listing = Listing::default();
    while let Some(found) = refs.next().await {
        match found {
            Ok((reference, manifest)) => listing.caches.extend(manifest.map(|digest| cached(&reference, digest))),
            Err(error @ Error::Damaged { .. }) => listing.warnings.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(listing)
}

fn cached(reference: &Reference, manifest: Digest) -> Cached {
    Cached {
        key: reference.key.to_string(),
        created: reference.created().map_or_else(String::new, |time| time.to_string()),
        files: reference.files,
        bytes: reference.bytes,
        manifest: manifest.to_string(),
    }
}
