//! Disks of every size, from full to just large enough: an error or a miss that names the disk, and nothing half.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{path::Path, process::Command};

use support::{
    cli::{command, run, url, with_mounts},
    noise, write,
};
use tempfile::tempdir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_warmstart-cache");

/// What a script says of one disk: what is there afterwards, the exit code, and what the program said.
#[derive(Debug)]
struct Outcome {
    there: String,
    code: i32,
    said: String,
}

/// Runs a script for a disk of each of these sizes, mounted at `$disk`; it sets `there`, `code` and `said`.
fn on_disks(options: impl Iterator<Item = String>, disk: &Path, script: &str) -> Vec<Outcome> {
    let options = options.collect::<Vec<_>>().join(" ");
    let said = with_mounts(&format!(
        r#"disk={disk}
        for option in {options}; do
            mount -t tmpfs -o $option none $disk
            code=0
            {script}
            echo "$there|$code|$(echo "$said" | tr '\n' ' ')"
            umount $disk
        done"#,
        disk = disk.display()
    ));
    assert_eq!(said.code, Some(0), "{said:?}");
    let outcome = |line: &str| {
        let mut parts = line.splitn(3, '|').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_else(|| panic!("{line:?} in {said:?}"));
        Outcome { there: next(), code: next().parse().unwrap(), said: next() }
    };
    said.out.lines().map(outcome).collect()
}

/// Up to some point there is not enough, and from there on there is.
fn assert_turns(outcomes: &[Outcome], is_good: impl Fn(&Outcome) -> bool, is_bad: impl Fn(&Outcome) -> bool) {
    let good = outcomes.iter().position(&is_good).unwrap_or(outcomes.len());
    for (at, outcome) in outcomes.iter().enumerate() {
        assert!(if at < good { is_bad(outcome) } else { is_good(outcome) }, "disk {at}: {outcome:?}");
    }
    assert!(good > 10 && outcomes.len() - good > 3, "{good} of {} are too small", outcomes.len());
}

#[test]
fn a_restore_on_a_disk_of_any_size_is_a_miss_and_the_target_as_it_was_or_all_of_it() {
    let (store, from, old, disk) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    for number in 0..30 {
        write(from.path(), &format!("d/{}/{number}", number % 3), format!("{number}"));
    }
    write(from.path(), "d/large", noise(30_000, 1));
    write(old.path(), "d/1/1", "old");
    write(old.path(), "d/large/x", "old");
    let saved = run(command(&url(store.path()), &["save", "--key", "k", "d"]).arg("-C").arg(from.path()));
    assert_eq!(saved.code, Some(0), "{saved:?}");
    let script = format!(
        r#"cp -r {old}/d $disk
        said=$({PROGRAM} --store {url} restore --key k -C $disk 2>&1) || code=$?
        there=half
        ! diff -r $disk/d {old}/d >&2 || there=old
        ! diff -r $disk/d {from}/d >&2 || there=new
        [ "$(ls -A $disk)" = d ] || there=leftovers"#,
        old = old.path().display(),
        from = from.path().display(),
        url = url(store.path()),
    );
    let good = |outcome: &Outcome| outcome.there == "new" && outcome.said.starts_with("Restored k: 31 files");
    let bad = |outcome: &Outcome| {
        let names_the_disk = outcome.said.contains("No space left on device") || outcome.said.contains("free space");
        outcome.there == "old" && outcome.said.starts_with("Nothing restored: ") && names_the_disk
    };
    for options in [
        (3..60).map(|pages| format!("size={}k", 4 * pages)).collect::<Vec<_>>(),
        (10..70).map(|count| format!("nr_inodes={count}")).collect(),
    ] {
        let outcomes = on_disks(options.into_iter(), disk.path(), &script);
        assert!(outcomes.iter().all(|outcome| outcome.code == 0), "{outcomes:?}");
        assert_turns(&outcomes, good, bad);
    }
}

