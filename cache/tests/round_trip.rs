//! What was saved comes back as it was.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{fs, os::unix::fs::symlink, path::Path};

use support::{
    faulty::{Fault, Faulty},
    key,
    moto::Moto,
    noise, paths, restore_keys, save_paths, scope, tree, write,
};
use tempfile::tempdir;
use warmstart_cache::{
    Protection, Records, RestoreOptions, SaveOptions, Scope, list, restore, save,
    store::{AnyStore, Directory, Memory, Store, list_all},
};

async fn round_trip(store: AnyStore) {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    tree::make(from.path());
    let saved = save_paths(&store, "key", from.path(), &["tree"]).await;
    assert!(saved.saved, "{saved:?}");
    assert_eq!(saved.warnings, Vec::<String>::new());
    let restored = restore_keys(&store, &["key"], to.path()).await;
    assert!(restored.hit && restored.exact, "{restored:?}");
    assert_eq!((restored.files, restored.bytes), (saved.files, saved.bytes));
    assert_eq!(restored.warnings, Vec::<String>::new());
    assert_eq!(tree::see(to.path()), tree::see(from.path()));
}

#[tokio::test]
async fn everything_comes_back_from_memory() {
    round_trip(AnyStore::Memory(Memory::new())).await;
}

#[tokio::test]
async fn everything_comes_back_from_a_directory() {
    let directory = tempdir().unwrap();
    round_trip(AnyStore::Directory(Directory::open(directory.path()).unwrap())).await;
}

