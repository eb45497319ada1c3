//! kill -9 at every point of a save, a restore and a collection, alone and beside another: the store stays valid, each
//! path of a directory is old or new, whole, and the next run succeeds.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use support::{
    cli::{Said, command, run, url},
    grow_old,
    harm::each_of,
    killed::{CALLS, at_each, start, was_killed},
    tree, write,
};
use tempfile::{TempDir, tempdir};

/// What is at a path and below it: of directories, that they are there; of files not, which others they are.
type Part = BTreeMap<PathBuf, Option<tree::Seen>>;

fn part(directory: &Path, name: &str) -> Part {
    let seen = tree::see(&directory.join("d")).into_iter().filter(|(path, _)| path.starts_with(name));
    let kind = |seen: tree::Seen| {
        (seen.mode & 0o170_000 != 0o040_000).then_some(tree::Seen { linked: PathBuf::new(), ..seen })
    };
    seen.map(|(path, seen)| (path, kind(seen))).collect()
}

/// Everything that a restore replaces in one step.
const PARTS: [&str; 6] = ["file", "file over directory", "directory over file", "new", "new directory", "old"];

/// The tree of `round`.
fn make(directory: &Path, round: &str) {
    write(directory, "d/file", round);
    write(directory, "d/file over directory", round);
    write(directory, "d/directory over file/x", round);
    write(directory, "d/new", round);
    write(directory, "d/new directory/x", round);
    symlink("x", directory.join("d/new directory/link")).unwrap();
    fs::hard_link(directory.join("d/new"), directory.join("d/new directory/second name")).unwrap();
    tree::chmod(&directory.join("d/new directory"), 0o555);
}

/// What a directory has before a restore.
fn prepare(directory: &Path) {
    for path in ["d/file", "d/file over directory/x", "d/directory over file", "d/old"] {
        write(directory, path, "old");
        tree::set_mtime(&directory.join(path), 1_000_000_000, 0);
    }
}

/// A save or a restore of key `k`, which notes what it saw in the store's own directory.
fn work(store: &Path, verb: &str, directory: &Path) -> Command {
    let more = if verb == "restore" { "--fail-on-miss" } else { "d" };
    let mut command = command(&url(store), &[verb, "--key", "k", more]);
    command.arg("-C").arg(directory).env("WARMSTART_CACHE_RECORDS", store.join("notes"));
    command
}

fn succeed(command: &mut Command, what: &str) -> Said {
    let said = run(command);
    assert_eq!(said.code, Some(0), "{what}: {said:?}");
    said
}

fn leftovers(directory: &Path) -> usize {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with(".warmstart")).count()
}

/// Trees under key `k`, and a directory that is not yet like them.
struct Scene {
    store: TempDir,
    from: TempDir,
}

impl Scene {
    fn new() -> Self {
        let (store, from) = (tempdir().unwrap(), tempdir().unwrap());
        make(from.path(), "new");
        succeed(&mut work(store.path(), "save", from.path()), "save");
        Self { store, from }
    }

    /// Each path has what it had or what one of the caches has for it.
    fn check_parts(&self, to: &Path, others: &[&Path], what: &str) {
        for name in PARTS {
            let seen = part(to, name);
            let mut known: Vec<_> = others.iter().map(|directory| part(directory, name)).collect();
            known.push(part(self.from.path(), name));
            assert!(known.contains(&seen), "{what}: {name}: {seen:?} is neither of {known:?}");
        }
    }

    /// Restores, which must succeed whatever happened before.
    fn check_next(&self, to: &Path, what: &str) {
        succeed(&mut work(self.store.path(), "restore", to), what);
        assert_eq!(leftovers(to), 0, "{what}");
        let mut seen = tree::see(to);
        assert_eq!(seen.remove(Path::new("d/old")).unwrap().content, b"old", "{what}");
        assert_eq!(seen, tree::see(self.from.path()), "{what}");
    }

    /// Kills a restore, alone or beside another.
    fn kill_restore(&self, call: &str, number: usize, beside: bool) -> bool {
        let (to, before, what) = (tempdir().unwrap(), tempdir().unwrap(), format!("{call} {number}, beside: {beside}"));
        prepare(to.path());
        prepare(before.path());
        let one = start(&work(self.store.path(), "restore", to.path()), call, number);
        if beside {
            succeed(&mut work(self.store.path(), "restore", to.path()), &what);
        }
        let killed = was_killed(one);
        self.check_parts(to.path(), &[before.path()], &what);
        self.check_next(to.path(), &what);
        killed
    }
}

#[test]
fn a_restore_killed_before_any_of_its_calls_leaves_each_path_old_or_new() {
    let (scene, kills) = (Scene::new(), AtomicUsize::new(0));
    each_of(&CALLS, |call| {
        kills.fetch_add(at_each(call, |call, number| scene.kill_restore(call, number, false)), Ordering::Relaxed);
    });
    assert!(kills.load(Ordering::Relaxed) > 50, "{kills:?}");
}

