//! What a save keeps only where it is asked for: extended attributes, capabilities and devices of overlay file systems.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
};

use rustix::fs::{CWD, FileType, Mode, XattrFlags, lgetxattr, lsetxattr, makedev, mknodat};
use support::{key, needs_root, paths, scope, settle, tree, write};
use tempfile::tempdir;
use warmstart_cache::{Records, RestoreOptions, SaveOptions, Saved, restore, save, store::Memory};

/// `CAP_NET_RAW`, effective and permitted, as `setcap` writes it.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Makes a tree with all of it; a link too may have attributes.
fn make(directory: &Path) {
    write(directory, "d/tool", "x");
    symlink("tool", directory.join("d/link")).unwrap();
    for (path, name, value) in [
        ("d", "trusted.overlay.opaque", &b"y"[..]),
        ("d/link", "trusted.of.a.link", &[]),
        ("d/tool", "trusted.b", &[7; 1000]),
        ("d/tool", "trusted.a", b"1"),
        ("d/tool", "security.capability", &CAPABILITY),
    ] {
        lsetxattr(directory.join(path), name, value, XattrFlags::empty()).unwrap();
    }
    for (name, device) in [("whiteout", makedev(0, 0)), ("null", makedev(1, 3))] {
        let path = directory.join("d").join(name);
        mknodat(CWD, &path, FileType::CharacterDevice, Mode::from_raw_mode(0o600), device).unwrap();
    }
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(2000);
    lgetxattr(path, name, rustix::buffer::spare_capacity(&mut value)).ok()?;
    Some(value)
}

async fn save_with(store: &Memory, from: &Path, options: &SaveOptions) -> Saved {
    save(store, &scope(), &key("k"), from, &paths(&["d"]), options).await.unwrap()
}

#[tokio::test]
async fn attributes_capabilities_and_whiteouts_are_kept_where_they_are_asked_for() {
    needs_root();
    let (store, from, to) = (Memory::new(), tempdir().unwrap(), tempdir().unwrap());
    make(from.path());
    let saved = save_with(&store, from.path(), &SaveOptions { special: true, ..SaveOptions::default() }).await;
    assert_eq!(saved.warnings, ["d/null: is a socket, a device or a pipe and is left out"]);
    let options = RestoreOptions { special: true, ..RestoreOptions::default() };
    let restored = restore(&store, &scope(), &[key("k")], to.path(), &options).await.unwrap();
    assert!(restored.hit && restored.warnings.is_empty(), "{restored:?}");
    fs::remove_file(from.path().join("d/null")).unwrap();
    assert_eq!(tree::see(to.path()).keys().collect::<Vec<_>>(), tree::see(from.path()).keys().collect::<Vec<_>>());
    for (path, name) in [
        ("d", "trusted.overlay.opaque"),
        ("d/link", "trusted.of.a.link"),
        ("d/tool", "trusted.a"),
        ("d/tool", "trusted.b"),
        ("d/tool", "security.capability"),
    ] {
        let found = attribute(&to.path().join(path), name);
        assert!(found.is_some() && found == attribute(&from.path().join(path), name), "{path} {name}");
    }
    let device = to.path().join("d/whiteout").symlink_metadata().unwrap();
    assert_eq!((device.mode(), device.rdev()), (0o020_600, 0));
}

#[tokio::test]
async fn without_being_asked_a_save_keeps_none_of_it() {
    needs_root();
    let (store, from, to) = (Memory::new(), tempdir().unwrap(), tempdir().unwrap());
    make(from.path());
    let saved = save_with(&store, from.path(), &SaveOptions::default()).await;
    assert_eq!(saved.warnings.len(), 2, "{saved:?}");
    let options = RestoreOptions { special: true, ..RestoreOptions::default() };
    assert!(restore(&store, &scope(), &[key("k")], to.path(), &options).await.unwrap().hit);
    assert!(attribute(&to.path().join("d/tool"), "trusted.a").is_none());
    assert!(to.path().join("d/whiteout").symlink_metadata().is_err());
}

#[tokio::test]
async fn an_attribute_that_is_new_on_an_otherwise_unchanged_tree_is_saved() {
    needs_root();
    let (store, from, notes) = (Memory::new(), tempdir().unwrap(), tempdir().unwrap());
    make(from.path());
    let records = Some(Records::new(notes.path(), "test:"));
    let plain = SaveOptions { records: records.clone(), ..SaveOptions::default() };
    let special = SaveOptions { records, special: true, ..SaveOptions::default() };
    assert!(save_with(&store, from.path(), &plain).await.sent > 0);
    assert!(save_with(&store, from.path(), &special).await.sent > 0);
    assert_eq!(save_with(&store, from.path(), &special).await.sent, 0);
    lsetxattr(from.path().join("d"), "trusted.new", b"1", XattrFlags::empty()).unwrap();
    assert!(save_with(&store, from.path(), &special).await.sent > 0);
    let (to, options) = (tempdir().unwrap(), RestoreOptions { special: true, ..RestoreOptions::default() });
    assert!(restore(&store, &scope(), &[key("k")], to.path(), &options).await.unwrap().hit);
    assert_eq!(attribute(&to.path().join("d"), "trusted.new").unwrap(), b"1");
}

#[tokio::test]
async fn the_first_attribute_of_a_directory_whose_files_need_not_be_read_is_saved() {
    needs_root();
    let (store, from, notes) = (Memory::new(), tempdir().unwrap(), tempdir().unwrap());
    write(from.path(), "d/file", "content");
    settle(&from.path().join("d/file"));
    let records = Some(Records::new(notes.path(), "test:"));
    let special = SaveOptions { records, special: true, ..SaveOptions::default() };
    save_with(&store, from.path(), &special).await;
    lsetxattr(from.path().join("d"), "trusted.new", b"1", XattrFlags::empty()).unwrap();
    assert!(save_with(&store, from.path(), &special).await.sent > 0);
}
