//! Which files a save takes, and what it says about the others.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use support::{key, paths, restore_keys, save_paths, scope, tree, write};
use tempfile::tempdir;
use warmstart_cache::{SaveOptions, Saved, Selection, save, store::Memory};

/// Saves from a directory and gives what a restore has, with the save's own words.
async fn taken(from: &Path, selection: &Selection) -> (Vec<String>, Saved) {
    let (store, to) = (Memory::new(), tempdir().unwrap());
    let saved = save(&store, &scope(), &key("k"), from, selection, &SaveOptions::default()).await.unwrap();
    restore_keys(&store, &["k"], to.path()).await;
    let seen = tree::see(to.path());
    let files = seen.keys().filter(|path| !to.path().join(path).is_dir());
    (files.map(|path| path.to_str().unwrap().to_owned()).collect(), saved)
}

#[tokio::test]
async fn paths_globs_and_exclusions_select() {
    let from = tempdir().unwrap();
    for path in ["a/x.o", "a/b/y.o", "a/b/y.c", "c/x.o", "top.o", ".hidden", "[ab]*", "a/node_modules/m/i.js"] {
        write(from.path(), path, path);
    }
    let absolute = from.path().join("c").to_str().unwrap().to_owned();
    for (wanted, expected) in [
        (&["a/b"][..], &["a/b/y.c", "a/b/y.o"][..]),
        (&["a/b/", "./c/../c"], &["a/b/y.c", "a/b/y.o", "c/x.o"]),
        (&["*.o"], &["top.o"]),
        (&["**/*.o"], &["a/b/y.o", "a/x.o", "c/x.o", "top.o"]),
        (&["a/**/*.o"], &["a/b/y.o", "a/x.o"]),
        (&["**/node_modules"], &["a/node_modules/m/i.js"]),
        (&["{c,a/b}/?.o"], &["a/b/y.o", "c/x.o"]),
        (&["a", "!a/b"], &["a/node_modules/m/i.js", "a/x.o"]),
        (&["!**/*.o", "a"], &["a/b/y.c", "a/node_modules/m/i.js"]),
        (&["a", "!**/node_modules", "!a/b/**"], &["a/x.o"]),
        // A name that exists is that file, whatever it looks like.
        (&["[ab]*"], &["[ab]*"]),
        (&["."], &[".hidden", "[ab]*", "a/b/y.c", "a/b/y.o", "a/node_modules/m/i.js", "a/x.o", "c/x.o", "top.o"]),
        (&[absolute.as_str()], &["c/x.o"]),
    ] {
        let (files, saved) = taken(from.path(), &paths(wanted)).await;
        assert_eq!(files, expected, "{wanted:?} {saved:?}");
        assert!(saved.warnings.is_empty(), "{wanted:?} {saved:?}");
    }
}

#[tokio::test]
async fn nothing_there_saves_nothing_and_warns() {
    let from = tempdir().unwrap();
    let (files, saved) = taken(from.path(), &paths(&["node_modules", "*.none"])).await;
    assert!(files.is_empty() && !saved.saved && saved.reason.is_some());
    assert_eq!(saved.warnings, ["node_modules: no matching files", "*.none: no matching files"]);
}

#[tokio::test]
async fn what_is_missing_or_outside_is_named_and_the_rest_is_saved() {
    let from = tempdir().unwrap();
    write(from.path(), "a", "1");
    let (files, saved) = taken(from.path(), &paths(&["a", "missing", "../x", "/etc/passwd", "", "a[", "!/etc"])).await;
    assert_eq!(files, ["a"]);
    assert_eq!(saved.warnings.len(), 6, "{saved:?}");
    for name in ["missing: ", "../x: ", "/etc/passwd: ", ": is empty", "a[: ", "!/etc: "] {
        assert!(saved.warnings.iter().any(|line| line.contains(name)), "{name} in {saved:?}");
    }
}

