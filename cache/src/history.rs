//! What a key has been: its versions, newest first.

use std::{collections::HashMap, time::Duration};

use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use crate::{
    deadline::Deadline,
    digest::Digest,
    error::Error,
    manifest::Manifest,
    options::Limits,
    reference::{self, CONNECTIONS, Reference},
    scope::{Key, Scope},
    store::{Store, list_all},
};

/// A key's content at a time, or its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    /// When it was saved or removed, in RFC 3339, by the writer's clock.
    pub created: String,
    /// Whether the key was removed then.
    pub tombstone: bool,
    /// Files, links included, directories not.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of the packs that hold them, shared with other versions or not; none if the manifest cannot be read.
    pub stored: Option<u64>,
    /// The digest of the manifest: the same content has the same.
    pub manifest: Option<String>,
    /// The program that wrote it.
    pub writer: String,
}

/// All that is left of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct History {
    /// The key.
    pub key: String,
    /// Newest first.
    pub versions: Vec<Version>,
    /// What cannot be read, one line each.
    pub warnings: Vec<String>,
}

/// Lists the versions of a key that the store still has, removals included.
pub async fn history<S: Store>(store: &S, scope: &Scope, key: &Key, limit: Duration) -> Result<History, Error> {
    scope.admit(key)?;
    let deadline = Deadline::after(limit);
    let names = deadline.within("list the versions", list_all(store, &scope.refs(key))).await?;
    let names = names.into_iter().map(|entry| entry.key);
    let mut refs =
        stream::iter(names).map(|name| reference::read_in(store, scope, name, &deadline)).buffered(CONNECTIONS);
    let mut history = History { key: key.to_string(), ..History::default() };
    let mut stored = HashMap::new();
    while let Some(found) = refs.next().await {
        match found {
            Ok((reference, manifest)) => {
                // One after the other: a manifest may be large.
                let stored = match manifest {
                    Some(digest) => packs(store, scope, digest, &mut stored, &mut history.warnings, &deadline).await?,
                    None => None,
                };
                history.versions.push(version(reference, manifest, stored));
            }
            Err(error @ Error::Damaged { .. }) => history.warnings.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(history)
}

fn version(reference: Reference, manifest: Option<Digest>, stored: Option<u64>) -> Version {
    Version {
        created: reference.created().map_or_else(String::new, |time| time.to_string()),
        tombstone: manifest.is_none(),
        files: reference.files,
        bytes: reference.bytes,
        stored,
        manifest: manifest.map(|digest| digest.to_string()),
        writer: reference.writer,
    }
}

/// Adds up the packs of a manifest, once for each.
async fn packs<S: Store>(
    store: &S,
    scope: &Scope,
    digest: Digest,
    known: &mut HashMap<Digest, Option<u64>>,
    warnings: &mut Vec<String>,
    deadline: &Deadline,
) -> Result<Option<u64>, Error> {
    if let Some(known) = known.get(&digest) {
        return Ok(*known);
    }
    let limits = Limits { bytes: u64::MAX, ..Limits::default() };
    let stored = match Manifest::load(store, scope, &digest, limits, deadline).await {
        Ok(manifest) => Some(manifest.packs.iter().map(|pack| u64::from(pack.size)).sum()),
        Err(error @ Error::Damaged { .. }) => {
            warnings.push(error.to_string());
            None
        }
        Err(error) => return Err(error),
    };
    known.insert(digest, stored);
    Ok(stored)
}
