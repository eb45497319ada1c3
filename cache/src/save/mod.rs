//! From a directory into the store.

mod read;
mod upload;

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use crate::{
    confined::Root,
    deadline::{Deadline, blocking},
    digest::Digest,
    error::Error,
    manifest::{self, Manifest, Pack},
    options::{Limits, SaveOptions, Saved, Selection},
    reference::Reference,
    restore::staging,
    scope::{Key, Scope},
    select::{Selected, select},
    stat_record::StatRecord,
    store::Store,
};

/// A save that changes nothing writes a new ref only when the old one is this old, so that it stays in use.
const REFRESH: i64 = 24 * 60 * 60;

/// Saves what `selection` names in `directory` under `key`. Nothing there is a [`Saved`] that did not save and has
/// a reason; trouble with the store is an error, which should fail no job. `directory` itself is trusted, as in
/// [`crate::restore()`].
///
/// 1. Select the paths.
/// 2. Read the manifest that was restored before; its chunks are known.
/// 3. Read the files, cut them, put new chunks into packs and send these, all at the same time.
/// 4. Check that the packs of the earlier manifest are still there, else begin again without it.
/// 5. Send the manifest, then the ref. Only the ref makes any of it visible.
pub async fn save<S: Store>(
    store: &S,
    scope: &Scope,
    key: &Key,
    directory: &Path,
    selection: &Selection,
    options: &SaveOptions,
) -> Result<Saved, Error> {
    scope.admit(key)?;
    let deadline = Deadline::after(options.deadline);
    let root = Root::open(directory).map_err(|error| Error::file("open the directory", directory, error))?;
    let job = Job { store, scope, key, root: Arc::new(root), options, deadline };
    let mut selected = job.select(directory, selection).await?;
    let mut saved = Saved { key: key.to_string(), ..Saved::default() };
    saved.warnings.append(&mut selected.warnings);
    if selected.entries.is_empty() {
        saved.reason = Some("nothing to save: no path has matching files".into());
        return Ok(saved);
    }
    Box::pin(job.save(Arc::new(selected), saved)).await
}

/// One save.
struct Job<'a, S> {
    store: &'a S,
    scope: &'a Scope,
    key: &'a Key,
    root: Arc<Root>,
    options: &'a SaveOptions,
    deadline: Deadline,
}

impl<S: Store> Job<'_, S> {
    async fn select(&self, directory: &Path, selection: &Selection) -> Result<Selected, Error> {
        let (root, directory, selection) = (self.root.clone(), directory.to_owned(), selection.clone());
        let Limits { entries, bytes } = self.options.limits;
        blocking(move || {
            staging::remove_leftovers(&root);
            let selected = select(&root, &directory, &selection, entries)?;
            let total = selected.entries.values().fold(0_u64, |sum, meta| sum.saturating_add(meta.file_size()));
            if total > bytes {
                return Err(Error::Limit { what: format!("cache of {total} bytes"), limit: bytes });
            }
            Ok(selected)
        })
        .await
    }

    async fn save(&self, selected: Arc<Selected>, mut saved: Saved) -> Result<Saved, Error> {
        let record = self.options.records.as_ref().and_then(|records| records.load(self.scope, self.key, &self.root));
        let base = self.base(record.as_ref(), &mut saved.warnings).await;
        let mut sent = self.send(&selected, base.clone()).await?;
        if !self.packs_are_there(&sent.manifest, &base).await? {
            saved.sent += sent.bytes;
            sent = self.send(&selected, Arc::default()).await?;
        }
        let totals = sent.manifest.totals();
        (saved.files, saved.bytes) = (totals.files, totals.bytes);
        saved.sent += sent.bytes;
        saved.warnings.append(&mut sent.warnings);
        if sent.manifest.is_empty() {
            saved.reason = Some("nothing to save: no file could be read".into());
            return Ok(saved);
        }
        let encoded = encode(&sent.manifest)?;
        let digest = Digest::of(&encoded);
        saved.saved = true;
        if record.is_some_and(|record| self.is_current(&record, &digest)) {
            saved.reason = Some("nothing changed since it was restored".into());
            return Ok(saved);
        }
        saved.sent += encoded.len() as u64;
        self.deadline.within("send the manifest", self.store.put(&self.scope.manifest(&digest), encoded)).await?;
        Reference::new(self.scope, self.key, &digest, &totals).put(self.store, &self.deadline).await?;
        Ok(saved)
    }

    /// Reads the manifest whose chunks need not be sent; an empty one where there is none that can be used.
    async fn base(&self, record: Option<&StatRecord>, warnings: &mut Vec<String>) -> Arc<Manifest> {
        let Some(record) = record else { return Arc::default() };
        match Manifest::load(self.store, self.scope, &record.manifest, self.options.limits, &self.deadline).await {
            Ok(manifest) => Arc::new(manifest),
            Err(error) => {
                warnings.push(format!("everything is sent again: {error}"));
                Arc::default()
            }
        }
    }

    async fn send(&self, selected: &Arc<Selected>, base: Arc<Manifest>) -> Result<upload::Sent, Error> {
        let reader = read::Reader {
            root: self.root.clone(),
            selected: selected.clone(),
            deadline: self.deadline,
            progress: self.options.progress.clone(),
        };
        upload::send(self.store, self.scope, reader, base, self.deadline).await
    }

    /// Whether every pack that was taken over from `base` is there and has its size: somebody may have removed it.
    async fn packs_are_there(&self, manifest: &Manifest, base: &Manifest) -> Result<bool, Error> {
        let reused: Vec<_> = manifest.packs.iter().filter(|pack| base.packs.contains(pack)).copied().collect();
        let found = stream::iter(reused).map(|pack| self.pack_is_there(pack)).buffer_unordered(upload::CONNECTIONS);
        found.try_fold(true, async |all, found| Ok(all && found)).await
    }

    /// Asks for the last byte and one more: one byte comes only from an object of just this size.
    async fn pack_is_there(&self, pack: Pack) -> Result<bool, Error> {
        let (name, size) = (self.scope.pack(&pack.digest), u64::from(pack.size));
        let end = self.store.get(&name, Some(size.saturating_sub(1)..size + 1));
        let found = self.deadline.within("look for a pack", end).await?;
        Ok(found.is_some_and(|object| object.bytes.len() == 1))
    }

    /// Whether the key stands for this manifest already, by a ref that is young.
    fn is_current(&self, record: &StatRecord, digest: &Digest) -> bool {
        let young = Timestamp::now().as_second() - record.created < REFRESH;
        record.key == *self.key && record.manifest == *digest && young
    }
}

fn encode(manifest: &Manifest) -> Result<Bytes, Error> {
    let encoded = manifest.encode().map_err(|error| Error::file("encode the", "manifest", error))?;
    if encoded.len() as u64 > manifest::MAX_STORED {
        let what = format!("manifest of {} bytes", encoded.len());
        return Err(Error::Limit { what, limit: manifest::MAX_STORED });
    }
    Ok(encoded.into())
}