#[tokio::test]
async fn a_list_of_untracked_files_is_saved_too() {
    let from = tempdir().unwrap();
    for path in ["a", "b/*", "c.log"] {
        write(from.path(), path, path);
    }
    let untracked = ["a", "b/*", "c.log", "gone", "../x"].map(PathBuf::from).to_vec();
    let selection = Selection { paths: vec!["!*.log".into()], untracked };
    let (files, saved) = taken(from.path(), &selection).await;
    assert_eq!(files, ["a", "b/*"]);
    assert_eq!(saved.warnings.len(), 2, "{saved:?}");
}

#[tokio::test]
async fn sockets_and_pipes_are_left_out_and_named() {
    let from = tempdir().unwrap();
    write(from.path(), "d/file", "x");
    let _socket = UnixListener::bind(from.path().join("d/socket")).unwrap();
    assert!(Command::new("mkfifo").arg(from.path().join("d/pipe")).status().unwrap().success());
    let (files, saved) = taken(from.path(), &paths(&["d", "d/pipe"])).await;
    assert_eq!(files, ["d/file"]);
    assert!(saved.warnings.iter().any(|line| line.starts_with("d/socket: is a socket")), "{saved:?}");
    assert!(saved.warnings.iter().any(|line| line.starts_with("d/pipe: is a socket")), "{saved:?}");
}

#[tokio::test]
async fn a_link_given_as_a_path_is_saved_as_one() {
    let from = tempdir().unwrap();
    write(from.path(), "d/file", "x");
    symlink("d", from.path().join("link")).unwrap();
    let (files, saved) = taken(from.path(), &paths(&["link", "lin*"])).await;
    assert_eq!((files, saved.files), (vec!["link".to_owned()], 1));
}

#[tokio::test]
async fn files_that_keep_changing_are_left_out_and_named() {
    let from = tempdir().unwrap();
    write(from.path(), "d/still", "x");
    write(from.path(), "d/moving", vec![1; 30_000_000]);
    let (stop, path) = (Arc::new(AtomicBool::new(false)), from.path().join("d/moving"));
    let writer = {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
            while !stop.load(Ordering::Relaxed) {
                std::io::Write::write_all(&mut file, b"more").unwrap();
            }
        })
    };
    let (files, saved) = taken(from.path(), &paths(&["d"])).await;
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert_eq!(files, ["d/still"]);
    assert_eq!(saved.warnings, ["d/moving: keeps changing while it is read and is left out"]);
}

#[test]
fn files_that_cannot_be_read_are_left_out_and_named() {
    // Root reads everything, so the program runs as somebody else.
    let world = tempdir().unwrap();
    tree::chmod(world.path(), 0o755);
    let (from, store) = (world.path().join("from"), world.path().join("store"));
    for path in ["d/good", "d/bad", "d/closed/inside"] {
        write(&from, path, "x");
    }
    tree::chmod(&from.join("d/bad"), 0);
    tree::chmod(&from.join("d/closed"), 0);
    fs::create_dir(&store).unwrap();
    tree::chmod(&store, 0o777);
    let program = world.path().join("warmstart-cache");
    fs::copy(env!("CARGO_BIN_EXE_warmstart-cache"), &program).unwrap();
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        command
    } else {
        Command::new(&program)
    };
    let url = format!("file://{}/s", store.display());
    command.args(["--store", &url, "save", "--key", "k", "d", "-C"]).arg(&from);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("d/bad: cannot be read") && said.contains("d/closed: cannot be listed"), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("Saved k: 1 file, 1 B"), "{output:?}");
}

#[tokio::test]
async fn leftovers_of_a_killed_restore_are_not_saved() {
    let from = tempdir().unwrap();
    write(from.path(), "a", "1");
    write(from.path(), ".warmstart-restore-0123456789abcdef/tree/a", "half");
    let saved = save_paths(&Memory::new(), "k", from.path(), &["."]).await;
    assert_eq!(saved.files, 1);
    assert!(!from.path().join(".warmstart-restore-0123456789abcdef").exists());
}