#[test]
fn a_save_on_a_disk_of_any_size_is_an_error_and_the_old_cache_or_the_new_one() {
    let (old, from, to, disk) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    write(old.path(), "d/small", "small");
    write(from.path(), "d/large", noise(100_000, 1));
    let script = format!(
        r#"{PROGRAM} --store file://$disk/s save --key k d -C {old} >&2
        said=$({PROGRAM} --store file://$disk/s save --key k d -C {from} 2>&1) || code=$?
        rm -rf {to}/*
        {PROGRAM} --store file://$disk/s restore --key k -C {to} >&2
        there=half
        ! diff -r {to}/d {old}/d >&2 || there=old
        ! diff -r {to}/d {from}/d >&2 || there=new
        [ "$(find $disk/s/.tmp -type f | wc -l)" = 0 ] || there=leftovers"#,
        old = old.path().display(),
        from = from.path().display(),
        to = to.path().display(),
    );
    let good = |outcome: &Outcome| (outcome.there.as_str(), outcome.code) == ("new", 0);
    let bad = |outcome: &Outcome| {
        let names_the_disk = outcome.said.starts_with("error: write object ") && outcome.said.contains("No space left");
        (outcome.there.as_str(), outcome.code) == ("old", 4) && names_the_disk
    };
    let sizes = (4..45).map(|pages| format!("size={}k", 4 * pages));
    assert_turns(&on_disks(sizes, disk.path(), &script), good, bad);
}

#[test]
fn an_archive_on_a_disk_of_any_size_is_an_error_and_the_old_one_or_the_new_one() {
    let (store, from, disk) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    write(from.path(), "d/large", noise(60_000, 1));
    let saved = run(command(&url(store.path()), &["save", "--key", "k", "d"]).arg("-C").arg(from.path()));
    assert_eq!(saved.code, Some(0), "{saved:?}");
    let script = format!(
        r#"echo old > $disk/archive
        said=$({PROGRAM} --store {url} export --key k -o $disk/archive 2>&1) || code=$?
        there=half
        [ "$(cat $disk/archive | tr -d '\0')" != old ] || there=old
        ! {PROGRAM} --store {url} import copy $disk/archive >&2 || there=new
        [ "$(ls -A $disk)" = archive ] || there=leftovers"#,
        url = url(store.path()),
    );
    let good = |outcome: &Outcome| (outcome.there.as_str(), outcome.code) == ("new", 0);
    let bad = |outcome: &Outcome| {
        (outcome.there.as_str(), outcome.code) == ("old", 4) && outcome.said.contains("No space left on device")
    };
    let sizes = (2..30).map(|pages| format!("size={}k", 4 * pages));
    assert_turns(&on_disks(sizes, disk.path(), &script), good, bad);
}

#[test]
fn an_import_through_a_disk_of_any_size_is_an_error_and_nothing_or_all_of_it() {
    let (store, from, disk) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    write(from.path(), "d/large", noise(60_000, 1));
    let archive = from.path().join("archive");
    let made = run(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(from.path()).arg("d"));
    assert_eq!(made.code, Some(0), "{made:?}");
    let script = format!(
        r#"rm -rf {store}/v1
        said=$({PROGRAM} --store file://{store} import k {archive} --tmp $disk 2>&1) || code=$?
        there=half
        [ -e {store}/v1 ] || there=nothing
        ! {PROGRAM} --store file://{store} verify >&2 || [ ! -e {store}/v1 ] || there=new
        [ "$(ls -A $disk)" = "" ] || there=leftovers"#,
        store = store.path().display(),
        archive = archive.display(),
    );
    let good = |outcome: &Outcome| (outcome.there.as_str(), outcome.code) == ("new", 0);
    let bad = |outcome: &Outcome| {
        (outcome.there.as_str(), outcome.code) == ("nothing", 4) && outcome.said.contains("No space left on device")
    };
    let sizes = (2..30).map(|pages| format!("size={}k", 4 * pages));
    assert_turns(&on_disks(sizes, disk.path(), &script), good, bad);
}

#[test]
fn notes_that_find_no_room_harm_neither_restore_nor_save() {
    let (store, from, to, disk) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    for number in 0..200 {
        write(from.path(), &format!("d/{number}"), format!("{number}"));
    }
    let script = format!(
        r#"rm -rf {store}/v1 {to}/d; export WARMSTART_CACHE_RECORDS=$disk
        said=$({PROGRAM} --store file://{store} save --key k d -C {from} 2>&1)
        said="$said $({PROGRAM} --store file://{store} restore --key k -C {to} 2>&1)"
        there=half
        ! diff -r {to}/d {from}/d >&2 || there=new"#,
        store = store.path().display(),
        from = from.path().display(),
        to = to.path().display(),
    );
    for outcome in
        on_disks(["size=4k", "nr_inodes=1", "size=8k", "size=1m"].map(str::to_owned).into_iter(), disk.path(), &script)
    {
        let said = outcome.said.contains("Saved k: 200 files") && outcome.said.contains("Restored k: 200 files");
        assert!(said && outcome.there == "new", "{outcome:?}");
    }
}
