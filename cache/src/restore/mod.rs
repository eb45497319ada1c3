//! From the store into a directory.

mod apply;
mod plan;
pub(crate) mod staging;
mod write;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;

use self::{
    plan::{Plan, Run},
    staging::Staging,
    write::Writer,
};
use crate::{
    confined::Root,
    deadline::{Deadline, blocking},
    digest::Digest,
    error::Error,
    manifest::Manifest,
    options::{RestoreOptions, Restored},
    reference,
    scope::{Key, Scope},
    stat_record::{Moment, Records, Stat, StatRecord},
    store::Store,
};

/// Requests under way at a time; each holds at most [`plan::MAX_RUN`] compressed bytes and one open frame.
const CONNECTIONS: usize = 16;

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
    let mut reasons = Vec::new();
    for (position, key) in keys.iter().enumerate() {
        match Box::pin(job.restore(key)).await {
            Ok(Some((restored, tree))) => {
                let restored = Restored { exact: position == 0, reason: join(&reasons), ..restored };
                return Ok(Staged { restored, tree: Some(Tree { asked: keys[0].clone(), ..tree }) });
            }
            Ok(None) => reasons.push(format!("no cache for {key}")),
            Err(error) => {
                reasons.push(failure(key, &error));
                if is_hopeless(&error) {
                    break;
                }
            }
        }
    }
    let reason = join(&reasons).or_else(|| Some("no key was given".into()));
    Ok(Staged { restored: Restored { reason, ..Restored::default() }, tree: None })
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

/// A cache that was fetched and verified and waits to be renamed into place, or the reason why there is none. Dropped,
/// it leaves nothing behind; that may take a while and blocks.
#[derive(Debug)]
pub struct Staged {
    restored: Restored,
    tree: Option<Tree>,
}

/// A tree in its staging directory, and what a stat record of it says.
#[derive(Debug)]
struct Tree {
    writer: Arc<Writer>,
    scope: Scope,
    /// The first of the keys.
    asked: Key,
    found: Key,
    manifest: Digest,
    created: Timestamp,
    records: Option<Records>,
}

impl Staged {
    /// Gives what there is to commit, as the restore will report it.
    #[must_use]
    pub fn restored(&self) -> &Restored {
        &self.restored
    }

    /// Renames everything into `directory`, or, if that fails, nothing.
    pub async fn commit(self, directory: &Path) -> Result<Restored, Error> {
        let Self { restored, tree: Some(tree) } = self else { return Ok(self.restored) };
        let root = Root::open(directory).map_err(|error| Error::file("open the directory", directory, error))?;
        blocking(move || {
            let found = tree.found.clone();
            Ok(match tree.commit(&root) {
                Ok(warnings) => Restored { warnings, ..restored },
                Err(error) => Restored { reason: Some(failure(&found, &error)), ..Restored::default() },
            })
        })
        .await
    }
}

impl Tree {
    fn commit(self, root: &Root) -> Result<Vec<String>, Error> {
        if let Some(records) = &self.records {
            records.remove(&self.scope, &self.asked, root);
        }
        let moment = Moment::now();
        let warnings = self.writer.commit(root)?;
        if let Some(records) = &self.records
            && let Err(error) = moment.and_then(|moment| self.note(records, root, moment))
        {
            tracing::warn!("what was restored is not noted, the next save reads everything: {error}");
        }
        Ok(warnings)
    }

    /// Notes what the files look like, after everything that changes that.
    fn note(&self, records: &Records, root: &Root, moment: Moment) -> std::io::Result<()> {
        let manifest = self.writer.manifest();
        let stats = (0..manifest.len()).map(|at| root.meta(manifest.path(at)).ok().and_then(|meta| Stat::of(&meta)));
        let record = StatRecord::new(&self.scope, &self.found, self.manifest, self.created, moment, stats.collect());
        records.store(&self.asked, root, &record)
    }
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
        let totals = manifest.totals();
        self.options.progress.begin(totals.bytes);
        let writer = self.write(manifest).await?;
        let created = reference.created().unwrap_or(Timestamp::UNIX_EPOCH);
        let (files, bytes) = (totals.files, totals.bytes);
        let restored = Restored { hit: true, key: Some(key.to_string()), files, bytes, ..Restored::default() };
        let (scope, records) = (self.scope.clone(), self.options.records.clone());
        let tree = Tree { writer, scope, asked: key.clone(), found: key.clone(), manifest: digest, created, records };
        Ok(Some((restored, tree)))
    }

    /// Writes the manifest's tree into a staging directory. After an error nothing of it is left.
    async fn write(&self, manifest: Manifest) -> Result<Arc<Writer>, Error> {
        let (root, options, deadline) = (self.root.clone(), self.options.clone(), self.deadline);
        let writer = blocking(move || {
            let writer = Writer::new(Arc::new(manifest), Staging::new(root)?, options, deadline);
            writer.prepare().map(|()| Arc::new(writer))
        })
        .await?;
        let fetched = self.fetch(&writer).await;
        // The last owner removes the staging directory: that takes a while and has to happen before we return.
        blocking(move || fetched.and_then(|()| writer.complete()).map(|()| writer)).await
    }

    /// Fetches and writes all content. Everything under way has ended when this returns, also after an error.
    async fn fetch(&self, writer: &Arc<Writer>) -> Result<(), Error> {
        let plan = Arc::new(Plan::new(writer.manifest()));
        let failed = AtomicBool::new(false);
        let runs = stream::iter(0..plan.runs.len()).map(|at| {
            let (plan, failed) = (&plan, &failed);
            async move {
                if failed.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let done = self.fetch_run(writer, plan, at).await;
                failed.fetch_or(done.is_err(), Ordering::Relaxed);
                done
            }
        });
        let results = runs.buffer_unordered(CONNECTIONS);
        results.fold(Ok(()), async |all: Result<(), Error>, one| all.and(one)).await
    }

    async fn fetch_run(&self, writer: &Arc<Writer>, plan: &Arc<Plan>, at: usize) -> Result<(), Error> {
        let Run { pack, start, end, .. } = plan.runs[at];
        let name = self.scope.pack(&writer.manifest().packs[pack as usize].digest);
        let range = u64::from(start)..u64::from(end);
        let object = self.deadline.within("read a pack", self.store.get(&name, Some(range.clone()))).await?;
        let bytes = object.ok_or_else(|| Error::damaged(&name, "is missing"))?.bytes;
        if bytes.len() as u64 != range.end - range.start {
            return Err(Error::damaged(name, "is shorter than it should be"));
        }
        let (writer, plan) = (writer.clone(), plan.clone());
        blocking(move || writer.write_run(&plan, &plan.runs[at], &bytes, &name)).await
    }
}
