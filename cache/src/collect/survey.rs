//! Looking at a scope: everything the plan depends on is read here, and anything odd ends it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::{Mutex, Semaphore};

use super::{
    CONNECTIONS, CollectedScope, Inventory, Run, Version,
    plan::{Fate, Plan, Reach, Rules, fates, plan},
};
use crate::{deadline::blocking, digest::Digest, error::Error, manifest::Manifest, options::Limits, store::Store};

/// Bytes of stored manifests in memory at a time, in KiB; a larger one comes alone.
const MEMORY: u32 = 64 << 10;

/// What was seen, and what follows from it.
pub(super) struct Survey {
    /// By the store's clock.
    pub(super) now: SystemTime,
    pub(super) versions: Vec<Version>,
    pub(super) plan: Plan,
}

impl<S: Store> Run<'_, S> {
    /// Looks at the scope and plans; `None` if another collection removed what this one keeps: look again.
    pub(super) async fn survey(&self, done: &mut CollectedScope) -> Result<Option<Survey>, Error> {
        let inventory = Inventory::list(self.store, self.scope, &self.deadline).await?;
        (done.kept, done.warnings) = (inventory.total(), warnings(&inventory));
        if inventory.objects().any(|stored| stored.modified <= SystemTime::UNIX_EPOCH) {
            return Err(Error::damaged(self.scope.prefix(), "the store does not say when its objects were written"));
        }
        if inventory.objects().next().is_none() {
            return Ok(Some(Survey { now: SystemTime::UNIX_EPOCH, versions: Vec::new(), plan: Plan::default() }));
        }
        let rules = Rules { policy: self.policy, now: self.now().await?, grace: self.options.grace };
        let versions = self.versions(&inventory).await?;
        let Some(reach) = self.reach(&inventory, &versions, &rules).await? else { return Ok(None) };
        let plan = plan(self.scope, &inventory, &versions, &reach, &rules);
        Ok(Some(Survey { now: rules.now, versions, plan }))
    }

    /// Gives the store's time: that of an object written now. A dry run writes none.
    async fn now(&self) -> Result<SystemTime, Error> {
        if self.options.dry_run {
            return Ok(SystemTime::now());
        }
        let name = format!("{}clocks/{:016x}", self.scope.prefix(), rand::random::<u64>());
        let written = self.store.put(&name, Bytes::from_static(b"What time is it?\n"));
        self.deadline.within("learn the store's time", written).await?;
        let object = self.deadline.within("learn the store's time", self.store.get(&name, Some(0..1))).await?;
        self.deadline.within("remove the clock", self.store.delete(&name)).await?;
        let time = object.and_then(|object| object.modified);
        time.ok_or_else(|| Error::damaged(name, "the store does not say when it was written"))
    }

    /// Reads all refs. One that is gone by now was removed by another collection; to plan as if it had never been
    /// there keeps more, never less: what it superseded looks younger, and its key has a version less.
    async fn versions(&self, inventory: &Inventory) -> Result<Vec<Version>, Error> {
        let read = stream::iter(&inventory.refs)
            .map(|(name, stored)| Version::read(self.store, self.scope, (name, *stored), &self.deadline));
        read.buffered(CONNECTIONS).try_filter_map(async |version| Ok(version)).try_collect().await
    }

    /// Reads the manifests of all refs that may stay; `None` if such a ref is gone by now.
    async fn reach(
        &self,
        inventory: &Inventory,
        versions: &[Version],
        rules: &Rules<'_>,
    ) -> Result<Option<Reach>, Error> {
        let mut needed: BTreeMap<Digest, &Version> = BTreeMap::new();
        for (version, fate) in versions.iter().zip(fates(versions, rules)) {
            if let (Some(manifest), true) = (version.manifest, fate != Fate::Remove) {
                needed.insert(manifest, version);
            }
        }
        let (memory, decoding) = (Semaphore::new(MEMORY as usize), Mutex::new(()));
        let read = stream::iter(needed).map(|(digest, version)| {
            let (memory, decoding) = (&memory, &decoding);
            async move {
                let size = inventory.manifests.get(&digest).map_or(0, |stored| stored.size >> 10);
                let _room = memory.acquire_many(u32::try_from(size).unwrap_or(MEMORY).min(MEMORY)).await;
                let packs = self.packs(&digest, version, decoding).await?;
                Ok(packs.map(|mut packs| {
                    packs.retain(|pack| inventory.packs.contains_key(pack));
                    (digest, packs)
                }))
            }
        });
        read.buffer_unordered(CONNECTIONS).try_collect::<Vec<_>>().await.map(|all| all.into_iter().collect())
    }

    /// Gives the packs of a manifest; `None` if it is gone and so is its ref.
    async fn packs(
        &self,
        digest: &Digest,
        version: &Version,
        decoding: &Mutex<()>,
    ) -> Result<Option<BTreeSet<Digest>>, Error> {
        let name = self.scope.manifest(digest);
        let Some(stored) = Manifest::fetch(self.store, self.scope, digest, &self.deadline).await? else {
            let there = self.deadline.within("look for a ref", self.store.get(&version.name, Some(0..1))).await?;
            return if there.is_some() { Err(Error::damaged(name, "is missing")) } else { Ok(None) };
        };
        // One at a time: a small object may become a large manifest.
        let _alone = decoding.lock().await;
        let manifest = blocking(move || Manifest::open(&name, &stored, Limits::NONE)).await?;
        Ok(Some(manifest.packs.iter().map(|pack| pack.digest).collect()))
    }
}

fn warnings(inventory: &Inventory) -> Vec<String> {
    let unknown = inventory.unknown.iter().take(10);
    unknown.map(|name| format!("{name}: is no object of this version's and is left alone")).collect()
}
