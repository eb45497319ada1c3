//! From a directory into the store.

mod assemble;
mod attributes;
mod buffers;
mod frame;
mod pipeline;
mod plan;
mod read;
mod reuse;

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;

use self::{
    assemble::{Tree, assemble},
    attributes::Attributes,
    frame::Framer,
    plan::{Base, Task, batches, is_same, tasks},
    read::Shared,
};
use crate::{
    confined::Root,
    deadline::{Deadline, blocking},
    digest::Digest,
    error::Error,
    manifest::{self, Manifest, Totals},
    options::{Limits, SaveOptions, Saved, Selection},
    reference::{self, Reference},
    restore::staging,
    scope::{Key, Scope},
    select::{Entry, Selected, select},
    stat_record::{Moment, Stat, StatRecord},
    store::Store,
};

/// A save that changes nothing writes a new ref only when the old one is this old, so that it stays in use.
const REFRESH: i64 = 24 * 60 * 60;

/// Saves what `selection` names in `directory` under `key`. Nothing there is a [`Saved`] that did not save and has
/// a reason; trouble with the store is an error, which should fail no job. `directory` itself is trusted, as in
/// [`crate::restore()`].
///
/// 1. Select the paths.
/// 2. Find the record of what was restored or saved before, and its manifest. Files that look as they did need not
///    be read, and no chunk of it need be sent.
/// 3. Read the other files, cut them, put new chunks into packs and send these, all at the same time.
/// 4. Check that the packs of the earlier manifest are still there, else begin again without it.
/// 5. Send the manifest, then the ref. Only the ref makes any of it visible.
/// 6. Check the packs of the earlier manifest once more: the ref protects them only from here on.
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
    let moment = Moment::now().ok();
    let (selected, base) = tokio::join!(job.select(directory, selection), job.base());
    let selected = selected?;
    let mut saved = Saved { key: key.to_string(), warnings: selected.warnings, ..Saved::default() };
    if selected.entries.is_empty() {
        let reason = Some("nothing to save: no path has matching files".into());
        return Ok(Saved { reason, ..saved });
    }
    let base = base.unwrap_or_else(|error| {
        saved.warnings.push(format!("everything is sent again: {error}"));
        None
    });
    Box::pin(job.save(Arc::new(selected.entries), base, saved, moment)).await
}

