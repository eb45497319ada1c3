//! Reading manifests: first to find out which are sound and who uses what, later again for what they say of packs.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Check, Damage, Hurt, VerifiedScope, amount, claims::Claims, hurt, is_newest};
use crate::{
    collect::{Inventory, Version},
    deadline::blocking,
    digest::Digest,
    error::Error,
    manifest::Manifest,
    options::Limits,
    store::Store,
};

/// Manifests on their way at a time; each is at most as large as the format allows.
const MANIFESTS: usize = 2;

/// Who uses what. Only sound manifests that a ref names are in it.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// For each manifest the caches that it is.
    pub(super) manifests: BTreeMap<Digest, Vec<Hurt>>,
    /// For each pack the manifests that use it.
    pub(super) packs: BTreeMap<Digest, BTreeSet<Digest>>,
}

impl Uses {
    pub(super) fn hurt_by_pack(&self, pack: &Digest) -> Vec<Hurt> {
        let manifests = self.packs.get(pack).into_iter().flatten();
        manifests.filter_map(|manifest| self.manifests.get(manifest)).flatten().cloned().collect()
    }
}

impl<S: Store> Check<'_, S> {
    /// Reads all manifests that there are or should be.
    pub(super) async fn manifests(
        &self,
        inventory: &Inventory,
        versions: &[Version],
        done: &mut VerifiedScope,
    ) -> Result<Uses, Error> {
        let mut named: BTreeMap<Digest, Vec<Hurt>> = BTreeMap::new();
        for version in versions {
            let hurt = || hurt(&version.name, Some(version), is_newest(&version.name, &inventory.refs));
            version.manifest.into_iter().for_each(|manifest| named.entry(manifest).or_default().push(hurt()));
        }
        let unnamed = inventory.manifests.iter().filter(|(digest, _)| !named.contains_key(digest));
        done.unreferenced += amount(unnamed.map(|(_, stored)| stored));
        let all: BTreeSet<_> = inventory.manifests.keys().chain(named.keys()).copied().collect();
        let mut uses = Uses::default();
        let mut reading = stream::iter(all).map(|digest| self.read(digest)).buffer_unordered(MANIFESTS);
        while let Some((digest, read)) = reading.next().await {
            let hurts = named.remove(&digest);
            let damaged =
                |object, reason, missing| Damage { object, reason, hurts: hurts.clone().unwrap_or_default(), missing };
            match read {
                Ok(Some((manifest, size))) => {
                    self.options.progress.add(size);
                    done.manifests.add(size);
                    if let Some(hurts) = hurts {
                        uses.manifests.insert(digest, hurts);
                        for pack in &manifest.packs {
                            uses.packs.entry(pack.digest).or_default().insert(digest);
                        }
                    }
                }
                Ok(None) => done.damage.push(damaged(self.scope.manifest(&digest), "is missing".to_owned(), true)),
                Err(Error::Damaged { object, reason }) => done.damage.push(damaged(object, reason, false)),
                Err(error) => return Err(error),
            }
        }
        Ok(uses)
    }

    /// Reads what sound manifests say of the packs from `first` on.
    pub(super) async fn claims(&self, uses: &Uses, first: Digest) -> Result<Claims, Error> {
        let mut reading =
            stream::iter(uses.manifests.keys()).map(|digest| self.load(*digest)).buffer_unordered(MANIFESTS);
        let mut claims = Claims::from(first);
        while let Some(manifest) = reading.try_next().await? {
            let Some(manifest) = manifest else { continue };
            claims = blocking(move || {
                claims.add(&manifest);
                Ok(claims)
            })
            .await?;
        }
        Ok(claims)
    }

    async fn read(&self, digest: Digest) -> (Digest, Result<Option<(Manifest, u64)>, Error>) {
        (digest, self.try_read(&digest).await)
    }

    async fn try_read(&self, digest: &Digest) -> Result<Option<(Manifest, u64)>, Error> {
        let name = self.scope.manifest(digest);
        let Some(stored) = Manifest::fetch(self.store, self.scope, digest, &self.deadline).await? else {
            return Ok(None);
        };
        let size = stored.len() as u64;
        blocking(move || Manifest::open(&name, &stored, Limits::NONE)).await.map(|manifest| Some((manifest, size)))
    }

    /// Reads a manifest that was sound before; `None` if it is no longer, or gone.
    pub(super) async fn load(&self, digest: Digest) -> Result<Option<Manifest>, Error> {
        match self.try_read(&digest).await {
            Ok(read) => Ok(read.map(|(manifest, _)| manifest)),
            Err(Error::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
