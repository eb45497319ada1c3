//! Collection beside saves, restores and other collections, on every kind of store, and killed at any point.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    fs,
    ops::Range,
    path::Path,
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use support::{
    aged::Aged,
    cli::{command, run, url},
    grow_old, key, noise, paths, save_paths, scope, write,
};
use tempfile::{TempDir, tempdir};
use warmstart_cache::{
    CollectOptions, Collected, Policy, Records, RestoreOptions, SaveOptions, VerifyOptions, gc, remove, restore, save,
    store::{Directory, Entry, Error, Etag, Memory, Object, Store, list_all},
    verify,
};

fn keep_one() -> Policy {
    Policy { keep: Some(1), ..Policy::default() }
}

async fn collect<S: Store>(store: &S, policy: &Policy) -> Collected {
    let collected = gc(store, None, policy, &CollectOptions::default()).await.unwrap();
    assert!(collected.scopes.iter().all(|scope| scope.error.is_none()), "{collected:?}");
    collected
}

async fn assert_sound<S: Store>(store: &S) {
    let verified = verify(store, None, &VerifyOptions::default()).await.unwrap();
    assert!(verified.scopes.iter().all(|scope| scope.damage.is_empty()), "{verified:?}");
}

/// Saves a part that is always the same and a part that is not.
async fn save_round<S: Store>(store: &S, name: &str, round: u64, desk: &Desk) {
    let work = desk.work.path();
    write(work, "d/shared", noise(200_000, 99));
    write(work, "d/own", format!("{name} {round}"));
    let options = SaveOptions { records: Some(desk.records()), ..SaveOptions::default() };
    save(store, &scope(), &key(name), work, &paths(&["d"]), &options).await.unwrap();
}

/// Where a job works, and what it notes of a restore for its save.
#[derive(Debug)]
struct Desk {
    work: TempDir,
    notes: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { work: tempdir().unwrap(), notes: tempdir().unwrap() }
    }

    fn records(&self) -> Records {
        Records::new(self.notes.path(), "aged:")
    }
}

async fn assert_restores<S: Store>(store: &S, name: &str, round: u64) -> Desk {
    let desk = Desk::new();
    let options = RestoreOptions { records: Some(desk.records()), ..RestoreOptions::default() };
    let restored = restore(store, &scope(), &[key(name)], desk.work.path(), &options).await.unwrap();
    assert!(restored.hit, "{name} {round} {restored:?}");
    assert_eq!(fs::read_to_string(desk.work.path().join("d/own")).unwrap(), format!("{name} {round}"));
    desk
}

