//! Manifests by an enemy who may write into the scope, and directories that an enemy prepared.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
};

use support::{
    forge::{self, Chunk, Node, Record, directory, encode, file, hard_link, header, record, symlink as link},
    key, restore_keys, save_paths, scope, tree, write,
};
use tempfile::tempdir;
use warmstart_cache::{
    Digest, RestoreOptions, Restored, restore,
    store::{Memory, Store},
};

/// Restores records whose only content is `x`, into a directory beside one that must stay as it is.
async fn attack(records: &[Record], prepare: impl FnOnce(&Path)) -> (Restored, bool) {
    let (store, world) = (Memory::new(), tempdir().unwrap());
    let to = world.path().join("to");
    fs::create_dir(&to).unwrap();
    write(world.path(), "outside/victim", "untouched");
    write(&to, "old", "old");
    prepare(&to);
    let (outside, before) = (tree::see(&world.path().join("outside")), tree::see(&to));
    plant(&store, records).await;
    let restored = restore_keys(&store, &["k"], &to).await;
    assert_eq!(tree::see(&world.path().join("outside")), outside, "{records:?}");
    let names: Vec<_> = fs::read_dir(world.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    (restored, tree::see(&to) == before)
}

async fn plant(store: &Memory, records: &[Record]) {
    let (pack, info, frame) = forge::pack(b"x");
    store.put(&format!("v1/7/unprotected/packs/{}", info.digest), pack.into()).await.unwrap();
    let mut header = header(records);
    header.packs.push(info);
    header.frames.push(frame);
    forge::plant(store, "k", encode(&header, records)).await;
}

fn x(path: &str) -> Record {
    file(path, 1, vec![x_chunk()])
}

fn x_chunk() -> Chunk {
    Chunk { frame: 0, offset: 0, length: 1, digest: Digest::of_chunk(b"x") }
}

#[tokio::test]
async fn the_forger_can_write_a_manifest_that_is_right() {
    let records = [directory("a"), x("a/file"), link("a/link", "/etc"), hard_link("b", "a/file")];
    let (restored, _) = attack(&records, |_| {}).await;
    assert!(restored.hit, "{restored:?}");
}

#[tokio::test]
async fn no_manifest_reaches_out_of_the_directory() {
    let attacks: &[&[Record]] = &[
        &[x("../outside/victim")],
        &[x("/tmp/warmstart-attack")],
        &[x("a/../../outside/victim")],
        &[x("./a")],
        &[x("a//b")],
        &[x("a/")],
        &[x("")],
        &[x("..")],
        &[x("a\0b")],
        &[link("a", "../outside"), x("a/victim")],
        &[link("a", "../outside"), x("a-b"), x("a/b/victim")],
        &[link("a", "../outside"), directory("a/b")],
        &[link("a", "../outside"), link("a/victim", "x")],
        &[link("a", "../outside/victim"), x("a")],
        &[x("a"), link("a", "../outside/victim")],
        &[x("a"), x("a")],
        &[x("b"), x("a")],
        &[hard_link("a", "../outside/victim")],
        &[hard_link("a", "/etc/passwd")],
        &[link("a", "../outside/victim"), hard_link("b", "a")],
        &[directory("a"), hard_link("b", "a")],
        &[x("a"), hard_link("b", "c"), x("c")],
        &[hard_link("a", "a")],
        &[link("a", "")],
        &[link("a", "b\0c")],
        &[x(".warmstart-restore-0000000000000000/tree/x")],
        &[record("a", Node::Device { major: 0, minor: 0 })],
        &[record("a", Node::Device { major: 1, minor: 3 })],
        &[record("a", Node::Device { major: u32::MAX, minor: u32::MAX })],
        &[Record { mode: 0o100_644, ..x("a") }],
        &[Record { uid: u32::MAX, ..x("a") }],
        &[Record { gid: u32::MAX, ..x("a") }],
        &[Record { mtime: (0, 1_000_000_000), ..x("a") }],
        &[file("a", 2, vec![x_chunk()])],
        &[file("a", 1 << 60, vec![x_chunk()])],
        &[file("a", 1, Vec::new())],
        &[file("a", 1, vec![Chunk { frame: 1, ..x_chunk() }])],
        &[file("a", 1, vec![Chunk { offset: 1, ..x_chunk() }])],
        &[file("a", 1, vec![Chunk { offset: u32::MAX, ..x_chunk() }])],
        &[file("a", 0, vec![Chunk { length: 0, ..x_chunk() }])],
        &[file("a", 1, vec![Chunk { digest: Digest::of_chunk(b"y"), ..x_chunk() }])],
        &[x("good"), file("zz", 1, vec![Chunk { digest: Digest::of_chunk(b"y"), ..x_chunk() }])],
    ];
    for records in attacks {
        let (restored, untouched) = attack(records, |_| {}).await;
        assert!(!restored.hit && untouched, "{records:?}");
        assert!(restored.reason.is_some_and(|reason| !reason.contains(['\n', '\0'])));
    }
    assert!(!Path::new("/tmp/warmstart-attack").exists());
}

#[tokio::test]
async fn links_planted_in_the_target_lead_nowhere() {
    let plant = |to: &Path| {
        symlink("../outside", to.join("a")).unwrap();
        symlink("../outside/victim", to.join("b")).unwrap();
        fs::create_dir(to.join("c")).unwrap();
        symlink("../../outside", to.join("c/d")).unwrap();
        symlink("../outside", to.join("implied")).unwrap();
    };
    let records =
        [directory("a"), x("a/victim"), x("b"), directory("c"), directory("c/d"), x("c/d/victim"), x("implied/victim")];
    let (restored, _) = attack(&records, plant).await;
    assert!(restored.hit, "{restored:?}");
}

#[tokio::test]
async fn a_staging_directory_planted_as_a_link_is_not_followed() {
    let plant = |to: &Path| symlink("../outside", to.join(".warmstart-restore-0000000000000000")).unwrap();
    let (restored, _) = attack(&[x("a")], plant).await;
    assert!(restored.hit);
}

#[tokio::test]
async fn a_link_to_a_hard_linked_file_outside_is_replaced_and_not_written_through() {
    let plant = |to: &Path| fs::hard_link(to.join("../outside/victim"), to.join("a")).unwrap();
    let (restored, _) = attack(&[x("a")], plant).await;
    assert!(restored.hit);
}

#[tokio::test]
async fn headers_that_lie_are_refused() {
    let store = Memory::new();
    let to = tempdir().unwrap();
    let records = [directory("a"), link("a/b", "c")];
    let good = header(&records);
    let lies = [
        forge::Header { version: 2, ..good.clone() },
        forge::Header { entries: 1, ..good.clone() },
        forge::Header { entries: 3, ..good.clone() },
        forge::Header { entries: 1_000_000_000, ..good.clone() },
        forge::Header { files: 2, ..good.clone() },
        forge::Header { bytes: 1, ..good.clone() },
        forge::Header { bytes: u64::MAX, ..good.clone() },
    ];
    for lie in lies {
        forge::plant(&store, "k", encode(&lie, &records)).await;
        let restored = restore_keys(&store, &["k"], to.path()).await;
        assert!(!restored.hit && tree::see(to.path()).is_empty(), "{lie:?}");
    }
    forge::plant(&store, "k", encode(&good, &records)).await;
    assert!(restore_keys(&store, &["k"], to.path()).await.hit);
}

#[tokio::test]
async fn directories_that_only_lead_to_files_are_counted() {
    let (store, to) = (Memory::new(), tempdir().unwrap());
    let records: Vec<_> = (0..30).map(|number| link(&format!("{number:03}/{}x", "d/".repeat(30)), "x")).collect();
    forge::plant(&store, "k", encode(&header(&records), &records)).await;
    let limits = warmstart_cache::Limits { bytes: 1, entries: 500 };
    let options = RestoreOptions { limits, ..RestoreOptions::default() };
    let restored = restore(&store, &scope(), &[key("k")], to.path(), &options).await.unwrap();
    assert!(!restored.hit && restored.reason.as_deref().unwrap().contains("limit of 500"), "{restored:?}");
    assert!(tree::see(to.path()).is_empty());
    assert!(restore_keys(&store, &["k"], to.path()).await.hit);
}

#[tokio::test]
async fn tables_that_are_larger_in_memory_than_in_the_stream_are_refused_early() {
    let refuse = async |header: &forge::Header, records: &[forge::Record], reason: &str| {
        let (store, to) = (Memory::new(), tempdir().unwrap());
        forge::plant(&store, "k", encode(header, records)).await;
        let restored = restore_keys(&store, &["k"], to.path()).await;
        assert!(!restored.hit && restored.reason.as_ref().unwrap().contains(reason), "{restored:?}");
    };
    let dressed =
        forge::Record { attributes: vec![(Vec::new(), Vec::new()); 1_000_000], ..record("a", Node::Directory) };
    refuse(&header(std::slice::from_ref(&dressed)), &[dressed], "cannot be read").await;
    let holes = (0..1_100_000).map(|number| (number, 0)).collect();
    let pierced = record("a", Node::File { size: 0, chunks: Vec::new(), holes });
    refuse(&header(std::slice::from_ref(&pierced)), &[pierced], "more holes").await;
    let mut many = header(&[]);
    many.frames = vec![forge::Frame { pack: 0, offset: 0, size: 0, raw: 0 }; 5_000_000];
    refuse(&many, &[], "has a record of").await;
}

#[tokio::test]
async fn bombs_are_refused_in_bounded_memory() {
    let to = tempdir().unwrap();
    let refuse = async |manifest: Vec<u8>| {
        let store = Memory::new();
        forge::plant(&store, "k", manifest).await;
        let restored = restore_keys(&store, &["k"], to.path()).await;
        assert!(!restored.hit && tree::see(to.path()).is_empty());
    };
    // A gigabyte of zeros in a hundred kilobytes, as a manifest and as one record of it.
    let zeros = vec![0; 1 << 20];
    let mut stream = zstd::Encoder::new(Vec::new(), 3).unwrap();
    for _ in 0..1024 {
        std::io::Write::write_all(&mut stream, &zeros).unwrap();
    }
    refuse(stream.finish().unwrap()).await;
    let mut stream = zstd::Encoder::new(Vec::new(), 3).unwrap();
    std::io::Write::write_all(&mut stream, &u32::MAX.to_le_bytes()).unwrap();
    for _ in 0..1024 {
        std::io::Write::write_all(&mut stream, &zeros).unwrap();
    }
    refuse(stream.finish().unwrap()).await;
    // A frame that becomes a thousand times what it says.
    let store = Memory::new();
    let (pack, info, frame) = forge::pack(&vec![b'x'; 1 << 30]);
    store.put(&format!("v1/7/unprotected/packs/{}", info.digest), pack.into()).await.unwrap();
    let records = [x("a")];
    let mut header = header(&records);
    header.packs.push(info);
    header.frames.push(forge::Frame { raw: 1 << 20, ..frame });
    forge::plant(&store, "k", encode(&header, &records)).await;
    assert!(!restore_keys(&store, &["k"], to.path()).await.hit);
    // A file of a petabyte, of one chunk over and over, is refused for its size before a byte of it is written.
    let mut huge = header;
    huge.bytes = 1 << 50;
    refuse(encode(&huge, &[record("a", Node::Directory)])).await;
    let peak = fs::read_to_string("/proc/self/status").unwrap();
    let peak = peak.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim_end_matches(" kB").trim();
    // The gigabyte above is ours.
    assert!(peak.parse::<u64>().unwrap() < (1 << 20) + (512 << 10), "{peak} kB");
}

#[tokio::test]
async fn a_save_never_reads_through_a_link() {
    let (store, world) = (Memory::new(), tempdir().unwrap());
    let from = world.path().join("from");
    write(world.path(), "outside/secret", "secret");
    write(&from, "d/file", "x");
    symlink("../../outside", from.join("d/link")).unwrap();
    symlink("../outside", from.join("link")).unwrap();
    let wanted = ["d", "link/secret", "link/*", "d/**/secret", "../outside/secret", "link"];
    let saved = save_paths(&store, "k", &from, &wanted).await;
    assert!(saved.warnings.iter().any(|line| line.contains("link/secret: leads through a symbolic link")), "{saved:?}");
    let to = tempdir().unwrap();
    restore_keys(&store, &["k"], to.path()).await;
    let seen = tree::see(to.path());
    assert_eq!(seen.keys().map(|path| path.to_str().unwrap()).collect::<Vec<_>>(), ["d", "d/file", "d/link", "link"]);
    assert!(to.path().join("link").symlink_metadata().unwrap().is_symlink());
    assert_eq!(to.path().join("d/file").metadata().unwrap().size(), 1);
}
