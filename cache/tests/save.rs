//! What a save reads, sends and leans on.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    fs,
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
};

use support::{faulty::Faulty, key, noise, paths, restore_keys, save_paths, scope, settle, tree, write};
use tempfile::{TempDir, tempdir};
use warmstart_cache::{
    Progress, Records, RestoreOptions, SaveOptions, Saved, restore, save, stage,
    store::{Memory, Store, list_all},
};

/// A directory with records of what was saved from it.
struct Noted<S> {
    store: S,
    directory: TempDir,
    notes: TempDir,
}

impl<S: Store> Noted<S> {
    fn new(store: S) -> Self {
        Self { store, directory: tempdir().unwrap(), notes: tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn records(&self) -> Records {
        Records::new(self.notes.path(), "test:")
    }

    /// Saves, and gives how many bytes were read.
    async fn save(&self) -> (Saved, u64) {
        let progress = Progress::default();
        let options =
            SaveOptions { records: Some(self.records()), progress: progress.clone(), ..SaveOptions::default() };
        let saved = save(&self.store, &scope(), &key("k"), self.path(), &paths(&["d"]), &options).await.unwrap();
        (saved, progress.get().0)
    }

    /// Checks that the newest cache is the directory.
    async fn check(&self) {
        let to = tempdir().unwrap();
        assert!(restore_keys(&self.store, &["k"], to.path()).await.hit);
        assert!(tree::see(to.path()) == tree::see(self.path()));
    }
}

#[tokio::test]
async fn what_looks_as_it_did_is_neither_read_nor_sent() {
    let noted = Noted::new(Faulty::default());
    for number in 0..5 {
        write(noted.path(), &format!("d/{number}"), noise(300_000, number));
    }
    settle(&noted.path().join("d/4"));
    assert_eq!(noted.save().await.1, 1_500_000);
    noted.store.clear();
    let (unchanged, read) = noted.save().await;
    assert_eq!((unchanged.saved, unchanged.sent, unchanged.files, read), (true, 0, 5, 0));
    assert_eq!(noted.store.count("put"), 0);

    // Touched: read, and nothing but the manifest and the ref is sent.
    tree::set_mtime(&noted.path().join("d/3"), 1, 1);
    let (touched, read) = noted.save().await;
    assert_eq!(read, 300_000);
    assert!(touched.sent < 2000, "{touched:?}");
    noted.check().await;

    fs::remove_file(noted.path().join("d/0")).unwrap();
    write(noted.path(), "d/new", "new");
    let (changed, read) = noted.save().await;
    assert!(read >= 3 && changed.sent < 3000 && changed.files == 5, "{read} {changed:?}");
    noted.check().await;
}

#[tokio::test]
async fn a_change_that_leaves_no_trace_but_the_content_is_noticed() {
    let noted = Noted::new(Memory::new());
    for number in 0..40 {
        let file = noted.path().join("d/file");
        write(noted.path(), "d/file", format!("before {number:02}"));
        tree::set_mtime(&file, 5, 5);
        noted.save().await;
        // Same inode, same size, same time, often within one tick of the kernel's clock.
        let same = fs::OpenOptions::new().write(true).open(&file).unwrap();
        same.write_all_at(format!("after  {number:02}").as_bytes(), 0).unwrap();
        tree::set_mtime(&file, 5, 5);
        noted.save().await;
        noted.check().await;
    }
}

#[tokio::test]
async fn a_record_that_is_damaged_or_of_another_place_is_not_relied_on() {
    let noted = Noted::new(Memory::new());
    write(noted.path(), "d/file", noise(100_000, 1));
    settle(&noted.path().join("d/file"));
    noted.save().await;
    let note = fs::read_dir(noted.notes.path()).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&note).unwrap();
    for position in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[position] ^= 1;
        fs::write(&note, damaged).unwrap();
        assert_eq!(noted.save().await.1, 100_000, "position {position}");
    }
    for length in 0..whole.len() {
        fs::write(&note, &whole[..length]).unwrap();
        assert_eq!(noted.save().await.1, 100_000, "length {length}");
    }
    fs::write(&note, &whole).unwrap();
    assert_eq!(noted.save().await.1, 0);
    let elsewhere = SaveOptions { records: Some(Records::new(noted.notes.path(), "other:")), ..SaveOptions::default() };
    let other = Memory::new();
    let saved = save(&other, &scope(), &key("k"), noted.path(), &paths(&["d"]), &elsewhere).await.unwrap();
    assert!(saved.sent > 100_000);
    assert!(restore_keys(&other, &["k"], tempdir().unwrap().path()).await.hit);
}