/// Why nothing is sent.
const UNCHANGED: &str = "nothing changed since it was restored";

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
        let special = self.options.special;
        blocking(move || {
            staging::remove_leftovers(&root);
            let selected = select(&root, &directory, &selection, entries, special)?;
            let total = selected.entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.meta.file_size()));
            if total > bytes {
                return Err(Error::Limit { what: format!("cache of {total} bytes"), limit: bytes });
            }
            Ok(selected)
        })
        .await
    }

    async fn save(
        &self,
        entries: Arc<Vec<Entry>>,
        base: Option<Base>,
        mut saved: Saved,
        moment: Option<Moment>,
    ) -> Result<Saved, Error> {
        let planned = plan(&entries, base.as_ref());
        if let Some(base) = &base
            && self.stands(&entries, &planned, base).await?
        {
            let Totals { files, bytes, .. } = base.manifest.totals();
            return Ok(Saved { saved: true, files, bytes, reason: Some(UNCHANGED.to_owned()), ..saved });
        }
        let mut tree = self.send(&entries, planned, base.as_ref()).await?;
        saved.sent += tree.sent;
        if !self.renew(&tree).await? {
            tree = self.send(&entries, plan(&entries, None), None).await?;
            saved.sent += tree.sent;
        }
        let totals = tree.manifest.totals();
        (saved.files, saved.bytes) = (totals.files, totals.bytes);
        saved.warnings.append(&mut tree.warnings);
        if tree.manifest.is_empty() {
            saved.reason = Some("nothing to save: no file could be read".into());
            return Ok(saved);
        }
        saved.saved = true;
        if let Some(base) = base
            && self.is_current(&base, &tree.manifest)
            && self.has_cache(&base).await
        {
            saved.reason = Some(UNCHANGED.to_owned());
            return Ok(saved);
        }
        let mut digest = self.commit(&tree.manifest, &mut saved).await?;
        if !self.renew(&tree).await? {
            tree = self.send(&entries, plan(&entries, None), None).await?;
            saved.sent += tree.sent;
            digest = self.commit(&tree.manifest, &mut saved).await?;
        }
        self.note(digest, moment, tree.stats);
        Ok(saved)
    }

    /// Finds what this save may lean on.
    async fn base(&self) -> Result<Option<Base>, Error> {
        let Some(records) = self.options.records.clone() else { return Ok(None) };
        let (scope, key, root) = (self.scope.clone(), self.key.clone(), self.root.clone());
        let record = blocking(move || Ok(records.load(&scope, &key, &root))).await?;
        let Some(record) = record else { return Ok(None) };
        let limits = self.options.limits;
        let manifest = Manifest::load(self.store, self.scope, &record.manifest, limits, &self.deadline).await?;
        Ok(Some(Base { record, manifest }))
    }

    /// Sends what the base does not have, as it was planned, and gives the manifest of all entries.
    async fn send(
        &self,
        entries: &Arc<Vec<Entry>>,
        mut planned: Vec<Task>,
        base: Option<&Base>,
    ) -> Result<Tree, Error> {
        let empty = Manifest::default();
        let manifest = base.map_or(&empty, |base| &base.manifest);
        let mut usable = vec![true; manifest.packs.len()];
        // What did not change stays as it is, however it is packed.
        if base.is_some() && planned.contains(&Task::Read) {
            usable = reuse::worth_keeping(manifest);
            planned = tasks(entries, base, &usable);
        }
        let shared = Arc::new(Shared {
            root: self.root.clone(),
            entries: entries.clone(),
            tasks: Arc::new(planned),
            deadline: self.deadline,
            progress: self.options.progress.clone(),
            buffers: Arc::default(),
        });
        let to_read = entries.iter().zip(&*shared.tasks).filter(|(_, task)| **task == Task::Read);
        self.options.progress.begin(to_read.map(|(entry, _)| entry.meta.file_size()).sum());
        let batches = batches(entries, &shared.tasks);
        let (framer, packs) = (Framer::new(manifest, &usable, shared.buffers.clone()), manifest.packs.len());
        let sent = pipeline::send(self.store, self.scope, &shared, batches, framer, packs).await?;
        let attributes = self.attributes(entries).await?;
        Ok(assemble(entries, &shared.tasks, &sent, manifest, &attributes))
    }

    /// Gives the extended attributes of the entries; none at all where nobody asked for them.
    async fn attributes(&self, entries: &Arc<Vec<Entry>>) -> Result<Vec<Attributes>, Error> {
        let (root, entries, special) = (self.root.clone(), entries.clone(), self.options.special);
        if special { blocking(move || Ok(attributes::read(&root, &entries))).await } else { Ok(Vec::new()) }
    }

    /// Whether the packs of the base that the tree leans on are there, and stay.
    async fn renew(&self, tree: &Tree) -> Result<bool, Error> {
        reuse::renew(self.store, self.scope, &tree.reused, &self.deadline).await
    }

    /// Writes the manifest and the ref.
    async fn commit(&self, manifest: &Manifest, saved: &mut Saved) -> Result<Digest, Error> {
        let encoded = encode(manifest)?;
        let digest = Digest::of(&encoded);
        saved.sent += encoded.len() as u64;
        self.deadline.within("send the manifest", self.store.put(&self.scope.manifest(&digest), encoded)).await?;
        Reference::new(self.scope, self.key, &digest, &manifest.totals()).put(self.store, &self.deadline).await?;
        Ok(digest)
    }

    /// Whether the key stands for these entries already, as far as that can be told without reading any, and all of it
    /// is there.
    async fn stands(&self, entries: &[Entry], planned: &[Task], base: &Base) -> Result<bool, Error> {
        if self.options.special || !self.is_young(base) || !is_same(entries, planned, &base.manifest) {
            return Ok(false);
        }
        let there = reuse::renew(self.store, self.scope, &base.manifest.packs, &self.deadline).await?;
        Ok(there && self.has_cache(base).await)
    }

    /// Whether the key stands for this manifest already, by a ref that is young.
    fn is_current(&self, base: &Base, manifest: &Manifest) -> bool {
        self.is_young(base) && base.manifest == *manifest
    }

    /// Whether the key stood for the base lately.
    fn is_young(&self, base: &Base) -> bool {
        base.record.key == *self.key && Timestamp::now().as_second() - base.record.created < REFRESH
    }

    /// Whether the key gives a manifest: the one this save leans on, or that of another save, which stays.
    async fn has_cache(&self, base: &Base) -> bool {
        match reference::newest(self.store, self.scope, self.key, &self.deadline).await {
            Ok(Some((_, digest))) if digest == base.record.manifest => true,
            Ok(Some((_, digest))) => {
                matches!(Manifest::fetch(self.store, self.scope, &digest, &self.deadline).await, Ok(Some(_)))
            }
            Ok(None) | Err(_) => false,
        }
    }

    /// Notes what the files looked like, for the next save.
    fn note(&self, manifest: Digest, moment: Option<Moment>, stats: Vec<Option<Stat>>) {
        let (Some(records), Some(moment)) = (&self.options.records, moment) else { return };
        let record = StatRecord::new(self.scope, self.key, manifest, Timestamp::now(), moment, stats);
        if let Err(error) = records.store(self.key, &self.root, &record) {
            tracing::warn!("what was saved is not noted, the next save reads everything: {error}");
        }
    }
}

/// Gives a task for each entry where every pack of the base may be leaned on.
fn plan(entries: &[Entry], base: Option<&Base>) -> Vec<Task> {
    tasks(entries, base, &vec![true; base.map_or(0, |base| base.manifest.packs.len())])
}

fn encode(manifest: &Manifest) -> Result<Bytes, Error> {
    let encoded = manifest.encode().map_err(|error| Error::file("encode the", "manifest", error))?;
    if encoded.len() as u64 > manifest::MAX_STORED {
        let what = format!("manifest of {} bytes", encoded.len());
        return Err(Error::Limit { what, limit: manifest::MAX_STORED });
    }
    Ok(encoded.into())
}
