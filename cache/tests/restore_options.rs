//! What a caller may ask of a restore: a part of the cache, attributes and devices, a record that is to be relied on.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use rustix::fs::{AtFlags, CWD, Timestamps, getxattr, lgetxattr, utimensat};
use support::{
    faulty::Faulty,
    forge::{self, Chunk, Node, Record, directory, encode, file, record},
    key, needs_root, noise, paths, restore_keys, save_paths, scope, tree, write,
};
use tempfile::tempdir;
use warmstart_cache::{
    Digest, Records, RestoreOptions, Restored, SaveOptions, restore, save,
    store::{Memory, Store, list_all},
};

async fn restore_with<S: Store>(store: &S, to: &Path, options: RestoreOptions) -> Restored {
    restore(store, &scope(), &[key("k")], to, &options).await.unwrap()
}

async fn restore_part<S: Store>(store: &S, to: &Path, wanted: &[&str]) -> Restored {
    restore_with(store, to, RestoreOptions { paths: paths(wanted).paths, ..RestoreOptions::default() }).await
}

#[tokio::test]
async fn only_the_paths_that_are_named_come_back_and_only_their_packs_are_read() {
    let (store, from, to) = (Faulty::default(), tempdir().unwrap(), tempdir().unwrap());
    for number in 0..40 {
        write(from.path(), &format!("d/{number:02}"), noise(1_000_000, number));
    }
    write(from.path(), "d/z", "last");
    fs::hard_link(from.path().join("d/00"), from.path().join("d/second")).unwrap();
    fs::hard_link(from.path().join("d/00"), from.path().join("d/third")).unwrap();
    save_paths(&store, "k", from.path(), &["d"]).await;
    store.clear();
    let restored = restore_part(&store, to.path(), &["d/39", "d/[yz]", "none"]).await;
    assert_eq!((restored.hit, restored.files, restored.bytes), (true, 2, 1_000_004), "{restored:?}");
    assert_eq!(restored.warnings, ["none: nothing in the cache matches"]);
    assert!(store.count("get v1/7/unprotected/packs") <= 2);
    let seen: Vec<_> = tree::see(to.path()).into_keys().collect();
    assert_eq!(seen, ["d", "d/39", "d/z"].map(Path::new));
    // Names of a file whose first name is not wanted are that file.
    let to = tempdir().unwrap();
    assert!(restore_part(&store, to.path(), &["d", "!d/[0-9]*"]).await.hit);
    let (second, third) = (to.path().join("d/second"), to.path().join("d/third"));
    assert_eq!(fs::read(&second).unwrap(), noise(1_000_000, 0));
    assert_eq!(second.metadata().unwrap().ino(), third.metadata().unwrap().ino());
    let missed = restore_part(&store, to.path(), &["nothing"]).await;
    assert!(!missed.hit && missed.reason.unwrap().contains("match nothing"));
}

/// A cache with a capability, an attribute of a directory and a device.
async fn plant_special(store: &Memory, device: bool) {
    let (pack, info, frame) = forge::pack(b"x");
    store.put(&format!("v1/7/unprotected/packs/{}", info.digest), pack.into()).await.unwrap();
    let chunk = Chunk { frame: 0, offset: 0, length: 1, digest: Digest::of_chunk(b"x") };
    let attribute = |name: &str, value: &[u8]| vec![(name.as_bytes().to_vec(), value.to_vec())];
    // CAP_NET_RAW, effective and permitted, as `setcap` writes it.
    let capability = [&0x0200_0001_u32.to_le_bytes()[..], &0x2000_u32.to_le_bytes(), &[0; 12]].concat();
    let mut records = vec![
        Record { attributes: attribute("trusted.overlay.opaque", b"y"), ..directory("d") },
        Record {
            attributes: attribute("security.capability", &capability),
            uid: 1000,
            gid: 1001,
            ..file("d/tool", 1, vec![chunk])
        },
    ];
    if device {
        records.push(Record { mode: 0, ..record("d/whiteout", Node::Device { major: 0, minor: 0 }) });
    }
    let mut header = forge::header(&records);
    header.packs.push(info);
    header.frames.push(frame);
    forge::plant(store, "k", encode(&header, &records)).await;
}

