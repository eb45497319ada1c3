//! kill -9, renames that fail, memory: with real processes.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use support::{
    cli::{command, run, url},
    noise, tree, write,
};
use tempfile::tempdir;

fn start(store: &Path, directory: &Path, arguments: &[&str]) -> Child {
    let mut command = command(&url(store), arguments);
    command.arg("-C").arg(directory).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start")
}

/// Kills the process once `far_enough`, unless it has ended before.
fn kill_when(mut child: Child, far_enough: impl Fn() -> bool) {
    while !far_enough() && child.try_wait().expect("wait").is_none() {
        std::thread::sleep(Duration::from_micros(200));
    }
    child.kill().expect("kill -9");
    child.wait().expect("wait");
}

fn save(store: &Path, from: &Path) {
    let said = run(command(&url(store), &["save", "--key", "k", "d"]).arg("-C").arg(from));
    assert!(said.code == Some(0) && said.out.starts_with("Saved"), "{said:?}");
}

fn restore(store: &Path, to: &Path) {
    let said = run(command(&url(store), &["restore", "--key", "k", "--fail-on-miss"]).arg("-C").arg(to));
    assert_eq!(said.code, Some(0), "{said:?}");
}

fn count(directory: &Path) -> usize {
    walkdir::WalkDir::new(directory)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .count()
}

#[test]
fn a_save_killed_at_any_point_leaves_a_whole_cache_and_the_next_one_succeeds() {
    let (store, old, new) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    write(old.path(), "d/file", "old");
    save(store.path(), old.path());
    for number in 0..60 {
        write(new.path(), &format!("d/{number}"), noise(1_000_000, number));
    }
    let before = count(store.path());
    // From nothing written to everything but the ref: three or four packs, the manifest, the ref.
    for objects in 0..8 {
        kill_when(start(store.path(), new.path(), &["save", "--key", "k", "d"]), || {
            count(store.path()) >= before + objects
        });
        let to = tempdir().unwrap();
        restore(store.path(), to.path());
        let seen = tree::see(to.path());
        assert!(seen == tree::see(old.path()) || seen == tree::see(new.path()), "{objects} {seen:?}");
    }
    save(store.path(), new.path());
    let to = tempdir().unwrap();
    restore(store.path(), to.path());
    assert_eq!(tree::see(to.path()), tree::see(new.path()));
}

#[test]
fn a_restore_killed_at_any_point_leaves_every_path_old_or_new_and_the_next_one_succeeds() {
    let (store, from) = (tempdir().unwrap(), tempdir().unwrap());
    for number in 0..200 {
        write(from.path(), &format!("d/{}/{number}", number % 20), noise(50_000 + number, number as u64));
    }
    save(store.path(), from.path());
    let contents = |directory: &Path| -> BTreeMap<_, _> {
        let seen = tree::see(directory).into_iter();
        seen.filter(|(path, _)| path.starts_with("d")).map(|(path, seen)| (path, seen.content)).collect()
    };
    let new = contents(from.path());
    for staged in [0, 1, 50, 150, 200, 200, 200] {
        let to = tempdir().unwrap();
        for number in 0..200 {
            write(to.path(), &format!("d/{}/{number}", number % 20), "old");
        }
        write(to.path(), "d/extra", "stays");
        let old = contents(to.path());
        let staging = || {
            let mut names = fs::read_dir(to.path()).expect("list").filter_map(Result::ok);
            names.find(|entry| entry.file_name().to_string_lossy().starts_with(".warmstart")).map(|entry| entry.path())
        };
        kill_when(start(store.path(), to.path(), &["restore", "--key", "k"]), || {
            staging().is_some_and(|staging| count(&staging.join("tree")) >= staged)
        });
        let seen = contents(to.path());
        for (path, content) in &seen {
            assert!(old.get(path) == Some(content) || new.get(path) == Some(content), "{}", path.display());
        }
        assert_eq!(seen.len(), old.len());
        if staged < 200 && staging().is_some() {
            assert_eq!(seen, old);
        }
        restore(store.path(), to.path());
        assert!(staging().is_none());
        let mut expected = new.clone();
        expected.insert("d/extra".into(), b"stays".to_vec());
        assert_eq!(contents(to.path()), expected);
    }
}

#[test]
fn a_rename_that_fails_takes_back_those_before_it() {
    let (store, from, to) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    for path in ["a/new", "b", "c/directory over file/x", "d/mounted/x", "e/file over directory", "z"] {
        write(from.path(), path, "new");
    }
    let said = run(command(&url(store.path()), &["save", "--key", "k", "."]).arg("-C").arg(from.path()));
    assert_eq!(said.code, Some(0), "{said:?}");
    for path in ["b", "c/directory over file", "d/mounted/old", "e/file over directory/old"] {
        write(to.path(), path, "old");
    }
    let before = tree::see(to.path());
    // Nothing can be renamed into another file system, nor copied into one that cannot be written to.
    let said = support::cli::with_mounts(&format!(
        "mount -t tmpfs -o ro none {to}/d/mounted; {program} --store {url} restore --key k -C {to}",
        to = to.path().display(),
        program = env!("CARGO_BIN_EXE_warmstart-cache"),
        url = url(store.path()),
    ));
    assert!(said.out.starts_with("Nothing restored") && said.out.contains("rename into place d/mounted"), "{said:?}");
    let (seen, before) = (tree::see(to.path()), before);
    for (path, before) in &before {
        assert_eq!((&seen[path].content, seen[path].mode), (&before.content, before.mode), "{}", path.display());
    }
    assert_eq!(seen.len(), before.len());
}

/// Runs to the end and gives the most memory that the process held, in MiB.
fn peak(mut child: Child) -> u64 {
    let (mut peak, status) = (0, format!("/proc/{}/status", child.id()));
    while child.try_wait().expect("wait").is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(peak);
        std::thread::sleep(Duration::from_millis(2));
    }
    peak / 1024
}

#[test]
fn memory_is_bounded_however_large_the_cache_is() {
    let (store, from, to) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    let mut random = File::open("/dev/urandom").unwrap();
    for number in 0..4 {
        let mut content = vec![0; 100_000_000];
        random.read_exact(&mut content).unwrap();
        write(from.path(), &format!("d/{number}"), content);
    }
    let saving = peak(start(store.path(), from.path(), &["save", "--key", "k", "d"]));
    let restoring = peak(start(store.path(), to.path(), &["restore", "--key", "k"]));
    assert_eq!(count(to.path()), 4);
    assert!(saving < 256 && restoring < 256, "saving {saving} MiB, restoring {restoring} MiB");
}
