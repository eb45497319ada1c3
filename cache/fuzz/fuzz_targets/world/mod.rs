//! Where hostile objects are restored and archives unpacked: a directory beside another that must stay as it is.

#![allow(dead_code, reason = "every target uses its own part")]

#[path = "../../../tests/support/forge.rs"]
pub mod forge;

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use warmstart_cache::{
    Key, Limits, Protection, RestoreOptions, Restored, SaveOptions, Scope, Selection, VerifyOptions, restore, save,
    store::{Memory, Store as _, list_all},
    verify,
};

/// What an input may cost.
const LIMITS: Limits = Limits { bytes: 8 << 20, entries: 2000 };

pub fn scope() -> Scope {
    Scope::new("7", Protection::Unprotected).expect("a scope")
}

pub fn key() -> Key {
    Key::new("k").expect("a key")
}

pub fn save_options() -> SaveOptions {
    SaveOptions { limits: LIMITS, ..SaveOptions::default() }
}

/// A directory to restore into, and what lies beside it.
pub struct World {
    directory: TempDir,
    pub runtime: Runtime,
    before: BTreeMap<PathBuf, Seen>,
}

/// What an enemy could change of a path.
type Seen = (u32, u32, i64, u64, Vec<u8>);

impl World {
    pub fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        for name in ["outside", "temporary"] {
            fs::create_dir(directory.path().join(name)).expect("mkdir");
        }
        fs::write(directory.path().join("outside/victim"), "untouched").expect("write");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut world = Self { directory, runtime, before: BTreeMap::new() };
        world.prepare();
        world.before = see(world.directory.path(), false);
        world
    }

    fn to(&self) -> PathBuf {
        self.directory.path().join("to")
    }

    /// An empty directory.
    pub fn temporary(&self) -> PathBuf {
        self.directory.path().join("temporary")
    }

    /// Makes the directory anew, with links that lead out of it.
    fn prepare(&self) {
        let to = self.to();
        if to.exists() {
            open_up(&to);
            fs::remove_dir_all(&to).expect("remove");
        }
        fs::create_dir(&to).expect("mkdir");
        symlink("../outside", to.join("a")).expect("symlink");
        symlink("../outside/victim", to.join("b")).expect("symlink");
        fs::write(to.join("file"), "old").expect("write");
    }

    /// Restores, verifies the store as well, and checks that nothing but the directory has changed, and that only
    /// after a hit; then `check` looks at it.
    pub fn restore(&self, store: &Memory, special: bool, check: impl FnOnce(&Path)) -> Restored {
        let to = self.to();
        let before = see(&to, true);
        let options = RestoreOptions { limits: LIMITS, special, ..RestoreOptions::default() };
        let restored = self.runtime.block_on(restore(store, &scope(), &[key()], &to, &options)).expect("a restore");
        let verified = self.runtime.block_on(verify(store, None, &VerifyOptions::default()));
        verified.expect("a verification");
        self.check_outside();
        if restored.hit {
            assert!(!see(&to, true).keys().any(|path| path.to_string_lossy().contains(".warmstart")), "left over");
            check(&to);
            self.prepare();
        } else {
            let reason = restored.reason.as_deref().unwrap_or_default();
            assert!(!reason.is_empty() && !reason.contains(char::is_control), "{reason:?}");
            assert!(see(&to, true) == before, "a miss changed the directory: {reason}");
        }
        restored
    }

    pub fn check_outside(&self) {
        assert!(see(self.directory.path(), false) == self.before, "something outside has changed");
    }
}

/// Lets directories be removed that even their owner may not write.
fn open_up(directory: &Path) {
    for entry in walkdir::WalkDir::new(directory).into_iter().filter_map(Result::ok) {
        if entry.file_type().is_dir() {
            fs::set_permissions(entry.path(), Permissions::from_mode(0o700)).expect("chmod");
        }
    }
}

/// Sees what is below a directory, as far as we may: everything, or all but `to`.
pub fn see(directory: &Path, everything: bool) -> BTreeMap<PathBuf, Seen> {
    let walk = walkdir::WalkDir::new(directory).min_depth(1).into_iter();
    let entries = walk.filter_entry(|entry| everything || entry.depth() != 1 || entry.file_name() != "to");
    let see = |entry: walkdir::DirEntry| {
        let meta = entry.path().symlink_metadata().expect("stat");
        let content = if meta.is_file() { fs::read(entry.path()).unwrap_or_default() } else { Vec::new() };
        let mtime = if meta.is_dir() { 0 } else { meta.mtime() };
        (entry.into_path(), (meta.mode(), meta.uid(), mtime, meta.nlink(), content))
    };
    entries.filter_map(Result::ok).map(see).collect()
}

/// Saves a small tree with one of everything; gives the objects whose keys contain `part`.
pub fn saved(part: &str) -> (Memory, Vec<Vec<u8>>) {
    let (store, from) = (Memory::new(), TempDir::new().expect("a directory"));
    let path = |name: &str| from.path().join(name);
    fs::create_dir_all(path("d/deep")).expect("mkdir");
    fs::write(path("d/file"), "some text ".repeat(20)).expect("write");
    fs::write(path("d/deep/other"), [7; 300]).expect("write");
    fs::write(path("d/holes"), vec![0; 200_000]).expect("write");
    fs::write(path("d/empty"), "").expect("write");
    fs::hard_link(path("d/file"), path("d/link")).expect("link");
    symlink("deep/other", path("d/symlink")).expect("symlink");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let objects = runtime.block_on(async {
        let selection = Selection { paths: vec!["d".into()], untracked: Vec::new() };
        save(&store, &scope(), &key(), from.path(), &selection, &save_options()).await.expect("save");
        let mut objects = Vec::new();
        for entry in list_all(&store, "").await.expect("list").iter().filter(|entry| entry.key.contains(part)) {
            objects.push(store.get(&entry.key, None).await.expect("get").expect("there").bytes.to_vec());
        }
        objects
    });
    (store, objects)
}

/// Writes inputs to begin with into the corpus: the first directory that the target is called with.
pub fn sow(seeds: &[Vec<u8>]) {
    let Some(corpus) = std::env::args().skip(1).find(|argument| Path::new(argument).is_dir()) else { return };
    for (seed, number) in seeds.iter().zip(0..) {
        fs::write(Path::new(&corpus).join(format!("seed-{number}")), seed).expect("write a seed");
    }
}
