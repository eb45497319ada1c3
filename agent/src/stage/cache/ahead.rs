//! Caches that are fetched while the job is prepared.

use crate::fault::causes;
use crate::job::order::Order;
use crate::stage::Project;
use crate::stage::cache::credentials;
use crate::stage::cache::stoppable::Stoppable;
use crate::stage::cache::wanted::{Source, Wanted};
use crate::variables::Variables;
use crate::workspace::remove_tree;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Mutex, OnceCell, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warmstart_api::assignment::CacheStore;
use warmstart_cache::store::{self, AnyStore};
use warmstart_cache::{Error, Key, Records, RestoreOptions, Restored, Scope, Staged};

/// How much later than its own deadline a fetch may say that it was missed.
const MARGIN: Duration = Duration::from_secs(5);
/// How long the end of a job waits for files that are just being written.
const PATIENCE: Duration = Duration::from_mins(1);

/// What became of work that panicked.
const FAILED: &str = "the agent failed; see its own log";

/// The caches of a job, from its beginning to its end. Clones are the same.
///
/// What is fetched lies in a directory of its own that no container sees, on the file system of the builds. Only
/// [`Caches::end`] surely leaves nothing of it.
#[derive(Clone, Debug)]
pub struct Caches(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    wanted: Vec<Arc<Wanted>>,
    project: String,
    store: Option<CacheStore>,
    opened: OnceCell<Result<AnyStore, String>>,
    directory: PathBuf,
    /// Where the builds lie, if that is where the project's files go by a rename.
    builds: Option<PathBuf>,
    timeout: Duration,
    /// When the restore began.
    begun: OnceLock<Instant>,
    stop: CancellationToken,
    /// Everything that works on files.
    tasks: TaskTracker,
    /// One for each that has keys, in order; closed early where fetching ahead is not possible.
    fetched: Mutex<Option<mpsc::UnboundedReceiver<Fetched>>>,
}

/// What looking for one cache came to.
#[derive(Debug, Default)]
pub struct Fetched {
    /// What waits to be renamed into place.
    pub found: Option<Staged>,
    /// Why the keys before it, or all, gave nothing.
    pub misses: Vec<(Key, String)>,
    /// Whether one of the reasons is another than that there is nothing.
    pub failed: bool,
    /// How long that took.
    pub spent: Duration,
}

impl Caches {
    /// Reads what the job wants. Nothing is done yet.
    #[must_use]
    pub fn new(
        order: &Order,
        variables: &Variables,
        limit: Duration,
        builds: Option<PathBuf>,
        directory: PathBuf,
    ) -> Self {
        let source = Source { job: &order.job, variables };
        Self(Arc::new(Inner {
            wanted: source.caches().map(|cache| Arc::new(source.wanted(cache))).collect(),
            project: order.job.job_info.project_id.to_string(),
            store: order.cache.clone(),
            opened: OnceCell::new(),
            directory,
            builds,
            timeout: limit,
            begun: OnceLock::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            fetched: Mutex::new(None),
        }))
    }

    /// What the job wants to be restored, in order.
    #[must_use]
    pub fn wanted(&self) -> &[Arc<Wanted>] {
        &self.0.wanted
    }

    /// Begins to fetch, one cache after the other: each has all connections and cores to itself.
    pub async fn begin(&self) {
        if self.0.store.is_none() || self.0.wanted.iter().all(|wanted| wanted.keys.is_empty()) {
            return;
        }
        if let Err(why) = self.make_room() {
            tracing::info!("caches are restored in their stage, not while the job is prepared: {why}");
            return;
        }
        self.0.begun.get_or_init(Instant::now);
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.0.fetched.lock().await = Some(receiver);
        let this = self.clone();
        self.0.tasks.spawn(async move {
            let Ok(store) = this.store().await else { return };
            for wanted in this.0.wanted.iter().filter(|wanted| !wanted.keys.is_empty()) {
                if sender.send(this.fetch(&store, wanted, &this.0.directory).await).is_err() {
                    return;
                }
            }
        });
    }

    /// Makes the directory, from which a rename must lead to the builds.
    fn make_room(&self) -> Result<(), String> {
        let Inner { directory, builds, .. } = &*self.0;
        let made = std::fs::DirBuilder::new().mode(0o700).create(directory);
        made.map_err(|error| format!("cannot create {}: {error}", directory.display()))?;
        let builds = builds.as_ref().ok_or("volumes are mounted where they go")?;
        match (mount(directory), mount(builds)) {
            (Ok(one), Ok(other)) if one == other => Ok(()),
            (Ok(_), Ok(_)) => Err(format!("{} lies on another file system", builds.display())),
            (Err(error), _) | (_, Err(error)) => Err(format!("cannot compare file systems: {error}")),
        }
    }

    /// The store, opened once; or why it cannot be.
    pub async fn store(&self) -> Result<AnyStore, String> {
        let open = async {
            let Some(wanted) = &self.0.store else { return Err("no store is configured".to_owned()) };
            let opened = Box::pin(store::open(&wanted.url, credentials(wanted).as_ref())).await;
            opened.map_err(|error| causes(&error))
        };
        self.0.opened.get_or_init(|| open).await.clone()
    }

    /// Where a restore notes what a save need not read again: out of the job's reach, and gone with the job.
    #[must_use]
    pub fn records(&self) -> Option<Records> {
        let store = self.0.store.as_ref()?;
        Some(Records::new(self.0.directory.join("records"), store.url.clone()))
    }

