//! Nothing leads out, whatever a job plants.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::{Attributes, Kind, Workspace, remove_tree};
use rustix::fs::{Mode, OFlags};
use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

/// A workspace, and a directory beside it with a secret.
struct Bench {
    top: TempDir,
    inside: Workspace,
}

impl Bench {
    fn new() -> Self {
        let top = TempDir::new().unwrap();
        fs::create_dir_all(top.path().join("in/dir")).unwrap();
        fs::create_dir(top.path().join("out")).unwrap();
        fs::write(top.path().join("in/dir/file"), "inside").unwrap();
        fs::write(top.path().join("out/file"), "secret").unwrap();
        let inside = Workspace::open(&top.path().join("in")).unwrap();
        Self { top, inside }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.top.path().join(path)
    }

    fn link(&self, target: &str, name: &str) {
        symlink(target, self.at("in").join(name)).unwrap();
    }
}

fn p(path: &str) -> &Path {
    Path::new(path)
}

fn text(mut file: fs::File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

/// All ways out that a job can plant, as names of directories.
fn ways_out(bench: &Bench) -> Vec<String> {
    bench.link(bench.at("out").to_str().unwrap(), "absolute");
    bench.link("../out", "relative");
    bench.link("dir/../../out", "winding");
    bench.link("/proc/self/root", "magic");
    bench.link("/proc/self/cwd", "cwd");
    bench.link("absolute", "chained");
    bench.link("loop", "loop");
    let links = ["absolute", "relative", "winding", "magic", "cwd", "chained", "loop"];
    let plain = ["..", "../out", "dir/../../out", "/", bench.top.path().to_str().unwrap()];
    links.iter().chain(&plain).map(|name| (*name).to_owned()).collect()
}

#[test]
fn no_operation_leaves_through_a_planted_way() {
    let bench = Bench::new();
    let inside = &bench.inside;
    for way in ways_out(&bench) {
        let way = p(&way);
        assert!(inside.enter(way).is_err(), "{way:?}");
        assert!(inside.names(way).is_err(), "{way:?}");
        let file = way.join("file");
        assert!(inside.read(&file).is_err(), "{file:?}");
        assert!(inside.stat(&file).is_err(), "{file:?}");
        assert!(inside.remove(&file).is_err(), "{file:?}");
        assert!(inside.rename(&file, p("stolen")).is_err(), "{file:?}");
        assert!(inside.rename(p("dir/file"), &way.join("moved")).is_err(), "{file:?}");
        assert!(inside.hard_link(&file, p("stolen")).is_err(), "{file:?}");
        assert!(inside.hard_link(p("dir/file"), &way.join("linked")).is_err(), "{file:?}");
        assert!(inside.create(&way.join("new"), 0o644).is_err(), "{file:?}");
        assert!(inside.create_directories(&way.join("new/dir"), 0o755).is_err(), "{file:?}");
        assert!(inside.symlink(p("x"), &way.join("new")).is_err(), "{file:?}");
        assert!(inside.read_link(&way.join("x")).is_err(), "{file:?}");
        assert!(inside.restore(&file, &Attributes { mode: Some(0), ..Attributes::default() }).is_err(), "{file:?}");
    }
    assert_eq!(fs::read_to_string(bench.at("out/file")).unwrap(), "secret");
    assert_eq!(fs::read_dir(bench.at("out")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(bench.top.path()).unwrap().count(), 2);
}

#[test]
fn a_symlink_that_stays_inside_is_followed_on_the_way_but_not_at_the_end() {
    let bench = Bench::new();
    bench.link("dir", "to-dir");
    bench.link("dir/file", "to-file");
    assert_eq!(text(bench.inside.read(p("to-dir/file")).unwrap()), "inside");
    assert!(bench.inside.read(p("to-file")).is_err());
    assert_eq!(bench.inside.stat(p("to-file")).unwrap().unwrap().kind, Kind::Symlink);
    bench.inside.remove(p("to-dir")).unwrap();
    assert!(bench.at("in/dir/file").exists());
}

#[test]
fn a_refusal_says_what_was_attempted_and_why() {
    let bench = Bench::new();
    bench.link("/", "root");
    let error = bench.inside.read(p("root/etc/passwd")).unwrap_err();
    assert_eq!(error.to_string(), "cannot open root/etc/passwd: it leads out of its directory");
    let missing = bench.inside.read(p("missing")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn files_directories_and_links_are_made_with_their_modes() {
    let bench = Bench::new();
    let inside = &bench.inside;
    inside.create_directories(p("a/b/c"), 0o777).unwrap();
    inside.create_directories(p("a/b/c"), 0o700).unwrap();
    inside.create(p("a/b/c/f"), 0o666).unwrap().write_all(b"x").unwrap();
    assert_eq!(inside.create(p("a/b/c/f"), 0o666).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(inside.create_directories(p("a/b/c/f/g"), 0o777).unwrap_err().kind(), ErrorKind::NotADirectory);
    inside.symlink(p("/any/where"), p("a/l")).unwrap();
    inside.hard_link(p("a/b/c/f"), p("a/h")).unwrap();
    inside.rename(p("a/h"), p("a/r")).unwrap();
    let mode = |path: &str| inside.stat(p(path)).unwrap().unwrap().mode;
    assert_eq!((mode("a"), mode("a/b/c"), mode("a/b/c/f")), (0o777, 0o777, 0o666));
    assert_eq!(inside.read_link(p("a/l")).unwrap(), p("/any/where"));
    assert_eq!(inside.stat(p("a/r")).unwrap().unwrap().inode, inside.stat(p("a/b/c/f")).unwrap().unwrap().inode);
    assert_eq!(inside.names(p("a")).unwrap(), ["b", "l", "r"]);
    assert_eq!(inside.stat(p("a/none")).unwrap(), None);
    assert_eq!(inside.stat(p("a/r/none")).unwrap(), None);
    assert_eq!(inside.stat(p("")).unwrap().unwrap().kind, Kind::Directory);
}

#[test]
fn attributes_come_back_on_files_directories_and_symlinks() {
    let bench = Bench::new();
    let attributes = Attributes { mode: Some(0o2751), owner: Some((12, 34)), modified: Some((1_000_000_000, 500)) };
    bench.link("/nowhere", "link");
    attributes.apply(&bench.inside.read(p("dir/file")).unwrap()).unwrap();
    bench.inside.restore(p("dir"), &attributes).unwrap();
    bench.inside.restore(p("link"), &attributes).unwrap();
    let root = rustix::process::geteuid().is_root();
    for path in ["dir/file", "dir", "link"] {
        let stat = bench.inside.stat(p(path)).unwrap().unwrap();
        assert_eq!(stat.modified, (1_000_000_000, 500), "{path}");
        assert!(!root || (stat.uid, stat.gid) == (12, 34), "{path}");
        assert!(path == "link" || stat.mode == 0o2751, "{path}");
    }
}

#[test]
fn a_tree_is_removed_without_following_its_symlinks() {
    let bench = Bench::new();
    bench.link("../../out", "dir/out");
    bench.link("../../out/file", "dir/file-out");
    let mut deep = bench.at("in/dir");
    for _ in 0..200 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    bench.inside.remove(p("dir")).unwrap();
    bench.inside.remove(p("dir")).unwrap();
    bench.inside.remove(p("dir/none")).unwrap();
    assert!(!bench.at("in/dir").exists());
    assert_eq!(fs::read_to_string(bench.at("out/file")).unwrap(), "secret");
    assert!(bench.inside.remove(p("")).is_err());
}

/// Nests directories, deeper than a path can say, a process may open, or a stack holds.
fn nest(above: &Path, depth: usize) {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut directory = rustix::fs::open(above, flags, Mode::empty()).unwrap();
    for _ in 0..depth {
        rustix::fs::mkdirat(&directory, "d", Mode::RWXU).unwrap();
        directory = rustix::fs::openat(&directory, "d", flags, Mode::empty()).unwrap();
    }
}

#[test]
fn a_tree_is_removed_however_deep_it_is() {
    // In memory: there are disks on which each directory takes milliseconds.
    let top = tempfile::tempdir_in("/dev/shm").unwrap();
    let tree = top.path().join("tree");
    // What has the names that the removal gives, does not disturb it.
    fs::create_dir_all(tree.join("removed-2/full")).unwrap();
    fs::create_dir_all(tree.join("removed-3")).unwrap();
    fs::write(tree.join("removed-4"), "").unwrap();
    nest(&tree, 30_000);
    remove_tree(&tree).unwrap();
    remove_tree(&tree).unwrap();
    remove_tree(&top.path().join("none/tree")).unwrap();
    assert_eq!(fs::read_dir(top.path()).unwrap().count(), 0);
}

#[test]
fn a_walk_visits_parents_first_in_order_and_follows_nothing() {
    let bench = Bench::new();
    bench.link("../out", "dir/link");
    bench.link("..", "dir/up");
    fs::create_dir(bench.at("in/dir/sub")).unwrap();
    fs::write(bench.at("in/dir/sub/a"), "").unwrap();
    let walk = |from: &str| {
        let mut seen = Vec::new();
        bench.inside.walk(p(from), &mut |path, stat| seen.push((path.display().to_string(), stat.kind))).unwrap();
        seen
    };
    let wanted = [
        ("dir", Kind::Directory),
        ("dir/file", Kind::File),
        ("dir/link", Kind::Symlink),
        ("dir/sub", Kind::Directory),
        ("dir/sub/a", Kind::File),
        ("dir/up", Kind::Symlink),
    ]
    .map(|(path, kind)| (path.to_owned(), kind));
    assert_eq!(walk("dir"), wanted);
    assert_eq!(walk("")[1..], wanted);
    assert_eq!(walk("dir/file").len(), 1);
    assert_eq!(walk("none"), []);
    assert_eq!(walk("dir/link").len(), 1);
}

#[test]
fn names_may_be_any_bytes() {
    let bench = Bench::new();
    let name = Path::new(OsStr::from_bytes(b"\xff\xfe\n'"));
    bench.inside.create(name, 0o600).unwrap();
    bench.inside.symlink(name, p("link")).unwrap();
    assert!(bench.inside.names(p("")).unwrap().contains(&name.as_os_str().to_owned()));
    assert_eq!(bench.inside.read_link(p("link")).unwrap(), name);
    bench.inside.read(name).unwrap();
    let nul = Path::new(OsStr::from_bytes(b"a\0b"));
    assert!(bench.inside.create(nul, 0o600).is_err());
}

#[test]
fn pipes_and_directories_are_not_read_and_do_not_hang() {
    let bench = Bench::new();
    rustix::fs::mkfifoat(rustix::fs::CWD, bench.at("in/pipe"), rustix::fs::Mode::RWXU).unwrap();
    assert!(bench.inside.read(p("pipe")).is_err());
    assert!(bench.inside.read(p("dir")).is_err());
    assert_eq!(bench.inside.stat(p("pipe")).unwrap().unwrap().kind, Kind::Other);
}

#[test]
fn what_is_swapped_while_we_look_never_leads_out() {
    let bench = Bench::new();
    fs::create_dir(bench.at("in/real")).unwrap();
    fs::write(bench.at("in/real/file"), "inside").unwrap();
    bench.link("../out", "evil");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for (from, to) in [("dir", "kept"), ("evil", "dir"), ("dir", "evil"), ("kept", "dir")] {
                    fs::rename(bench.at("in").join(from), bench.at("in").join(to)).unwrap();
                }
            }
        });
        for _ in 0..3000 {
            if let Ok(file) = bench.inside.read(p("dir/file")) {
                assert_eq!(text(file), "inside");
            }
            if let Ok(file) = bench.inside.create(p("dir/new"), 0o600) {
                drop(file);
                let _ = bench.inside.remove(p("dir/new"));
                let _ = bench.inside.remove(p("kept/new"));
            }
            let secret = fs::metadata(bench.at("out/file")).unwrap().ino();
            let _ = bench.inside.walk(p(""), &mut |path, stat| assert_ne!(stat.inode, secret, "{}", path.display()));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_dir(bench.at("out")).unwrap().count(), 1);
}
