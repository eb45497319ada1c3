//! Directories of the target in which something else is mounted: no rename leads into them.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{fs, os::unix::fs::symlink, path::Path};

use support::{
    cli::{command, run, url, with_mounts},
    noise, write,
};
use tempfile::tempdir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_warmstart-cache");

fn save(from: &Path, store: &Path) {
    let saved =
        run(command(&url(store), &["save", "--scope", "7/unprotected", "--key", "k", "deps"]).current_dir(from));
    assert_eq!(saved.code, Some(0), "{saved:?}");
}

/// Two mounts below the target, one in the other, the inner of this size; `look` is run in the target afterwards.
fn restore(store: &Path, target: &Path, size: &str, look: &str) -> support::cli::Said {
    with_mounts(&format!(
        r"cd {target}
        mkdir -p deps/here/inner
        mount -t tmpfs none deps/here
        mkdir deps/here/inner
        mount -t tmpfs -o size={size} none deps/here/inner
        echo old > deps/here/inner/a
        echo kept > deps/here/own
        {PROGRAM} --store {store} restore --scope 7/unprotected --key k >&2
        find . -name '.warmstart*'
        {look}",
        target = target.display(),
        store = url(store),
    ))
}

fn tree(directory: &Path) {
    write(directory, "deps/plain", "plain");
    write(directory, "deps/here/a/b/file", "in the mount");
    write(directory, "deps/here/inner/a", "new");
    write(directory, "deps/here/inner/large", noise(100_000, 1));
    fs::hard_link(directory.join("deps/here/inner/a"), directory.join("deps/here/inner/second")).unwrap();
    symlink("a/b/file", directory.join("deps/here/link")).unwrap();
    let old = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000));
    let set = |path: &str| fs::File::open(directory.join(path)).unwrap().set_times(old).unwrap();
    for path in ["deps/here/a/b/file", "deps/here/a/b", "deps/here/a", "deps/here", "deps/here/inner/a"] {
        set(path);
    }
}

#[test]
fn a_cache_goes_into_what_is_mounted_in_its_directories() {
    let (from, to, store) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    tree(from.path());
    save(from.path(), store.path());
    let look = "cat deps/plain deps/here/link deps/here/inner/second deps/here/own; \
                stat -c ' %Y %h' deps/here deps/here/a/b deps/here/a/b/file deps/here/inner/a; \
                cmp deps/here/inner/large \"$FROM\"/deps/here/inner/large";
    let look = look.replace("$FROM", &from.path().display().to_string());
    let said = restore(store.path(), to.path(), "1m", &look);
    assert_eq!(said.code, Some(0), "{said:?}");
    let times = " 1000000 4\n 1000000 2\n 1000000 1\n 1000000 2\n";
    assert_eq!(said.out, format!("plainin the mountnewkept\n{times}"), "{said:?}");
}

#[test]
fn where_a_mount_has_no_room_nothing_is_as_new() {
    let (from, to, store) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    tree(from.path());
    save(from.path(), store.path());
    let said = restore(store.path(), to.path(), "64k", "find . -type f -o -type l; cat deps/here/inner/a");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("No space left on device"), "{said:?}");
    let mut lines: Vec<_> = said.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["./deps/here/inner/a", "./deps/here/own", "old"], "{said:?}");
}
