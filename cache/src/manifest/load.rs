//! Manifests from the store.

use bytes::Bytes;

use super::{MAX_STORED, Manifest, Totals};
use crate::{
    deadline::{Deadline, blocking},
    digest::Digest,
    error::Error,
    options::Limits,
    scope::Scope,
    store::Store,
};

impl Manifest {
    /// Reads the manifest of this digest and checks it completely; more than the limits is an error.
    pub(crate) async fn load<S: Store>(
        store: &S,
        scope: &Scope,
        digest: &Digest,
        limits: Limits,
        deadline: &Deadline,
    ) -> Result<Self, Error> {
        let name = scope.manifest(digest);
        let stored = Self::fetch(store, scope, digest, deadline).await?;
        let stored = stored.ok_or_else(|| Error::damaged(&name, "is missing"))?;
        blocking(move || Self::open(&name, &stored, limits)).await
    }

    /// Reads the object of this manifest and checks its digest; `None` if there is none.
    pub(crate) async fn fetch<S: Store>(
        store: &S,
        scope: &Scope,
        digest: &Digest,
        deadline: &Deadline,
    ) -> Result<Option<Bytes>, Error> {
        let (name, digest) = (scope.manifest(digest), *digest);
        let object = deadline.within("read the manifest", store.get(&name, Some(0..MAX_STORED + 1))).await?;
        let Some(bytes) = object.map(|object| object.bytes) else { return Ok(None) };
        if bytes.len() as u64 > MAX_STORED {
            return Err(Error::damaged(name, "is too large for a manifest"));
        }
        blocking(move || {
            let whole = Digest::of(&bytes) == digest;
            if whole { Ok(Some(bytes)) } else { Err(Error::damaged(name, "does not have the content of its name")) }
        })
        .await
    }

    /// Reads what [`Self::fetch`] gave.
    pub(crate) fn open(name: &str, stored: &Bytes, limits: Limits) -> Result<Self, Error> {
        Self::decode(stored, |totals| allow(totals, limits)).map_err(|reason| Error::damaged(name, reason))
    }
}

fn allow(totals: Totals, limits: Limits) -> Result<(), String> {
    for (what, has, limit) in [("bytes", totals.bytes, limits.bytes), ("entries", totals.entries, limits.entries)] {
        if has > limit {
            return Err(format!("has {has} {what}, over the limit of {limit}"));
        }
    }
    Ok(())
}
