//! Whatever is wrong with an object, a restore is a miss and the directory as it was, or the bytes are right.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;
use support::{
    block_on,
    faulty::{Fault, Faulty},
    forge, key, noise, paths, restore_keys, save_paths, scope, tree, write,
};
use tempfile::{TempDir, tempdir};
use warmstart_cache::{
    Digest, RestoreOptions, SaveOptions, restore, save,
    store::{Entry, Memory, Store, list_all},
};

/// A saved tree, and a directory that has something else.
struct Scene {
    store: Memory,
    from: TempDir,
    to: TempDir,
    objects: Vec<Entry>,
    before: BTreeMap<PathBuf, tree::Seen>,
}

impl Scene {
    async fn new() -> Self {
        let (store, from, to) = (Memory::new(), tempdir().unwrap(), tempdir().unwrap());
        write(from.path(), "d/file", noise(3000, 1));
        write(from.path(), "d/other", "some text ".repeat(100));
        write(from.path(), "d/large", noise(300_000, 2));
        save_paths(&store, "k", from.path(), &["d"]).await;
        write(to.path(), "d/file", "old");
        write(to.path(), "d/large/x", "old");
        let objects = list_all(&store, "").await.unwrap();
        let before = tree::see(to.path());
        Self { store, from, to, objects, before }
    }

    async fn content(&self, name: &str) -> Bytes {
        self.store.get(name, None).await.unwrap().unwrap().bytes
    }

    /// Restores after an object was changed, and checks the promise.
    async fn check(&self, what: &str) -> bool {
        let restored = restore_keys(&self.store, &["k"], self.to.path()).await;
        let expected = if restored.hit { tree::see(self.from.path()) } else { self.before.clone() };
        assert_eq!(tree::see(self.to.path()), expected, "{what}: {restored:?}");
        let reason = restored.reason.unwrap_or_default();
        assert!(restored.hit || (!reason.is_empty() && !reason.contains('\n')), "{what}: {reason}");
        if restored.hit {
            fs::remove_dir_all(self.to.path().join("d")).unwrap();
            write(self.to.path(), "d/file", "old");
            write(self.to.path(), "d/large/x", "old");
            for (path, seen) in self.before.iter().rev() {
                let (seconds, nanoseconds) = seen.mtime.unwrap();
                tree::set_mtime(&self.to.path().join(path), seconds, nanoseconds);
            }
        }
        restored.hit
    }
}

#[tokio::test]
async fn a_flipped_byte_in_objects_of_many_chunks_is_a_miss_or_the_right_bytes() {
    let scene = Scene::new().await;
    for object in &scene.objects {
        let good = scene.content(&object.key).await;
        // Every byte of what is small, and a sample of the pack.
        let step = (good.len() / 200).max(1);
        for at in (0..good.len()).step_by(step) {
            let mut bad = good.to_vec();
            bad[at] ^= 1 << (at % 8);
            scene.store.put(&object.key, bad.into()).await.unwrap();
            let hit = scene.check(&format!("{} at {at}", object.key)).await;
            // In a ref, only words that nothing depends on may change: its time, its counts, its writer.
            assert!(!hit || object.key.contains("/refs/"), "{} at {at}", object.key);
        }
        scene.store.put(&object.key, good).await.unwrap();
    }
    assert!(scene.check("all is well again").await);
}

#[tokio::test]
async fn a_damaged_cache_gives_way_to_a_fallback_and_says_so() {
    let scene = Scene::new().await;
    write(scene.from.path(), "d/file", "fallback");
    save_paths(&scene.store, "fallback", scene.from.path(), &["d/file"]).await;
    for part in ["refs/k/", "packs/"] {
        let object = scene.objects.iter().find(|object| object.key.contains(part)).unwrap();
        scene.store.put(&object.key, "rubbish".into()).await.unwrap();
        let restored = restore_keys(&scene.store, &["k", "fallback"], scene.to.path()).await;
        assert_eq!((restored.hit, restored.exact, restored.key.as_deref()), (true, false, Some("fallback")));
        assert!(restored.reason.unwrap().contains("the cache of k was not restored"));
    }
}

#[tokio::test]
async fn a_store_that_answers_without_end_or_whole_instead_of_a_part_is_a_miss() {
    let (store, from, to) = (Faulty::default(), tempdir().unwrap(), tempdir().unwrap());
    write(from.path(), "file", noise(500_000, 1));
    save_paths(&store, "k", from.path(), &["file"]).await;
    let longer: fn(Bytes) -> Bytes = |bytes| [&bytes[..], &bytes[..]].concat().into();
    let endless: fn(Bytes) -> Bytes = |_| vec![b'{'; 80 << 20].into();
    for part in ["refs/", "manifests/", "packs/"] {
        for spoil in [longer, endless] {
            store.clear();
            store.add(Fault::Answer(part.into(), spoil));
            assert!(!restore_keys(&store, &["k"], to.path()).await.hit, "{part}");
            assert!(tree::see(to.path()).is_empty());
        }
    }
}