#[test]
fn a_restore_beside_one_that_is_killed_succeeds() {
    let scene = Scene::new();
    each_of(&CALLS, |call| {
        at_each(call, |call, number| scene.kill_restore(call, number, true));
    });
}

/// A store that no case shares with another.
fn copy(store: &Path) -> TempDir {
    let copy = tempdir().unwrap();
    for entry in walkdir::WalkDir::new(store).min_depth(1) {
        let entry = entry.unwrap();
        let to = copy.path().join(entry.path().strip_prefix(store).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir(to).unwrap();
        } else {
            fs::copy(entry.path(), &to).unwrap();
            let modified = entry.metadata().unwrap().modified().unwrap();
            File::options().write(true).open(to).unwrap().set_modified(modified).unwrap();
        }
    }
    copy
}

/// Gives the tree that the key stands for, after a look at everything in the store.
fn newest(store: &Path, what: &str) -> BTreeMap<PathBuf, tree::Seen> {
    succeed(&mut command(&url(store), &["verify"]), what);
    let to = tempdir().unwrap();
    succeed(&mut work(store, "restore", to.path()), what);
    tree::see(to.path())
}

/// Trees in directories of their own.
fn trees(rounds: &[&str]) -> Vec<TempDir> {
    let tree = |round: &&str| {
        let directory = tempdir().unwrap();
        make(directory.path(), round);
        directory
    };
    rounds.iter().map(tree).collect()
}

#[test]
fn a_save_killed_before_any_of_its_calls_leaves_the_old_or_the_new_cache() {
    let (scene, trees, kills) = (Scene::new(), trees(&["second", "third", "next"]), AtomicUsize::new(0));
    let [old, second, third, next] = [&scene.from, &trees[0], &trees[1], &trees[2]].map(|tree| tree::see(tree.path()));
    let kill = |call: &str, number: usize, beside: bool| {
        let (store, what) = (copy(scene.store.path()), format!("{call} {number}, beside: {beside}"));
        let one = start(&work(store.path(), "save", trees[0].path()), call, number);
        if beside {
            succeed(&mut work(store.path(), "save", trees[1].path()), &what);
        }
        let killed = was_killed(one);
        let seen = newest(store.path(), &what);
        let other = if beside { &third } else { &old };
        assert!(seen == second || seen == *other, "{what}: {seen:?}");
        succeed(&mut work(store.path(), "save", trees[2].path()), &what);
        assert_eq!(newest(store.path(), &what), next, "{what}");
        killed
    };
    each_of(&CALLS, |call| {
        for beside in [false, true] {
            kills.fetch_add(at_each(call, |call, number| kill(call, number, beside)), Ordering::Relaxed);
        }
    });
    assert!(kills.load(Ordering::Relaxed) > 50, "{kills:?}");
}

#[test]
fn a_collection_killed_before_any_of_its_calls_leaves_a_valid_store() {
    let (scene, trees, kills) = (Scene::new(), trees(&["second", "third"]), AtomicUsize::new(0));
    succeed(&mut work(scene.store.path(), "save", trees[0].path()), "save");
    grow_old(scene.store.path());
    let [second, third] = [&trees[0], &trees[1]].map(|tree| tree::see(tree.path()));
    let kill = |call: &str, number: usize, beside: bool| {
        let (store, what) = (copy(scene.store.path()), format!("{call} {number}, beside: {beside}"));
        let collect = || command(&url(store.path()), &["gc", "--keep", "1"]);
        let one = start(&collect(), call, number);
        if beside {
            succeed(&mut work(store.path(), "save", trees[1].path()), &what);
            succeed(&mut collect(), &what);
        }
        let killed = was_killed(one);
        let right = if beside { &third } else { &second };
        assert_eq!(newest(store.path(), &what), *right, "{what}");
        succeed(&mut collect(), &what);
        assert_eq!(newest(store.path(), &what), *right, "{what}");
        killed
    };
    each_of(&CALLS, |call| {
        for beside in [false, true] {
            kills.fetch_add(at_each(call, |call, number| kill(call, number, beside)), Ordering::Relaxed);
        }
    });
    assert!(kills.load(Ordering::Relaxed) > 50, "{kills:?}");
}

#[test]
fn two_restores_of_different_caches_at_once_leave_each_path_whole() {
    let (scene, trees) = (Scene::new(), trees(&["second"]));
    let mut other = command(&url(scene.store.path()), &["save", "--key", "other", "d"]);
    succeed(other.arg("-C").arg(trees[0].path()), "save");
    for round in 0..10 {
        let (to, before, what) = (tempdir().unwrap(), tempdir().unwrap(), format!("round {round}"));
        prepare(to.path());
        prepare(before.path());
        let mut other = command(&url(scene.store.path()), &["restore", "--key", "other"]);
        let mut other = other.arg("-C").arg(to.path()).stdout(Stdio::null()).spawn().unwrap();
        succeed(&mut work(scene.store.path(), "restore", to.path()), &what);
        assert!(other.wait().unwrap().success(), "{what}");
        scene.check_parts(to.path(), &[before.path(), trees[0].path()], &what);
        scene.check_next(to.path(), &what);
    }
}
