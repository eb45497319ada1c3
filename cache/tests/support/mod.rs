//! What several tests need: an S3 server, trees of files, forged manifests, a store that fails.

#![allow(dead_code, reason = "every test binary uses its own part")]
#![allow(unreachable_pub, reason = "every test binary is a crate of its own")]

pub mod aged;
pub mod cli;
pub mod faulty;
pub mod forge;
pub mod harm;
pub mod killed;
pub mod moto;
pub mod promises;
pub mod recorder;
pub mod sidecar;
pub mod tree;
pub mod twice;

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use warmstart_cache::{
    Key, Protection, RestoreOptions, Restored, SaveOptions, Saved, Scope, Selection, restore, save, store::Store,
};

pub fn scope() -> Scope {
    Scope::new("7", Protection::Unprotected).expect("a scope")
}

pub fn key(name: &str) -> Key {
    Key::new(name).expect("a key")
}

pub fn paths(paths: &[&str]) -> Selection {
    Selection { paths: paths.iter().map(|path| (*path).to_owned()).collect(), untracked: Vec::new() }
}

pub async fn save_paths<S: Store>(store: &S, name: &str, directory: &Path, wanted: &[&str]) -> Saved {
    let options = SaveOptions::default();
    save(store, &scope(), &key(name), directory, &paths(wanted), &options).await.expect("save")
}

pub async fn restore_keys<S: Store>(store: &S, names: &[&str], directory: &Path) -> Restored {
    let keys: Vec<_> = names.iter().map(|name| key(name)).collect();
    restore(store, &scope(), &keys, directory, &RestoreOptions::default()).await.expect("restore")
}

/// Fails a test that would show nothing as another user: one that is left out must not look like one that passed.
pub fn needs_root() {
    assert!(rustix::process::geteuid().is_root(), "this test makes devices and trusted attributes: run it as root");
}

/// Runs a future on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// Writes a file and the directories that lead to it.
pub fn write(directory: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = directory.join(path);
    fs::create_dir_all(path.parent().expect("a parent")).expect("make directories");
    fs::write(path, content).expect("write file");
}

/// Waits until a save relies on what a file looks like.
pub fn settle(path: &Path) {
    let meta = path.metadata().expect("stat");
    let nanoseconds = u32::try_from(meta.ctime_nsec()).expect("below a billion");
    let changed = UNIX_EPOCH + Duration::new(u64::try_from(meta.ctime()).expect("after 1970"), nanoseconds);
    while SystemTime::now() < changed + Duration::from_millis(25) {
        std::thread::yield_now();
    }
}

/// Makes all objects of a store in a directory older than a collection spares.
pub fn grow_old(store: &Path) {
    for entry in walkdir::WalkDir::new(store.join("v1")) {
        let entry = entry.expect("walk");
        if entry.file_type().is_file() {
            let time = SystemTime::now() - Duration::from_hours(60);
            let file = fs::File::options().write(true).open(entry.path()).expect("open");
            file.set_modified(time).expect("set the time");
        }
    }
}

/// Bytes that look random and are the same in every run.
pub fn noise(length: usize, mut state: u64) -> Vec<u8> {
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ (state >> 29)).to_be_bytes()
    };
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(length);
    bytes
}
