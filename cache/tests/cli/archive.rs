//! `export` and `import`.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use tar::{
    Builder,
    EntryType::{self, Directory, Link, Regular, Symlink},
    Header,
};

use tempfile::tempdir;

use super::{
    at,
    support::{
        cli::{Said, command, run, url},
        tree, write,
    },
};

/// Kind, path, link, content.
type Forged<'text> = (EntryType, &'text str, &'text str, &'text [u8]);

/// Makes an archive of entries that nobody checked.
fn forge(entries: &[Forged<'_>]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (kind, path, link, content) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(content.len() as u64);
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Gives a command its standard input.
fn feed(command: &mut Command, input: &[u8]) -> Said {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    run(command.stdin(Stdio::from(file)))
}

fn import(store: &Path, tmp: &Path, input: &[u8], more: &[&str]) -> Said {
    let arguments = [&["import", "k", "-", "--tmp", tmp.to_str().unwrap()], more].concat();
    feed(&mut command(&url(store), &arguments), input)
}

#[test]
fn an_export_is_what_tar_reads_and_an_import_brings_all_of_it_back() {
    let (store, from, mid, to) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    tree::make(from.path());
    let far = format!("/{}//./odd\n", "a long way/".repeat(30));
    std::os::unix::fs::symlink(&far, from.path().join("tree/far")).unwrap();
    let deep = format!("tree/{}file", "a long way/".repeat(30));
    write(from.path(), &deep, "deep");
    fs::hard_link(from.path().join(&deep), from.path().join("tree/z link to deep")).unwrap();
    let url = url(store.path());
    run(&mut command(&url, &at(from.path(), &["save", "--key", "k", "tree"])));
    let archive = mid.path().join("k.tar.zst");
    let archive = archive.to_str().unwrap();
    let said = run(&mut command(&url, &["export", "k", "-o", archive]));
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert!(said.out.starts_with("Exported k: ") && said.out.contains(archive), "{said:?}");
    let untar = mid.path().join("out");
    fs::create_dir(&untar).unwrap();
    let said = run(Command::new("tar").args(["--zstd", "-xpf", archive, "-C"]).arg(&untar));
    // It warns of a time before 1970, which it sets.
    assert_eq!((said.code, said.err.lines().count()), (Some(0), 1), "{said:?}");
    let original = tree::see(from.path());
    assert_eq!(tree::see(&untar), original);
    let said = run(&mut command(&url, &["import", "other", archive]));
    assert!(said.out.starts_with("Imported other: "), "{said:?}");
    assert_eq!(said.err, "");
    let said = run(&mut command(&url, &at(to.path(), &["restore", "--key", "other"])));
    assert!(said.out.starts_with("Restored other"), "{said:?}");
    assert_eq!(tree::see(to.path()), original);
}

#[test]
fn archives_go_through_pipes_and_leave_nothing_in_the_temporary_directory() {
    let (store, from, tmp) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    write(from.path(), "a/b", "x");
    tree::chmod(&from.path().join("a"), 0o555);
    let url = url(store.path());
    run(&mut command(&url, &at(from.path(), &["save", "--key", "k", "a"])));
    let mut export = command(&url, &["export", "k", "--output", "-", "--json"]);
    let output = export.env("WARMSTART_CACHE_TMP", tmp.path()).output().unwrap();
    let said: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((&said["exported"], &said["files"]), (&true.into(), &1.into()));
    assert_eq!(said["archive"], output.stdout.len());
    let said = import(store.path(), tmp.path(), &output.stdout, &["--json"]);
    assert_eq!((&said.json()["saved"], &said.json()["files"]), (&true.into(), &1.into()));
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
}

#[test]
fn archives_of_tar_itself_are_taken_compressed_or_not() {
    let (store, from, to) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    tree::make(from.path());
    let mut original = tree::see(from.path());
    for (number, options) in [&["-c"][..], &["-c", "--zstd"], &["-c", "--format=posix"]].iter().enumerate() {
        if options.contains(&"--format=posix") {
            // Of names with line ends in extended headers nobody can be sure: such an archive is refused.
            let made = Command::new("tar").args(*options).arg("-C").arg(from.path()).arg(".").output().unwrap();
            let said = import(store.path(), to.path(), &made.stdout, &[]);
            assert!(said.err.contains("malformed pax extension"), "{said:?}");
            fs::remove_file(from.path().join("tree/new\nline \u{1f980}")).unwrap();
            original = tree::see(from.path());
        }
        let made = Command::new("tar").args(*options).arg("-C").arg(from.path()).arg(".").output().unwrap();
        let said = import(store.path(), to.path(), &made.stdout, &[]);
        assert!(said.out.starts_with("Imported k: "), "{said:?}");
        let out = to.path().join(number.to_string());
        fs::create_dir(&out).unwrap();
        run(&mut command(&url(store.path()), &at(&out, &["restore", "--key", "k"])));
        let mut seen = tree::see(&out);
        if options.len() < 2 || options[1] == "--zstd" {
            // GNU's own format has whole seconds.
            let round = |mut seen: tree::Seen| {
                seen.mtime = seen.mtime.map(|(seconds, _)| (seconds.max(0), 0));
                seen
            };
            let rounded: std::collections::BTreeMap<_, _> =
                original.iter().map(|(path, seen)| (path.clone(), round(seen.clone()))).collect();
            seen = seen.into_iter().map(|(path, seen)| (path, round(seen))).collect();
            assert_eq!(seen, rounded, "{options:?}");
        } else {
            assert_eq!(seen, original, "{options:?}");
        }
    }
    let said = import(store.path(), to.path(), &[0x1f, 0x8b, 8, 0], &[]);
    assert!(said.err.contains("it is gzip: pipe it through gunzip"), "{said:?}");
}

#[test]
fn an_archive_that_leads_outside_is_refused_and_nothing_is_stored() {
    let (store, place) = (tempdir().unwrap(), tempdir().unwrap());
    let (tmp, outside) = (place.path().join("tmp"), place.path().join("outside"));
    fs::create_dir_all(&tmp).unwrap();
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("victim"), "as it was").unwrap();
    let target = outside.to_str().unwrap();
    let victim = outside.join("victim");
    let victim = victim.to_str().unwrap();
    let hostile: &[(&str, &[Forged<'_>])] = &[
        ("leads out of the archive", &[(Regular, "../../outside/victim", "", b"x")]),
        ("leads out of the archive", &[(Regular, "a/../../../outside/victim", "", b"x")]),
        ("is an absolute path", &[(Regular, victim, "", b"x")]),
        ("leads through a link", &[(Symlink, "a", target, b""), (Regular, "a/victim", "", b"x")]),
        ("leads through a link", &[(Symlink, "a", "../../outside", b""), (Directory, "a/new", "", b"")]),
        ("leads through a link", &[(Symlink, "a", ".", b""), (Regular, "a/b", "", b"x")]),
        ("leads through a link", &[(Symlink, "a", target, b""), (Directory, "a", "", b"")]),
        ("leads through a link or a file", &[(Regular, "a", "", b"x"), (Regular, "a/b", "", b"x")]),
        ("is an absolute path", &[(Link, "a", victim, b"")]),
        ("leads out of the archive", &[(Link, "a", "../../outside/victim", b"")]),
        ("leads through a link", &[(Symlink, "s", target, b""), (Link, "a", "s/victim", b"")]),
        ("its link names no file", &[(Symlink, "s", victim, b""), (Link, "a", "s", b"")]),
        ("cannot be unpacked", &[(Link, "a", "nowhere", b"")]),
        ("of a kind that nobody knows", &[(EntryType::new(b'Q'), "a", "", b"")]),
    ];
    for (reason, entries) in hostile {
        let said = import(store.path(), &tmp, &forge(entries), &[]);
        assert_eq!((said.code, said.out.as_str()), (Some(4), ""), "{entries:?}");
        assert!(said.err.starts_with("error: -: entry ") && said.err.contains(reason), "{entries:?}: {said:?}");
        assert_eq!(said.err.lines().count(), 1);
    }
    assert_eq!(fs::read_to_string(victim).unwrap(), "as it was");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
    assert!(!store.path().join("v1").exists());
}

#[test]
fn an_archive_does_not_write_on_the_terminal() {
    let (store, tmp) = (tempdir().unwrap(), tempdir().unwrap());
    let mut archive = forge(&[(EntryType::Regular, "a\u{1b}[2Jb", "", b"x")]);
    // A checksum that is no number.
    archive[148..156].copy_from_slice(b"\x1b[31m\n\n\n");
    let said = import(store.path(), tmp.path(), &archive, &[]);
    assert_eq!((said.code, said.err.lines().count()), (Some(4), 1), "{said:?}");
    assert!(!said.err.trim_end().contains(char::is_control), "{said:?}");
}

#[test]
fn links_of_an_archive_that_point_outside_stay_links() {
    let (store, tmp, to) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    let python = (EntryType::Symlink, "venv/bin/python", "/usr/bin/python3", &b""[..]);
    let said = import(store.path(), tmp.path(), &forge(&[python, (EntryType::Fifo, "pipe", "", b"")]), &[]);
    assert!(said.out.starts_with("Imported k: 1 file"), "{said:?}");
    assert_eq!(said.err, "warning: pipe: is a device, a pipe or reserved and is left out\n");
    run(&mut command(&url(store.path()), &at(to.path(), &["restore", "--key", "k"])));
    assert_eq!(fs::read_link(to.path().join("venv/bin/python")).unwrap(), Path::new("/usr/bin/python3"));
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    let (store, tmp) = (tempdir().unwrap(), tempdir().unwrap());
    let large = forge(&[(EntryType::Regular, "a", "", &vec![0; 3_000_000])]);
    let said = import(store.path(), tmp.path(), &zstd::encode_all(&large[..], 3).unwrap(), &["--max-size", "2MB"]);
    assert_eq!(said.code, Some(4));
    assert!(said.err.contains("archive of 3000000 or more bytes is over the limit of 2000000"), "{said:?}");
    // A name that fills the memory.
    let name = forge(&[(EntryType::GNULongName, "././@LongLink", "", &vec![b'x'; 5_000_000])]);
    let said = import(store.path(), tmp.path(), &zstd::encode_all(&name[..], 3).unwrap(), &[]);
    assert!(said.err.contains("an entry's headers are larger than 1 MiB"), "{said:?}");
    let cut = &large[..1_000_000];
    let said = import(store.path(), tmp.path(), cut, &[]);
    assert_eq!(said.code, Some(4), "{said:?}");
    assert_eq!(import(store.path(), tmp.path(), b"no archive at all", &[]).code, Some(4));
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
    assert!(!store.path().join("v1").exists());
}

#[test]
fn nothing_to_export_is_an_error_and_leaves_an_old_archive_alone() {
    let (store, place) = (tempdir().unwrap(), tempdir().unwrap());
    let archive = place.path().join("old.tar.zst");
    fs::write(&archive, "old").unwrap();
    let said = run(&mut command(&url(store.path()), &["export", "k", "-o", archive.to_str().unwrap()]));
    assert_eq!((said.code, said.out.as_str()), (Some(4), ""));
    assert_eq!(said.err, "error: nothing exported: no cache for k\n");
    assert_eq!(fs::read_to_string(&archive).unwrap(), "old");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    let said = run(&mut command(&url(store.path()), &["import", "k", "/nowhere.tar"]));
    assert_eq!(
        (said.code, said.err.as_str()),
        (Some(4), "error: read /nowhere.tar: No such file or directory (os error 2)\n")
    );
}