    /// The scope of a key.
    pub fn scope(&self, key: &Key) -> Result<Scope, Error> {
        Scope::of_key(&self.0.project, key)
    }

    /// Waits for the next cache that has keys; one that could not be fetched ahead is fetched now. When the time
    /// for restoring is over it is a miss.
    pub async fn next(&self, wanted: &Arc<Wanted>, project: &Arc<Project>) -> Fetched {
        let next = async {
            match self.ahead().await {
                Some(fetched) => fetched,
                None => self.fetch_now(wanted, project).await,
            }
        };
        self.in_time(wanted, next).await
    }

    /// Fetches one cache once more, in what is left of the time for restoring.
    pub async fn again(&self, wanted: &Arc<Wanted>, project: &Arc<Project>) -> Fetched {
        self.in_time(wanted, self.fetch_now(wanted, project)).await
    }

    async fn in_time(&self, wanted: &Wanted, fetching: impl Future<Output = Fetched>) -> Fetched {
        let over = || Fetched::none(wanted, &format!("not restored within {} s", self.0.timeout.as_secs()));
        if self.0.stop.is_cancelled() {
            return over();
        }
        let end = *self.0.begun.get_or_init(Instant::now) + self.0.timeout + MARGIN;
        timeout_at(end, fetching).await.unwrap_or_else(|_| {
            self.0.stop.cancel();
            over()
        })
    }

    async fn ahead(&self) -> Option<Fetched> {
        self.0.fetched.lock().await.as_mut()?.recv().await
    }

    /// Fetches into the project directory itself.
    async fn fetch_now(&self, wanted: &Arc<Wanted>, project: &Arc<Project>) -> Fetched {
        let store = match self.store().await {
            Ok(store) => store,
            Err(why) => return Fetched::none(wanted, &why),
        };
        let (this, project, looked_for) = (self.clone(), project.clone(), wanted.clone());
        let fetching = async move { this.fetch(&store, &looked_for, &project.path).await };
        let fetched = self.0.tasks.spawn(fetching).await;
        fetched.unwrap_or_else(|_| Fetched::none(wanted, FAILED))
    }

    /// Looks for one cache: its keys in order, those of one scope in one go.
    async fn fetch(&self, store: &AnyStore, wanted: &Wanted, beside: &Path) -> Fetched {
        let start = Instant::now();
        let mut fetched = Fetched::default();
        for keys in wanted.keys.chunk_by(|one, other| self.scope(one).ok() == self.scope(other).ok()) {
            match Box::pin(self.stage(store, keys, beside)).await {
                Ok(staged) => {
                    let misses = keys.iter().cloned().zip(staged.restored().misses.iter().cloned());
                    fetched.misses.extend(misses);
                    fetched.failed |= staged.failed();
                    if staged.restored().hit {
                        fetched.found = Some(staged);
                        break;
                    }
                }
                Err(error) => {
                    fetched.failed = true;
                    fetched.misses.push((keys[0].clone(), causes(&error)));
                }
            }
        }
        fetched.spent = start.elapsed();
        fetched
    }

    async fn stage(&self, store: &AnyStore, keys: &[Key], beside: &Path) -> Result<Staged, Error> {
        let passed = self.0.begun.get().map_or(Duration::ZERO, Instant::elapsed);
        let deadline = self.0.timeout.saturating_sub(passed);
        let options = RestoreOptions { deadline, records: self.records(), ..RestoreOptions::default() };
        let store = Stoppable { store: store.clone(), stop: self.0.stop.clone() };
        warmstart_cache::stage(&store, &self.scope(&keys[0])?, keys, beside, &options).await
    }

    /// Renames a cache into place. It comes to its end even if the job is stopped meanwhile.
    pub async fn commit(&self, staged: Staged, project: &Arc<Project>) -> Result<Restored, String> {
        let project = project.clone();
        let committing = self.0.tasks.spawn(async move { staged.commit(&project.path).await });
        match committing.await {
            Ok(committed) => committed.map_err(|error| causes(&error)),
            Err(_) => Err(FAILED.to_owned()),
        }
    }

    /// Stops what is under way and removes everything that was not renamed into place.
    pub async fn end(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        if timeout(PATIENCE, self.0.tasks.wait()).await.is_err() {
            tracing::warn!("a cache is still being written after the job's end");
        }
        let fetched = self.0.fetched.lock().await.take();
        let directory = self.0.directory.clone();
        let removed = tokio::task::spawn_blocking(move || {
            drop(fetched);
            remove_tree(&directory)
        });
        if let Ok(Err(error)) = removed.await {
            tracing::warn!("cannot remove what was fetched of caches: {error}");
        }
    }
}

impl Fetched {
    /// Nothing, for the same reason with every key.
    fn none(wanted: &Wanted, why: &str) -> Self {
        let misses = wanted.keys.iter().map(|key| (key.clone(), why.to_owned())).collect();
        Self { misses, ..Self::default() }
    }
}

/// What tells mounts apart: no rename leads from one to another. Kernels before 5.8 tell file systems only.
fn mount(path: &Path) -> std::io::Result<(u32, u32, Option<u64>)> {
    let found = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)?;
    let known = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::MNT_ID);
    Ok((found.stx_dev_major, found.stx_dev_minor, known.then_some(found.stx_mnt_id)))
}
