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
    error::Error,
    manifest::Manifest,
    options::{Base, RestoreOptions, Restored},
    reference,
    scope::{Key, Scope},
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
    keys.iter().try_for_each(|key| scope.admit(key))?;
    let root = Root::open(directory).map_err(|error| Error::file("open the directory", directory, error))?;
    let root = Arc::new(root);
    let job = Job { store, scope, root, options, deadline: Deadline::after(options.deadline) };
    job.remove_leftovers().await?;
    let mut reasons = Vec::new();
    for (position, key) in keys.iter().enumerate() {
        match Box::pin(job.restore(key)).await {
            Ok(Some(restored)) => return Ok(Restored { exact: position == 0, reason: join(&reasons), ..restored }),
            Ok(None) => reasons.push(format!("no cache for {key}")),
            Err(error) => {
                reasons.push(format!("the cache of {key} was not restored: {error}"));
                if is_hopeless(&error) {
                    break;
                }
            }
        }
    }
    Ok(Restored { reason: join(&reasons).or_else(|| Some("no key was given".into())), ..Restored::default() })
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

    /// Restores a key's newest cache; `None` if it has none.
    async fn restore(&self, key: &Key) -> Result<Option<Restored>, Error> {
        let Some((reference, digest)) = reference::newest(self.store, self.scope, key, &self.deadline).await? else {
            return Ok(None);
        };
        let limits = self.options.limits;
        let manifest = Manifest::load(self.store, self.scope, &digest, limits, &self.deadline).await?;
        let totals = manifest.totals();
        self.options.progress.begin(totals.bytes);
        let warnings = self.write(manifest).await?;
        let created = reference.created().unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(Some(Restored {
            hit: true,
            key: Some(key.to_string()),
            files: totals.files,
            bytes: totals.bytes,
            warnings,
            base: Some(Base { scope: self.scope.clone(), key: key.clone(), manifest: digest, created }),
            ..Restored::default()
        }))
    }

    /// Brings the manifest's tree into the directory; gives warnings. On an error the directory is as it was, and
    /// nothing of the attempt is left once this returns.
    async fn write(&self, manifest: Manifest) -> Result<Vec<String>, Error> {
        let (root, options, deadline) = (self.root.clone(), self.options.clone(), self.deadline);
        let writer = blocking(move || {
            let writer = Writer::new(Arc::new(manifest), Staging::new(root)?, options, deadline);
            writer.prepare().map(|()| Arc::new(writer))
        })
        .await?;
        let fetched = self.fetch(&writer).await;
        // The last owner removes the staging directory: that takes a while and has to happen before we return.
        blocking(move || fetched.and_then(|()| writer.finish())).await
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
