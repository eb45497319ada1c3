//! Doing what was planned, in an order that leaves a valid scope wherever it ends.

use std::{collections::VecDeque, time::SystemTime};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{CONNECTIONS, CollectedScope, Run, Version, plan::Rules, survey::Survey};
use crate::{
    error::Error,
    reference::{self, Reference},
    store::Store,
};

/// What became of an object that was to be removed.
enum Fared {
    Removed(u64),
    /// It is in use again.
    Younger(u64),
}

impl<S: Store> Run<'_, S> {
    pub(super) async fn apply(&self, survey: &Survey, done: &mut CollectedScope) -> Result<(), Error> {
        let Survey { now, versions, plan } = survey;
        done.waiting = plan.waiting;
        let objects = || plan.manifests.iter().chain(&plan.packs);
        let refs = plan.refs.iter().map(|at| versions[*at].stored.size);
        self.options.progress.begin(refs.clone().chain(objects().map(|(_, size)| *size)).sum());
        self.end(plan.ends.iter().map(|at| &versions[*at]), done).await?;
        if self.options.dry_run {
            refs.chain(objects().map(|(_, size)| *size)).for_each(|size| self.count(done, &Fared::Removed(size)));
            return Ok(());
        }
        self.remove_refs(plan.refs.iter().map(|at| &versions[*at]), done).await?;
        // What a ref reaches goes after the ref, and what a manifest reaches after the manifest.
        self.remove_objects(&plan.manifests, *now, done).await?;
        self.remove_objects(&plan.packs, *now, done).await
    }

    /// Writes tombstones.
    async fn end(&self, newest: impl Iterator<Item = &Version>, done: &mut CollectedScope) -> Result<(), Error> {
        for version in newest {
            let Some(name) = reference::name_of_end(&version.name) else {
                done.warnings.push(format!("{}: no tombstone fits before it, it stays", version.name));
                continue;
            };
            self.deadline.check("end a key")?;
            if !self.options.dry_run {
                let tombstone = Reference::tombstone(self.scope, &version.key);
                tombstone.put_as(&name, self.store, &self.deadline).await?;
            }
            done.ended += 1;
        }
        Ok(())
    }

    /// Removes refs, those of a key one after the other from the oldest on: a tombstone goes last.
    async fn remove_refs(
        &self,
        doomed: impl DoubleEndedIterator<Item = &Version>,
        done: &mut CollectedScope,
    ) -> Result<(), Error> {
        let mut keys: Vec<VecDeque<&Version>> = Vec::new();
        for version in doomed.rev() {
            match keys.last_mut() {
                Some(key) if key[0].key == version.key => key.push_back(version),
                _ => keys.push(VecDeque::from([version])),
            }
        }
        while !keys.is_empty() {
            let oldest: Vec<_> = keys.iter_mut().filter_map(VecDeque::pop_front).collect();
            let removals = stream::iter(oldest).map(|version| self.delete(&version.name, version.stored.size));
            let mut removals = removals.buffer_unordered(CONNECTIONS);
            while let Some(fared) = removals.try_next().await? {
                self.count(done, &fared);
            }
            keys.retain(|key| !key.is_empty());
        }
        Ok(())
    }

    async fn remove_objects(
        &self,
        doomed: &[(String, u64)],
        now: SystemTime,
        done: &mut CollectedScope,
    ) -> Result<(), Error> {
        let removals = stream::iter(doomed).map(|(name, size)| self.remove_if_old(name, *size, now));
        let mut removals = removals.buffer_unordered(CONNECTIONS);
        while let Some(fared) = removals.try_next().await? {
            self.count(done, &fared);
        }
        Ok(())
    }

    /// Removes an object, unless a save has written or touched it since it was listed.
    async fn remove_if_old(&self, name: &str, size: u64, now: SystemTime) -> Result<Fared, Error> {
        let rules = Rules { policy: self.policy, now, grace: self.options.grace };
        let found = self.deadline.within("look at an object's age", self.store.get(name, Some(0..1))).await?;
        match found.map(|object| object.modified) {
            None => Ok(Fared::Removed(size)),
            Some(Some(modified)) if rules.is_settled(modified) => self.delete(name, size).await,
            Some(_) => Ok(Fared::Younger(size)),
        }
    }

    async fn delete(&self, name: &str, size: u64) -> Result<Fared, Error> {
        self.deadline.check("collect")?;
        self.deadline.within("remove an object", self.store.delete(name)).await.map(|()| Fared::Removed(size))
    }

    fn count(&self, done: &mut CollectedScope, fared: &Fared) {
        match *fared {
            Fared::Younger(size) => done.waiting.add(size),
            Fared::Removed(size) => {
                self.options.progress.add(size);
                done.removed.add(size);
                done.kept.objects = done.kept.objects.saturating_sub(1);
                done.kept.bytes = done.kept.bytes.saturating_sub(size);
            }
        }
    }
}
