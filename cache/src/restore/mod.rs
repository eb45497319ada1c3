//! From the store into a directory.

mod across;
mod apply;
mod complete;
mod dress;
mod fetch;
mod levels;
mod places;
mod plan;
mod prepare;
mod staged;
pub(crate) mod staging;
mod subset;
mod worker;
mod write;

use std::{path::Path, sync::Arc};

use jiff::Timestamp;

pub use self::staged::Staged;
use self::{
    fetch::fetch,
    staged::{Notes, Tree},
    staging::Staging,
    subset::Subset,
    write::Writer,
};
use crate::{
    confined::Root,
    deadline::{Deadline, blocking},
    error::Error,
    manifest::{Manifest, Node, show},
    options::{RestoreOptions, Restored},
    reference,
    scope::{Key, Scope},
    stat_record::Stat,
    store::Store,
};

/// Restores the first of `keys` that the scope has into `directory`, verified completely, or leaves it as it is.
///
/// A miss, damage, a limit and trouble with the store are a [`Restored`] without a hit and with a reason. An error
/// means that the call makes no sense: a directory that is not there, a key that the scope does not admit.
///
/// `directory` itself may be a link and is trusted. Who holds a handle and no path passes `/proc/self/fd/N`.
///
/// For each key until one is restored:
/// 1. Find its newest ref; read and check the manifest.
/// 2. Write everything into a staging directory inside `directory`, out of reach of the manifest's names, and verify
///    the digest of every chunk.
/// 3. Rename it into place. What is there and not in the cache stays.
pub async fn restore<S: Store>(
    store: &S,
    scope: &Scope,
    keys: &[Key],
    directory: &Path,
    options: &RestoreOptions,
) -> Result<Restored, Error> {
    stage(store, scope, keys, directory, options).await?.commit(directory).await
}

/// Does all of a [`restore()`] but the renames, in a staging directory inside `beside`: a directory on the file system of the
/// one that [`Staged::commit`] is given later.
pub async fn stage<S: Store>(
    store: &S,
    scope: &Scope,
    keys: &[Key],
    beside: &Path,
    options: &RestoreOptions,
) -> Result<Staged, Error> {
    keys.iter().try_for_each(|key| scope.admit(key))?;
    let root = Root::open(beside).map_err(|error| Error::file("open the directory", beside, error))?;
    let root = Arc::new(root);
    let job = Job { store, scope, root, options, deadline: Deadline::after(options.deadline) };
    job.remove_leftovers().await?;
    let asked = options.asked.as_ref().or(keys.first()).cloned();
    let notes = options.records.clone().zip(asked);
    let notes = notes.map(|(records, asked)| Notes { records, scope: scope.clone(), asked });
    let (mut reasons, mut damaged, mut failed) = (Vec::new(), false, false);
    for (position, key) in keys.iter().enumerate() {
        match Box::pin(job.restore(key)).await {
            Ok(Some((restored, tree))) => {
                let restored = Restored { exact: position == 0, reason: join(&reasons), misses: reasons, ..restored };
                return Ok(Staged { restored, tree: Some(tree), notes, damaged, failed });
            }
            Ok(None) => reasons.push(format!("no cache for {key}")),
            Err(error) => {
                reasons.push(failure(key, &error));
                failed = true;
                damaged |= matches!(error, Error::Damaged { .. });
                if is_hopeless(&error) {
                    break;
                }
            }
        }
    }
    let reason = join(&reasons).or_else(|| Some("no key was given".into()));
    let restored = Restored { reason, misses: reasons, ..Restored::default() };
    Ok(Staged { restored, tree: None, notes, damaged, failed })
}

fn failure(key: &Key, error: &Error) -> String {
    format!("the cache of {key} was not restored: {error}")
}

fn join(reasons: &[String]) -> Option<String> {
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// Whether another key of the same store will fare no better.
fn is_hopeless(error: &Error) -> bool {
    error.is_retryable() || matches!(error, Error::Denied { .. } | Error::Deadline { .. })
}

/// One restore.
struct Job<'a, S> {
    store: &'a S,
    scope: &'a Scope,
    root: Arc<Root>,
    options: &'a RestoreOptions,
    deadline: Deadline,
}

impl<S: Store> Job<'_, S> {
    async fn remove_leftovers(&self) -> Result<(), Error> {
        let root = self.root.clone();
        blocking(move || {
            staging::remove_leftovers(&root);
            Ok(())
        })
        .await
    }

    /// Stages a key's newest cache; `None` if it has none.
    async fn restore(&self, key: &Key) -> Result<Option<(Restored, Tree)>, Error> {
        let Some((reference, digest)) = reference::newest(self.store, self.scope, key, &self.deadline).await? else {
            return Ok(None);
        };
        let limits = self.options.limits;
        let manifest = Manifest::load(self.store, self.scope, &digest, limits, &self.deadline).await?;
        let subset = Subset::of(manifest, &self.options.paths)?;
        if !self.options.special {
            refuse_devices(&subset.manifest).map_err(|reason| Error::damaged(self.scope.manifest(&digest), reason))?;
        }
        let totals = subset.manifest.totals();
        self.options.progress.begin(totals.bytes);
        let (writer, stats) = self.write(subset.manifest).await?;
        let created = reference.created().unwrap_or(Timestamp::UNIX_EPOCH);
        let (files, bytes, warnings) = (totals.files, totals.bytes, subset.warnings);
        let restored =
            Restored { hit: true, key: Some(key.to_string()), files, bytes, warnings, ..Restored::default() };
        Ok(Some((
            restored,
            Tree { writer, stats, places: subset.places, found: key.clone(), manifest: digest, created },
        )))
    }

    /// Writes the manifest's tree into a staging directory. After an error nothing of it is left.
    async fn write(&self, manifest: Manifest) -> Result<(Arc<Writer>, Vec<Option<Stat>>), Error> {
        let (root, options, deadline) = (self.root.clone(), self.options.clone(), self.deadline);
        let writer = blocking(move || {
            let writer = Writer::new(Arc::new(manifest), Staging::new(root)?, options, deadline)?;
            Ok(Arc::new(writer))
        })
        .await?;
        let fetched = fetch(self.store, self.scope, &writer, &self.deadline).await;
        // The last owner removes the staging directory: that takes a while and has to happen before we return.
        blocking(move || {
            fetched.and_then(|()| writer.complete())?;
            let stats = if writer.options.records.is_some() { writer.stats() } else { Vec::new() };
            Ok((writer, stats))
        })
        .await
    }
}

fn refuse_devices(manifest: &Manifest) -> Result<(), String> {
    let device = manifest.records().find(|record| matches!(record.node, Node::Device { .. }));
    device.map_or(Ok(()), |record| {
        Err(format!("path {}: is a device, which is restored only where that is asked for", show(record.path)))
    })
}