#[tokio::test]
async fn attributes_and_devices_come_back_where_they_are_asked_for() {
    needs_root();
    let (store, to) = (Memory::new(), tempdir().unwrap());
    plant_special(&store, true).await;
    let restored = restore_with(&store, to.path(), RestoreOptions { special: true, ..RestoreOptions::default() }).await;
    assert!(restored.hit && restored.warnings.is_empty(), "{restored:?}");
    let mut value = [0; 100];
    let path = |path: &str| to.path().join(path);
    let length = lgetxattr(path("d/tool"), "security.capability", &mut value[..]).unwrap();
    assert_eq!((length, value[4..8].to_vec()), (20, 0x2000_u32.to_le_bytes().to_vec()));
    assert_eq!(getxattr(path("d"), "trusted.overlay.opaque", &mut value[..]).unwrap(), 1);
    let meta = path("d/tool").metadata().unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (1000, 1001, 0o755));
    let device = path("d/whiteout").symlink_metadata().unwrap();
    assert_eq!((device.mode(), device.rdev(), device.mtime()), (0o020_000, 0, 1));
}

#[tokio::test]
async fn without_being_asked_a_device_is_refused_and_attributes_are_dropped_with_a_warning() {
    let (store, to) = (Memory::new(), tempdir().unwrap());
    plant_special(&store, true).await;
    let restored = restore_keys(&store, &["k"], to.path()).await;
    let reason = restored.reason.unwrap();
    assert!(!restored.hit && reason.contains("d/whiteout: is a device"), "{reason}");
    assert!(tree::see(to.path()).is_empty());
    plant_special(&store, false).await;
    let restored = restore_keys(&store, &["k"], to.path()).await;
    assert!(restored.hit);
    assert!(restored.warnings.contains(&"extended attributes were dropped from 2 files or directories".to_owned()));
    assert!(lgetxattr(to.path().join("d/tool"), "security.capability", &mut [0; 100][..]).is_err());
}

#[tokio::test]
async fn after_damage_the_next_save_in_that_directory_sends_everything_again() {
    let (store, notes, to) = (Memory::new(), tempdir().unwrap(), tempdir().unwrap());
    write(to.path(), "file", noise(300_000, 1));
    let records = || Some(Records::new(notes.path(), "memory:"));
    let save = async || {
        let options = SaveOptions { records: records(), ..SaveOptions::default() };
        save(&store, &scope(), &key("k"), to.path(), &paths(&["file"]), &options).await.unwrap()
    };
    let restore = async || {
        restore_with(&store, to.path(), RestoreOptions { records: records(), ..RestoreOptions::default() }).await
    };
    save().await;
    assert!(restore().await.hit);
    for entry in list_all(&store, "v1/7/unprotected/packs/").await.unwrap() {
        // Of the right size, so that only reading it tells.
        store.put(&entry.key, vec![0; usize::try_from(entry.size).unwrap()].into()).await.unwrap();
    }
    assert!(!restore().await.hit);
    assert!(save().await.sent > 300_000);
    assert!(restore().await.hit);
}

#[tokio::test]
async fn a_restored_part_is_not_taken_for_the_whole_by_the_next_save() {
    let (store, notes, from, to) = (Memory::new(), tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    let records = || Some(Records::new(notes.path(), "memory:"));
    write(from.path(), "d/a", noise(200_000, 1));
    write(from.path(), "d/b", noise(200_000, 2));
    save_paths(&store, "k", from.path(), &["d"]).await;
    let wanted = paths(&["d/b"]).paths;
    restore_with(&store, to.path(), RestoreOptions { records: records(), paths: wanted, ..RestoreOptions::default() })
        .await;
    // Another file of the same size in the place of the one that was not restored.
    write(to.path(), "d/a", noise(200_000, 3));
    let time = fs::metadata(from.path().join("d/a")).unwrap();
    let time = rustix::fs::Timespec { tv_sec: time.mtime(), tv_nsec: time.mtime_nsec() };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, to.path().join("d/a"), &times, AtFlags::empty()).unwrap();
    let options = SaveOptions { records: records(), ..SaveOptions::default() };
    save(&store, &scope(), &key("k"), to.path(), &paths(&["d"]), &options).await.unwrap();
    let third = tempdir().unwrap();
    assert!(restore_keys(&store, &["k"], third.path()).await.hit);
    assert_eq!(fs::read(third.path().join("d/a")).unwrap(), noise(200_000, 3));
    assert_eq!(fs::read(third.path().join("d/b")).unwrap(), noise(200_000, 2));
}