/// Jobs restore and save while two collections run, and days pass between the rounds.
async fn rounds<S: Store>(store: S, rounds: u64) {
    let (store, keys) = (Aged::new(store), ["a", "b", "c"]);
    for name in keys {
        save_round(&store, name, 0, &Desk::new()).await;
    }
    let mut removed = 0;
    for round in 1..=rounds {
        store.pass_hours(30).await;
        let jobs = join_all(keys.map(async |name| {
            let desk = assert_restores(&store, name, round - 1).await;
            save_round(&store, name, round, &desk).await;
            assert_restores(&store, name, round).await;
        }));
        let policy = keep_one();
        let collections = join_all([collect(&store, &policy), collect(&store, &policy)]);
        let (_, collected) = futures_util::future::join(jobs, collections).await;
        removed += collected.iter().flat_map(|one| &one.scopes).map(|scope| scope.removed.objects).sum::<u64>();
        assert_sound(&store).await;
    }
    assert!(removed >= (rounds - 2) * 6, "{removed}");
    let refs = list_all(&store, "v1/7/unprotected/refs/").await.unwrap().len();
    assert!(refs <= keys.len() * 3, "{refs}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn beside_saves_and_restores_in_memory_nothing_is_lost() {
    rounds(Memory::new(), 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn beside_saves_and_restores_in_a_directory_nothing_is_lost() {
    let directory = tempdir().unwrap();
    rounds(Directory::open(directory.path().join("store")).unwrap(), 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn beside_saves_and_restores_in_s3_nothing_is_lost() {
    let moto = support::moto::Moto::start();
    rounds(moto.store("races").await, 4).await;
}

/// What somebody else does at a moment of a collection.
#[derive(Clone, Debug)]
enum Meanwhile {
    /// A save makes all packs and manifests young again.
    Touch,
    /// A save writes a key.
    Save,
    /// A save leans on what was restored before.
    Lean(Arc<Desk>),
    /// Another collection runs from its beginning to its end.
    Collect,
    /// Another collection removes the oldest ref, each time.
    RemoveOldest,
}

/// A store in which something happens when the collection asks for a name that contains `moment`.
#[derive(Clone, Debug)]
struct Meddled {
    inner: Aged<Memory>,
    moment: &'static str,
    what: Arc<Mutex<Option<Meanwhile>>>,
}

impl Meddled {
    fn new(inner: &Aged<Memory>, moment: &'static str, what: Meanwhile) -> Self {
        Self { inner: inner.clone(), moment, what: Arc::new(Mutex::new(Some(what))) }
    }

    /// Gives what happens now; most things do so once.
    fn next(&self) -> Option<Meanwhile> {
        let mut what = self.what.lock().unwrap();
        if matches!(*what, Some(Meanwhile::RemoveOldest)) { what.clone() } else { what.take() }
    }

    async fn meddle(&self, name: &str) {
        if !name.contains(self.moment) {
            return;
        }
        let what = self.next();
        if let Some(what) = what {
            let store = self.inner.clone();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio::task::spawn_blocking(move || runtime.block_on(what.happen(&store))).await.unwrap();
        }
    }
}

impl Meanwhile {
    async fn happen(self, store: &Aged<Memory>) {
        match self {
            Self::Touch => {
                for entry in list_all(store, "").await.unwrap() {
                    if !entry.key.contains("/refs/") {
                        store.touch(&entry.key).await.unwrap();
                    }
                }
            }
            Self::Save => save_round(store, "a", 7, &Desk::new()).await,
            Self::Lean(desk) => save_round(store, "a", 8, &desk).await,
            Self::Collect => drop(collect(store, &keep_one()).await),
            Self::RemoveOldest => {
                let refs = list_all(store, "v1/7/unprotected/refs/").await.unwrap();
                // The newest sorts first and stays.
                if let [_, .., oldest] = refs.as_slice() {
                    store.delete(&oldest.key).await.unwrap();
                }
            }
        }
    }
}

impl Store for Meddled {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Option<Object>, Error> {
        self.meddle(key).await;
        self.inner.get(key, range).await
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<Etag, Error> {
        self.meddle(key).await;
        self.inner.put(key, bytes).await
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Option<Etag>, Error> {
        self.meddle(key).await;
        self.inner.put_if_absent(key, bytes).await
    }

    async fn put_if_match(&self, key: &str, bytes: Bytes, etag: &Etag) -> Result<Option<Etag>, Error> {
        self.inner.put_if_match(key, bytes, etag).await
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, Error> {
        self.inner.list(prefix, after, limit).await
    }

    async fn touch(&self, key: &str) -> Result<bool, Error> {
        self.inner.touch(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.inner.delete(key).await
    }
}

/// Key `a` with five versions, of which four may go.
async fn old_versions() -> Aged<Memory> {
    let store = Aged::new(Memory::new());
    for round in 0..5 {
        save_round(&store, "a", round, &Desk::new()).await;
        store.pass_hours(50).await;
    }
    store
}

#[tokio::test]
async fn what_a_save_touched_after_the_listing_stays() {
    let store = old_versions().await;
    let meddled = Meddled::new(&store, "/clocks/", Meanwhile::Touch);
    let objects = async || list_all(&store, "v1/7/unprotected/packs/").await.unwrap().len();
    let before = objects().await;
    let collected = collect(&meddled, &keep_one()).await;
    assert_eq!(collected.scopes[0].removed.objects, 4, "only refs: {collected:?}");
    assert_eq!(objects().await, before);
}

#[tokio::test]
async fn a_save_that_comes_while_its_key_is_ended_wins() {
    let store = old_versions().await;
    let policy = Policy { max_age: Some(Duration::from_hours(10)), ..Policy::default() };
    let collected = collect(&Meddled::new(&store, "/clocks/", Meanwhile::Save), &policy).await;
    assert_eq!(collected.scopes[0].ended, 1);
    assert_restores(&store, "a", 7).await;
    store.pass_hours(5).await;
    collect(&store, &policy).await;
    assert_restores(&store, "a", 7).await;
}

#[tokio::test]
async fn a_collection_beside_another_finishes_wherever_the_other_ran() {
    for moment in ["/clocks/", "/refs/", "/manifests/", "/packs/"] {
        let store = old_versions().await;
        let meddled = Meddled::new(&store, moment, Meanwhile::Collect);
        collect(&meddled, &keep_one()).await;
        assert!(meddled.what.lock().unwrap().is_none(), "{moment}");
        assert_eq!(list_all(&store, "").await.unwrap().len(), 3, "{moment}");
        assert_restores(&store, "a", 4).await;
    }
}

#[tokio::test]
async fn a_collection_beside_a_slower_one_finishes_however_long_that_takes() {
    let store = Aged::new(Memory::new());
    for round in 0..40 {
        save_round(&store, "a", round, &Desk::new()).await;
        store.pass_hours(50).await;
    }
    for moment in ["/clocks/", "/refs/"] {
        collect(&Meddled::new(&store, moment, Meanwhile::RemoveOldest), &Policy::default()).await;
        assert_restores(&store, "a", 39).await;
        assert_sound(&store).await;
    }
}

#[tokio::test]
async fn a_save_that_leans_on_packs_a_collection_is_about_to_remove_keeps_them_or_sends_them_again() {
    // Before the collection looks, at every moment of it until it has seen a pack's age, and when all is gone.
    for moment in ["before", "/clocks/", "/refs/", "/manifests/", "/packs/", "after"] {
        let store = Aged::new(Memory::new());
        save_round(&store, "a", 0, &Desk::new()).await;
        let desk = Arc::new(assert_restores(&store, "a", 0).await);
        remove(&store, &scope(), &key("a"), Duration::from_mins(1)).await.unwrap();
        store.pass_hours(100).await;
        let lean = Meanwhile::Lean(desk);
        if moment == "before" {
            lean.clone().happen(&store).await;
        }
        let meddled = Meddled::new(&store, moment, lean.clone());
        collect(&meddled, &keep_one()).await;
        let happened = meddled.what.lock().unwrap().is_none();
        assert_eq!(happened, moment.starts_with('/'), "{moment}");
        if moment == "after" {
            assert_eq!(list_all(&store, "").await.unwrap(), []);
            lean.happen(&store).await;
        }
        assert_restores(&store, "a", 8).await;
        assert_sound(&store).await;
    }
}

/// A directory with many old versions of key `k`; gives the number of objects.
async fn many_old_versions(store: &Path) -> usize {
    let opened = Directory::open(store).unwrap();
    for round in 0..40 {
        let directory = tempdir().unwrap();
        write(directory.path(), "d", noise(1000, round));
        save_paths(&opened, "k", directory.path(), &["d"]).await;
    }
    grow_old(store);
    count(store)
}

fn count(store: &Path) -> usize {
    let files = walkdir::WalkDir::new(store.join("v1")).into_iter().filter_map(Result::ok);
    files.filter(|file| file.file_type().is_file()).count()
}

fn start_gc(store: &Path) -> Child {
    let mut command = command(&url(store), &["gc", "--keep", "1"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("start")
}

#[tokio::test]
async fn a_collection_killed_at_any_point_leaves_a_valid_store_and_the_next_one_ends_its_work() {
    let store = tempdir().unwrap();
    let all = many_old_versions(store.path()).await;
    assert_eq!(all, 120);
    // In the midst of the refs, of the manifests, of the packs, and in between.
    for left in [119, 100, 82, 80, 60, 43, 40, 20, 4] {
        let mut child = start_gc(store.path());
        while count(store.path()) > left && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_sound(&Directory::open(store.path()).unwrap()).await;
        let said =
            run(command(&url(store.path()), &["restore", "--key", "k", "--fail-on-miss", "--scope", "7/unprotected"])
                .arg("-C")
                .arg(tempdir().unwrap().path()));
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    let said = run(&mut command(&url(store.path()), &["gc", "--keep", "1"]));
    assert_eq!(said.code, Some(0), "{said:?}");
    // What a killed one wrote to learn the time may be there for two days.
    let kinds = ["refs", "manifests", "packs"].map(|kind| {
        fs::read_dir(store.path().join("v1/7/unprotected").join(kind).join(if kind == "refs" { "k" } else { "" }))
            .unwrap()
            .count()
    });
    assert_eq!(kinds, [1, 1, 1]);
}

#[tokio::test]
async fn two_collections_at_once_both_succeed() {
    let store = tempdir().unwrap();
    many_old_versions(store.path()).await;
    let both = [start_gc(store.path()), start_gc(store.path())];
    for child in both {
        let said = child.wait_with_output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }
    assert_eq!(count(store.path()), 3);
    assert_sound(&Directory::open(store.path()).unwrap()).await;
}