#[tokio::test]
async fn a_fallback_is_built_upon_and_saved_under_the_key_that_was_asked_for() {
    let noted = Noted::new(Faulty::default());
    write(noted.path(), "d/file", noise(200_000, 1));
    save_paths(&noted.store, "old", noted.path(), &["d"]).await;
    let options = RestoreOptions { records: Some(noted.records()), ..RestoreOptions::default() };
    let restored = restore(&noted.store, &scope(), &[key("k"), key("old")], noted.path(), &options).await.unwrap();
    assert_eq!((restored.hit, restored.exact), (true, false));
    let (saved, _) = noted.save().await;
    assert!(saved.saved && saved.sent < 2000, "{saved:?}");
    noted.check().await;
}

#[tokio::test]
async fn what_was_restored_is_not_read_whatever_its_names() {
    let noted = Noted::new(Memory::new());
    let from = tempdir().unwrap();
    write(from.path(), "d/file", noise(200_000, 1));
    write(from.path(), "d/first", noise(100_000, 2));
    write(from.path(), "d/empty", "");
    fs::hard_link(from.path().join("d/first"), from.path().join("d/second")).unwrap();
    fs::hard_link(from.path().join("d/first"), from.path().join("d/third")).unwrap();
    save_paths(&noted.store, "k", from.path(), &["d"]).await;
    let options = RestoreOptions { records: Some(noted.records()), ..RestoreOptions::default() };
    let staged = stage(&noted.store, &scope(), &[key("k")], noted.path(), &options).await.unwrap();
    // Any file that was written after those of the cache will do.
    write(from.path(), "later", "");
    settle(&from.path().join("later"));
    assert!(staged.commit(noted.path()).await.unwrap().hit);
    let (saved, read) = noted.save().await;
    assert_eq!((saved.saved, saved.sent, read), (true, 0, 0), "{saved:?}");
}

#[tokio::test]
async fn holes_cost_nothing_and_stay_holes() {
    let noted = Noted::new(Memory::new());
    let tail = noise(50_000, 2);
    fs::create_dir(noted.path().join("d")).unwrap();
    let mut file = fs::File::create(noted.path().join("d/sparse")).unwrap();
    file.write_all(&noise(100_000, 1)).unwrap();
    file.seek(SeekFrom::Start(20 << 30)).unwrap();
    file.write_all(&tail).unwrap();
    file.set_len(30 << 30).unwrap();
    fs::File::create(noted.path().join("d/only a hole")).unwrap().set_len(5 << 30).unwrap();
    let (saved, read) = noted.save().await;
    assert!(saved.bytes >= 35 << 30 && saved.sent < 200_000 && read < 1_000_000, "{read} {saved:?}");

    let to = tempdir().unwrap();
    assert!(restore_keys(&noted.store, &["k"], to.path()).await.hit);
    let file = fs::File::open(to.path().join("d/sparse")).unwrap();
    let mut found = vec![0; tail.len()];
    file.read_exact_at(&mut found, 20 << 30).unwrap();
    assert!(found == tail);
    file.read_exact_at(&mut found[..10], 10 << 30).unwrap();
    assert_eq!(found[..10], [0; 10]);
    let meta = file.metadata().unwrap();
    assert_eq!(meta.len(), 30 << 30);
    assert!(meta.blocks() * 512 < 1_000_000, "{} blocks", meta.blocks());
    assert_eq!(to.path().join("d/only a hole").metadata().unwrap().len(), 5 << 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_tree_gives_the_same_objects_however_it_is_read() {
    let from = tempdir().unwrap();
    tree::make(from.path());
    write(from.path(), "tree/twice", noise(5_000_000, 1));
    let mut seen = Vec::new();
    for _ in 0..4 {
        let store = Memory::new();
        save_paths(&store, "k", from.path(), &["tree"]).await;
        let objects = list_all(&store, "").await.unwrap().into_iter().map(|entry| entry.key);
        seen.push(objects.filter(|key| !key.contains("/refs/")).collect::<Vec<_>>());
    }
    assert!(seen.iter().all(|objects| *objects == seen[0] && objects.len() >= 2), "{seen:?}");
}

#[tokio::test]
async fn small_and_dead_packs_do_not_pile_up() {
    let noted = Noted::new(Faulty::default());
    for number in 0..20 {
        write(noted.path(), &format!("d/{number:02}"), noise(200_000, number));
    }
    for version in 0..40 {
        write(noted.path(), &format!("d/{:02}", version % 20), noise(200_000, 1000 + version));
        noted.save().await;
    }
    noted.check().await;
    noted.store.clear();
    restore_keys(&noted.store, &["k"], tempdir().unwrap().path()).await;
    let packs = noted.store.count("get v1/7/unprotected/packs/");
    assert!((1..=10).contains(&packs), "{packs} requests");
}
