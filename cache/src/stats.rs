//! What a scope costs and what that saves.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use crate::{
    deadline::Deadline,
    digest::Digest,
    error::Error,
    manifest::Manifest,
    options::Limits,
    reference::{self, CONNECTIONS},
    scope::Scope,
    store::{Entry, Store, list_all},
};

/// A scope in figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// The scope.
    pub scope: String,
    /// Keys that have a cache.
    pub keys: u64,
    /// Versions of all keys that the store still has, without removals.
    pub versions: u64,
    /// Objects in the store.
    pub objects: u64,
    /// Bytes of all objects.
    pub stored: u64,
    /// Files of all versions together.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Bytes of those files for each byte of content that is kept; 0 without content.
    pub deduplication: f64,
    /// Bytes of content for each byte that it is stored in; 0 without content.
    pub compression: f64,
    /// What cannot be read and is not counted, one line each.
    pub warnings: Vec<String>,
}

/// Adds up a scope. Reads every ref and every manifest, and no pack.
pub async fn stats<S: Store>(store: &S, scope: &Scope, limit: Duration) -> Result<Stats, Error> {
    let deadline = Deadline::after(limit);
    let objects = deadline.within("list the objects", list_all(store, &scope.prefix())).await?;
    let mut stats = Stats {
        scope: scope.to_string(),
        objects: objects.len() as u64,
        stored: objects.iter().map(|object| object.size).sum(),
        ..Stats::default()
    };
    let manifests = stats.count_refs(store, scope, objects, &deadline).await?;
    stats.count_frames(store, scope, manifests, &deadline).await?;
    Ok(stats)
}

impl Stats {
    /// Counts keys and versions; gives the manifests that are in use.
    async fn count_refs<S: Store>(
        &mut self,
        store: &S,
        scope: &Scope,
        objects: Vec<Entry>,
        deadline: &Deadline,
    ) -> Result<BTreeSet<Digest>, Error> {
        let prefix = scope.all_refs();
        let names = objects.into_iter().map(|object| object.key).filter(|name| name.starts_with(&prefix));
        let mut refs =
            stream::iter(names).map(|name| reference::read_in(store, scope, name, deadline)).buffered(CONNECTIONS);
        let (mut manifests, mut last) = (BTreeSet::new(), None);
        while let Some(found) = refs.next().await {
            let (reference, manifest) = match found {
                Ok(found) => found,
                Err(error) => {
                    self.warn(error)?;
                    continue;
                }
            };
            // The newest ref of a key comes first.
            let newest = last.as_ref() != Some(&reference.key);
            if let Some(manifest) = manifest {
                self.keys += u64::from(newest);
                self.versions += 1;
                self.files += reference.files;
                self.bytes += reference.bytes;
                manifests.insert(manifest);
            }
            last = Some(reference.key);
        }
        Ok(manifests)
    }

    /// Counts content once, however many versions have it.
    async fn count_frames<S: Store>(
        &mut self,
        store: &S,
        scope: &Scope,
        manifests: BTreeSet<Digest>,
        deadline: &Deadline,
    ) -> Result<(), Error> {
        let limits = Limits { bytes: u64::MAX, ..Limits::default() };
        let mut frames = HashMap::new();
        // One after the other: a manifest may be large.
        for digest in manifests {
            match Manifest::load(store, scope, &digest, limits, deadline).await {
                Ok(manifest) => {
                    for frame in &manifest.frames {
                        let place = (manifest.packs[frame.pack as usize].digest, frame.offset);
                        frames.insert(place, (u64::from(frame.raw), u64::from(frame.size)));
                    }
                }
                Err(error) => self.warn(error)?,
            }
        }
        let (raw, stored) = frames.values().fold((0, 0), |sum, frame| (sum.0 + frame.0, sum.1 + frame.1));
        (self.deduplication, self.compression) = (ratio(self.bytes, raw), ratio(raw, stored));
        Ok(())
    }

    fn warn(&mut self, error: Error) -> Result<(), Error> {
        match error {
            Error::Damaged { .. } => {
                self.warnings.push(error.to_string());
                Ok(())
            }
            error => Err(error),
        }
    }
}

/// Rounded to hundredths.
#[expect(clippy::cast_precision_loss, reason = "a ratio of bytes needs no more digits")]
fn ratio(one: u64, other: u64) -> f64 {
    if other == 0 { 0.0 } else { (one as f64 / other as f64 * 100.0).round() / 100.0 }
}