#[tokio::test]
async fn everything_comes_back_from_s3() {
    let moto = Moto::start();
    round_trip(moto.store("round-trip").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_and_a_restore_can_be_spawned() {
    let (store, from) = (Memory::new(), tempdir().unwrap());
    write(from.path(), "a", "1");
    let directory = from.path().to_owned();
    tokio::spawn(async move {
        let options = SaveOptions::default();
        save(&store, &scope(), &key("k"), &directory, &paths(&["a"]), &options).await.unwrap();
        restore(&store, &scope(), &[key("k")], &directory, &RestoreOptions::default()).await.unwrap();
        list(&store, &scope(), std::time::Duration::from_mins(1)).await.unwrap();
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_directory_can_be_given_by_its_handle() {
    use std::os::fd::AsRawFd as _;
    let (store, from, to) = (Memory::new(), tempdir().unwrap(), tempdir().unwrap());
    write(from.path(), "a/b", "1");
    let handles = [&from, &to].map(|directory| fs::File::open(directory.path()).unwrap());
    let [source, target] = handles.each_ref().map(|handle| format!("/proc/self/fd/{}", handle.as_raw_fd()));
    let absolute = from.path().canonicalize().unwrap().join("a");
    assert!(save_paths(&store, "k", Path::new(&source), &[absolute.to_str().unwrap()]).await.saved);
    assert!(restore_keys(&store, &["k"], Path::new(&target)).await.hit);
    assert_eq!(fs::read(to.path().join("a/b")).unwrap(), b"1");
}

#[tokio::test]
async fn what_is_there_is_replaced_and_what_is_not_in_the_cache_stays() {
    let (store, from, to) = (Memory::new(), tempdir().unwrap(), tempdir().unwrap());
    for path in ["d/file", "d/file over directory", "d/directory over file/x", "d/directory over link/x", "top"] {
        write(from.path(), path, format!("new {path}"));
    }
    symlink("target", from.path().join("d/link over directory")).unwrap();
    assert!(save_paths(&store, "k", from.path(), &["d", "top"]).await.saved);

    let outside = tempdir().unwrap();
    write(outside.path(), "x", "untouched");
    for path in ["d/file", "d/extra", "d/file over directory/inner", "d/directory over file", "other/extra"] {
        write(to.path(), path, "old");
    }
    fs::create_dir(to.path().join("d/link over directory")).unwrap();
    symlink(outside.path(), to.path().join("d/directory over link")).unwrap();
    symlink(outside.path().join("x"), to.path().join("top")).unwrap();
    assert!(restore_keys(&store, &["k"], to.path()).await.hit);

    let mut expected = tree::see(from.path());
    for path in ["d/extra", "other", "other/extra"] {
        expected.insert(path.into(), tree::see(to.path())[Path::new(path)].clone());
    }
    assert_eq!(tree::see(to.path()), expected);
    assert_eq!(fs::read(outside.path().join("x")).unwrap(), b"untouched");
}

#[tokio::test]
async fn directories_that_lead_to_a_saved_path_keep_what_they_are() {
    let (store, from, to) = (Memory::new(), tempdir().unwrap(), tempdir().unwrap());
    write(from.path(), "a/b/file", "x");
    tree::chmod(&from.path().join("a"), 0o700);
    save_paths(&store, "k", from.path(), &["a/b/file"]).await;
    fs::create_dir(to.path().join("a")).unwrap();
    tree::chmod(&to.path().join("a"), 0o750);
    assert!(restore_keys(&store, &["k"], to.path()).await.hit);
    assert_eq!(tree::see(to.path())[Path::new("a")].mode & 0o777, 0o750);
    assert_eq!(fs::read(to.path().join("a/b/file")).unwrap(), b"x");
}

#[tokio::test]
async fn the_newest_save_of_a_key_wins_and_the_first_fallback_that_has_one() {
    let (store, from, to) = (Memory::new(), tempdir().unwrap(), tempdir().unwrap());
    for content in ["first", "second", "third"] {
        write(from.path(), "file", content);
        save_paths(&store, "k", from.path(), &["file"]).await;
    }
    let restored = restore_keys(&store, &["none", "k", "also none"], to.path()).await;
    assert_eq!((restored.hit, restored.exact, restored.key.as_deref()), (true, false, Some("k")));
    assert_eq!(restored.reason.as_deref(), Some("no cache for none"));
    assert_eq!(fs::read(to.path().join("file")).unwrap(), b"third");
    // Fallbacks are whole keys, not beginnings of keys.
    let missed = restore_keys(&store, &["none", "K", "k-", "k/"], tempdir().unwrap().path()).await;
    assert!(!missed.hit);
    assert!(missed.reason.unwrap().contains("no cache for K"));
}

#[tokio::test]
async fn a_miss_touches_nothing() {
    let (store, to) = (Memory::new(), tempdir().unwrap());
    write(to.path(), "file", "old");
    let before = (tree::see(to.path()), to.path().metadata().unwrap().modified().unwrap());
    assert!(!restore_keys(&store, &["k"], to.path()).await.hit);
    assert_eq!((tree::see(to.path()), to.path().metadata().unwrap().modified().unwrap()), before);
}

#[tokio::test]
async fn an_unprotected_scope_never_gives_a_protected_cache() {
    let (store, from) = (Memory::new(), tempdir().unwrap());
    write(from.path(), "file", "secret");
    let protected = Scope::new("7", Protection::Protected).unwrap();
    let (key, options) = (key("main-protected"), SaveOptions::default());
    save(&store, &protected, &key, from.path(), &paths(&["file"]), &options).await.unwrap();
    assert!(save(&store, &scope(), &key, from.path(), &paths(&["file"]), &options).await.is_err());
    let to = tempdir().unwrap();
    assert!(restore(&store, &scope(), &[key], to.path(), &RestoreOptions::default()).await.is_err());
    // Even the ref itself, copied into the other scope, is damage there.
    let entry = list_all(&store, "v1/7/protected/refs/").await.unwrap().remove(0);
    let text = store.get(&entry.key, None).await.unwrap().unwrap().bytes;
    for target in ["v1/7/unprotected/refs/main-protected/0-0", "v1/7/unprotected/refs/main/0-0"] {
        store.put(target, text.clone()).await.unwrap();
    }
    let restored = restore_keys(&store, &["main"], to.path()).await;
    assert!(!restored.hit && restored.reason.unwrap().contains("is the ref of main-protected in 7/protected"));
}

#[tokio::test]
async fn what_was_restored_is_not_sent_again() {
    let (store, from, to) = (Faulty::default(), tempdir().unwrap(), tempdir().unwrap());
    for number in 0..20 {
        write(from.path(), &format!("d/{number}"), noise(1_000_000, number));
    }
    let first = save_paths(&store, "k", from.path(), &["d"]).await;
    assert!(first.sent > 19_000_000 && first.sent < 21_000_000, "{first:?}");
    let notes = tempdir().unwrap();
    let records = || Some(Records::new(notes.path(), "faulty:"));
    let options = RestoreOptions { records: records(), ..RestoreOptions::default() };
    assert!(restore(&store, &scope(), &[key("k")], to.path(), &options).await.unwrap().hit);
    let again = || {
        let options = SaveOptions { records: records(), ..SaveOptions::default() };
        let (store, to) = (store.clone(), to.path().to_owned());
        async move { save(&store, &scope(), &key("k"), &to, &paths(&["d"]), &options).await.unwrap() }
    };
    store.clear();
    let unchanged = again().await;
    assert_eq!((unchanged.saved, unchanged.sent, unchanged.files), (true, 0, 20));
    assert_eq!(store.count("put"), 0);

    write(to.path(), "d/new", noise(100_000, 99));
    let mut grown = fs::read(to.path().join("d/7")).unwrap();
    grown.splice(500_000..500_000, *b"inserted");
    fs::write(to.path().join("d/7"), grown).unwrap();
    let changed = again().await;
    assert!(changed.sent > 100_000 && changed.sent < 700_000, "{changed:?}");
    let third = tempdir().unwrap();
    assert!(restore_keys(&store, &["k"], third.path()).await.hit);
    assert_eq!(tree::see(third.path()), tree::see(to.path()));

    // The packs that it leans on are gone: everything is sent.
    for entry in list_all(&store, "v1/7/unprotected/packs/").await.unwrap() {
        store.delete(&entry.key).await.unwrap();
    }
    let healed = again().await;
    assert!(healed.saved && healed.sent > 19_000_000, "{healed:?}");
    let fourth = tempdir().unwrap();
    assert!(restore_keys(&store, &["k"], fourth.path()).await.hit);
    assert_eq!(tree::see(fourth.path()), tree::see(to.path()));
}

#[tokio::test]
async fn equal_content_is_sent_once() {
    let (store, from) = (Memory::new(), tempdir().unwrap());
    for number in 0..10 {
        write(from.path(), &format!("copy/{number}"), noise(1_000_000, 5));
    }
    let saved = save_paths(&store, "k", from.path(), &["copy"]).await;
    assert!(saved.sent < 1_100_000, "{saved:?}");
}

#[tokio::test]
async fn the_next_save_heals_what_is_damaged() {
    let (store, from, to) = (Memory::new(), tempdir().unwrap(), tempdir().unwrap());
    write(from.path(), "file", noise(300_000, 1));
    save_paths(&store, "k", from.path(), &["file"]).await;
    for entry in list_all(&store, "v1/7/unprotected/packs/").await.unwrap() {
        store.put(&entry.key, "rubbish".into()).await.unwrap();
    }
    assert!(!restore_keys(&store, &["k"], to.path()).await.hit);
    save_paths(&store, "k", from.path(), &["file"]).await;
    assert!(restore_keys(&store, &["k"], to.path()).await.hit);
}

#[tokio::test]
async fn a_save_that_cannot_write_leaves_the_earlier_cache() {
    let (store, from, to) = (Faulty::default(), tempdir().unwrap(), tempdir().unwrap());
    write(from.path(), "file", "first");
    save_paths(&store, "k", from.path(), &["file"]).await;
    write(from.path(), "file", noise(50_000_000, 1));
    for part in ["packs/", "manifests/", "refs/"] {
        store.clear();
        store.add(Fault::RefuseWrites(part.into()));
        let options = SaveOptions::default();
        let error = save(&store, &scope(), &key("k"), from.path(), &paths(&["file"]), &options).await.unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains(part), "{error}");
        assert!(restore_keys(&store, &["k"], to.path()).await.hit);
        assert_eq!(fs::read(to.path().join("file")).unwrap(), b"first");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_saves_and_a_restore_at_once_give_one_whole_cache() {
    let (store, first, second) = (Memory::new(), tempdir().unwrap(), tempdir().unwrap());
    for (directory, seed) in [(&first, 1), (&second, 2)] {
        for number in 0..50 {
            write(directory.path(), &format!("d/{number}"), noise(100_000, seed * 1000 + number));
        }
    }
    save_paths(&store, "k", first.path(), &["d"]).await;
    for _ in 0..5 {
        let to = tempdir().unwrap();
        let (one, two, restored) = tokio::join!(
            save_paths(&store, "k", first.path(), &["d"]),
            save_paths(&store, "k", second.path(), &["d"]),
            restore_keys(&store, &["k"], to.path()),
        );
        assert!(one.saved && two.saved && restored.hit);
        let seen = tree::see(to.path());
        assert!(seen == tree::see(first.path()) || seen == tree::see(second.path()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_restores_at_once_into_one_directory_both_succeed() {
    let (store, from, to) = (Memory::new(), tempdir().unwrap(), tempdir().unwrap());
    tree::make(from.path());
    save_paths(&store, "k", from.path(), &["tree"]).await;
    let (one, two) = tokio::join!(restore_keys(&store, &["k"], to.path()), restore_keys(&store, &["k"], to.path()));
    assert!(one.hit && two.hit, "{one:?} {two:?}");
    assert_eq!(tree::see(to.path()), tree::see(from.path()));
    let names: Vec<_> = fs::read_dir(to.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["tree"]);
}

#[tokio::test]
async fn setuid_bits_are_dropped_with_a_warning_unless_asked_for() {
    let (store, from, to) = (Memory::new(), tempdir().unwrap(), tempdir().unwrap());
    write(from.path(), "d/tool", "x");
    tree::chmod(&from.path().join("d/tool"), 0o6755);
    tree::chmod(&from.path().join("d"), 0o2755);
    save_paths(&store, "k", from.path(), &["d"]).await;
    let restored = restore_keys(&store, &["k"], to.path()).await;
    assert_eq!(restored.warnings, ["setuid and setgid bits were dropped from 2 files or directories"]);
    let mode = |path: &str| tree::see(to.path())[Path::new(path)].mode & 0o7777;
    assert_eq!((mode("d"), mode("d/tool")), (0o755, 0o755));
    let options = RestoreOptions { keep_setuid: true, ..RestoreOptions::default() };
    let kept = restore(&store, &scope(), &[key("k")], to.path(), &options).await.unwrap();
    assert_eq!((kept.warnings.len(), mode("d"), mode("d/tool")), (0, 0o2755, 0o6755));
}

#[tokio::test]
async fn every_key_is_listed_once_with_its_newest_cache() {
    let (store, from) = (Memory::new(), tempdir().unwrap());
    write(from.path(), "file", "1");
    for name in ["a", "a-b", "ä/ö", "a"] {
        save_paths(&store, name, from.path(), &["file"]).await;
    }
    write(from.path(), "file", "12345");
    save_paths(&store, "a", from.path(), &["file"]).await;
    let listing = list(&store, &scope(), std::time::Duration::from_mins(1)).await.unwrap();
    let caches: Vec<_> = listing.caches.iter().map(|cached| (cached.key.as_str(), cached.bytes)).collect();
    assert_eq!(caches, [("a-b", 1), ("a", 5), ("ä/ö", 1)]);
    assert!(listing.warnings.is_empty());
}
