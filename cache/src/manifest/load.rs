//! Manifests from the store.

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
        let (name, digest) = (scope.manifest(digest), *digest);
        let object = deadline.within("read the manifest", store.get(&name, Some(0..MAX_STORED + 1))).await?;
        let bytes = object.ok_or_else(|| Error::damaged(&name, "is missing"))?.bytes;
        if bytes.len() as u64 > MAX_STORED {
            return Err(Error::damaged(name, "is too large for a manifest"));
        }
        blocking(move || {
            if Digest::of(&bytes) != digest {
                return Err(Error::damaged(name, "does not have the content of its name"));
            }
            Self::decode(&bytes, |totals| allow(totals, limits)).map_err(|reason| Error::damaged(name, reason))
        })
        .await
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
