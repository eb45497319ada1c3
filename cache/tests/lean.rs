//! A save that leans on what is damaged: in the end its key gives the right tree, or a miss that the next job heals.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use support::{
    block_on,
    harm::{Harm, Objects, each, every_harm},
    key, noise, paths, restore_keys, save_paths, scope, settle, tree, write,
};
use tempfile::{TempDir, tempdir};
use warmstart_cache::{Records, RestoreOptions, Restored, SaveOptions, Saved, restore, save, store::Memory};

/// Makes the tree that all benches work on: the same to the nanosecond.
fn make(directory: &Path) {
    write(directory, "d/file", noise(50, 1));
    write(directory, "d/text", "some text ".repeat(20));
    for path in ["d/file", "d/text", "d"] {
        tree::set_mtime(&directory.join(path), 1_000_000_000, 0);
    }
}

/// The objects of key `k`, and one of each kind of another.
fn objects() -> (Objects, usize) {
    let (store, from) = (Memory::new(), tempdir().unwrap());
    make(from.path());
    block_on(save_paths(&store, "k", from.path(), &["d"]));
    let mut objects = Objects::of(&store);
    let own = objects.0.len();
    // Its pack has the same size.
    write(from.path(), "d/file", noise(50, 2));
    block_on(save_paths(&store, "other", from.path(), &["d"]));
    objects.add(Objects::of(&store));
    assert_eq!((own, objects.0.len()), (3, 6));
    (objects, own)
}

/// A directory of one thread, and what a job noted of it.
struct Bench<'a> {
    objects: &'a Objects,
    work: TempDir,
    notes: TempDir,
    note: (PathBuf, Vec<u8>),
}

impl<'a> Bench<'a> {
    fn new(objects: &'a Objects) -> Self {
        let (work, notes) = (tempdir().unwrap(), tempdir().unwrap());
        make(work.path());
        settle(&work.path().join("d/text"));
        let mut bench = Self { objects, work, notes, note: (PathBuf::new(), Vec::new()) };
        let store = block_on(objects.store());
        block_on(bench.save(&store));
        let note = fs::read_dir(bench.notes.path()).unwrap().next().unwrap().unwrap().path();
        bench.note = (note.clone(), fs::read(&note).unwrap());
        let (unchanged, read) = block_on(async { bench.save(&objects.store().await).await });
        assert_eq!((unchanged.sent, read), (0, 0), "nothing is leaned on: {unchanged:?}");
        bench
    }

    fn records(&self) -> Records {
        Records::new(self.notes.path(), "test:")
    }

    /// Saves, and gives how many bytes were read.
    async fn save(&self, store: &Memory) -> (Saved, u64) {
        let options = SaveOptions { records: Some(self.records()), ..SaveOptions::default() };
        let saved = save(store, &scope(), &key("k"), self.work.path(), &paths(&["d"]), &options).await;
        (saved.unwrap(), options.progress.get().0)
    }

    /// Restores as another machine does; a hit must be what was saved.
    async fn restore(&self, store: &Memory, what: &str) -> Restored {
        let to = tempdir().unwrap();
        let restored = restore_keys(store, &["k"], to.path()).await;
        let right = if restored.hit { tree::see(self.work.path()) } else { BTreeMap::new() };
        assert_eq!(tree::see(to.path()), right, "{what}: {restored:?}");
        restored
    }

    /// Saves after the harm, with or without a change of the tree.
    async fn check(&self, at: usize, harm: Harm, change: bool) {
        let what = format!("{}: {harm:?}, changed: {change}", self.objects.0[at].0);
        let store = self.objects.store().await;
        harm.put(self.objects, at, &store).await;
        if change {
            write(self.work.path(), "d/new", "new");
        }
        assert!(self.save(&store).await.0.saved, "{what}");
        if !self.restore(&store, &what).await.hit {
            assert!(self.is_hidden(at, harm), "{what}");
            self.heal(&store, &what).await;
        }
        self.tidy();
    }

    /// Whether it takes reading a whole pack to find the harm.
    fn is_hidden(&self, at: usize, harm: Harm) -> bool {
        let objects = &self.objects.0;
        let size = objects[at].1.len();
        let same = match harm {
            Harm::Flip(_) => true,
            Harm::Exchanged(other) => objects[other].1.len() == size,
            Harm::Missing | Harm::Cut(_) | Harm::Twice => false,
        };
        same && objects[at].0.contains("/packs/")
    }

    /// The next job in this directory restores, which is a miss, and saves.
    async fn heal(&self, store: &Memory, what: &str) {
        let before = tree::see(self.work.path());
        let options = RestoreOptions { records: Some(self.records()), ..RestoreOptions::default() };
        let restored = restore(store, &scope(), &[key("k")], self.work.path(), &options).await.unwrap();
        assert!(!restored.hit && restored.reason.is_some(), "{what}: {restored:?}");
        assert_eq!(tree::see(self.work.path()), before, "{what}");
        self.save(store).await;
        assert!(self.restore(store, what).await.hit, "{what} does not heal");
    }

    fn tidy(&self) {
        let _ = fs::remove_file(self.work.path().join("d/new"));
        tree::set_mtime(&self.work.path().join("d"), 1_000_000_000, 0);
        fs::write(&self.note.0, &self.note.1).unwrap();
    }
}

#[test]
fn a_save_that_leans_on_what_is_damaged_gives_the_right_tree_or_a_miss_that_heals() {
    let (objects, own) = objects();
    // Of each byte one bit, and some lengths.
    let some = |harm: &Harm| match harm {
        Harm::Flip(bit) => bit % 8 == bit / 8 % 8,
        Harm::Cut(length) => length % 10 == 0,
        _ => true,
    };
    let of_one = |at| every_harm(&objects, at).filter(some).map(move |harm| (at, harm));
    let harms: Vec<_> = (0..own).flat_map(of_one).collect();
    let cases: Vec<_> = harms.iter().flat_map(|(at, harm)| [(*at, *harm, false), (*at, *harm, true)]).collect();
    each(&cases, || Bench::new(&objects), async |bench, (at, harm, change)| bench.check(*at, *harm, *change).await);
}