#[tokio::test]
async fn a_store_that_hangs_is_a_miss_at_the_deadline() {
    let (store, from, to) = (Faulty::default(), tempdir().unwrap(), tempdir().unwrap());
    write(from.path(), "file", noise(500_000, 1));
    save_paths(&store, "k", from.path(), &["file"]).await;
    for part in ["refs/", "manifests/", "packs/"] {
        store.clear();
        store.add(Fault::Hang(part.into()));
        let options = RestoreOptions { deadline: Duration::from_millis(300), ..RestoreOptions::default() };
        let restored = restore(&store, &scope(), &[key("k")], to.path(), &options).await.unwrap();
        assert!(!restored.hit && restored.reason.unwrap().contains("not done after"), "{part}");
        assert!(tree::see(to.path()).is_empty());
        let options = SaveOptions { deadline: Duration::from_millis(300), ..SaveOptions::default() };
        let saved = save(&store, &scope(), &key("k"), from.path(), &paths(&["file"]), &options).await;
        assert!(saved.unwrap_err().to_string().contains("not done after"), "{part}");
    }
}

#[tokio::test]
async fn limits_are_checked_before_anything_is_written() {
    let (store, from, to) = (Faulty::default(), tempdir().unwrap(), tempdir().unwrap());
    write(from.path(), "d/a", noise(10_000, 1));
    write(from.path(), "d/b", noise(10_000, 2));
    save_paths(&store, "k", from.path(), &["d"]).await;
    for (bytes, entries, reason) in [(19_999, 10, "bytes"), (20_000, 2, "entries")] {
        store.clear();
        let limits = warmstart_cache::Limits { bytes, entries };
        let options = RestoreOptions { limits, ..RestoreOptions::default() };
        let restored = restore(&store, &scope(), &[key("k")], to.path(), &options).await.unwrap();
        assert!(!restored.hit && restored.reason.as_deref().unwrap().contains(reason), "{restored:?}");
        assert_eq!(store.count("get v1/7/unprotected/packs"), 0);
        let options = SaveOptions { limits, ..SaveOptions::default() };
        assert!(save(&store, &scope(), &key("k"), from.path(), &paths(&["d"]), &options).await.is_err());
    }
    let limits = warmstart_cache::Limits { bytes: 20_000, entries: 3 };
    let options = RestoreOptions { limits, ..RestoreOptions::default() };
    assert!(restore(&store, &scope(), &[key("k")], to.path(), &options).await.unwrap().hit);
}

#[tokio::test]
async fn a_tombstone_ends_a_key() {
    let (store, from, to) = (Memory::new(), tempdir().unwrap(), tempdir().unwrap());
    write(from.path(), "file", "x");
    save_paths(&store, "k", from.path(), &["file"]).await;
    let tombstone = r#"{"scope":"7/unprotected","key":"k","created":"2026-01-01T00:00:00Z","files":0,"bytes":0,"writer":"x","later":1}"#;
    forge::plant_ref(&store, "k", tombstone).await;
    let restored = restore_keys(&store, &["k"], to.path()).await;
    assert_eq!((restored.hit, restored.reason.as_deref()), (false, Some("no cache for k")));
    let listing = warmstart_cache::list(&store, &scope(), Duration::from_mins(1)).await.unwrap();
    assert!(listing.caches.is_empty());
    save_paths(&store, "k", from.path(), &["file"]).await;
    assert!(restore_keys(&store, &["k"], to.path()).await.hit);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn a_manifest_of_random_bytes_is_a_miss(
        raw in prop::collection::vec(any::<u8>(), 0..400),
        how in 0..3,
        lengths in prop::collection::vec(0_u32..60, 1..5),
    ) {
        // As it is, as a zstd stream, and as records of a zstd stream.
        let manifest = match how {
            0 => raw,
            1 => zstd::encode_all(&raw[..], 3).unwrap(),
            _ => {
                let records = raw.chunks(30).zip(lengths.iter().cycle());
                let framed = records.flat_map(|(part, length)| [&length.to_le_bytes()[..], part].concat());
                zstd::encode_all(&framed.collect::<Vec<_>>()[..], 3).unwrap()
            }
        };
        let to = tempdir().unwrap();
        let restored = block_on(async {
            let store = Memory::new();
            forge::plant(&store, "k", manifest).await;
            restore_keys(&store, &["k"], to.path()).await
        });
        prop_assert!(!restored.hit);
        prop_assert!(tree::see(to.path()).is_empty());
    }

    #[test]
    fn a_frame_of_random_bytes_is_a_miss(stored in prop::collection::vec(any::<u8>(), 1..400), raw in 0_u32..5_000_000) {
        let to = tempdir().unwrap();
        let restored = block_on(async {
            let store = Memory::new();
            let digest = Digest::of(&stored);
            let size = u32::try_from(stored.len()).unwrap();
            store.put(&format!("v1/7/unprotected/packs/{digest}"), stored.into()).await.unwrap();
            let chunk = forge::Chunk { frame: 0, offset: 0, length: 1, digest: Digest::of_chunk(b"x") };
            let records = [forge::file("x", 1, vec![chunk])];
            let mut header = forge::header(&records);
            header.packs.push(forge::Pack { digest, size });
            header.frames.push(forge::Frame { pack: 0, offset: 0, size, raw });
            forge::plant(&store, "k", forge::encode(&header, &records)).await;
            restore_keys(&store, &["k"], to.path()).await
        });
        prop_assert!(!restored.hit);
        prop_assert!(tree::see(to.path()).is_empty());
    }
}
