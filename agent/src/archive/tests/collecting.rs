//! Collecting files: protocol §6.2.

use super::super::{Severity, Wanted, collect};
use super::Bench;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const PROJECT: &str = "/builds/group/demo";

fn wanted(paths: &[&str], exclude: &[&str]) -> Wanted {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Wanted { paths: owned(paths), exclude: owned(exclude), untracked: None }
}

/// The paths found, and the texts of the messages.
fn found(bench: &Bench, wanted: &Wanted) -> (Vec<String>, Vec<String>) {
    let collected = collect(&bench.workspace, PROJECT, wanted);
    let paths = collected.paths.iter().map(|path| path.display().to_string()).collect();
    (paths, collected.messages.into_iter().map(|message| message.text).collect())
}

fn tree() -> Bench {
    let bench = Bench::new();
    for path in ["out/a.o", "out/b.txt", "out/sub/c.o", "out/sub/.hidden", "src/main.c", "top.txt", "{odd}"] {
        bench.write(path, path);
    }
    bench
}

#[test]
fn a_directory_is_taken_with_all_it_holds() {
    let bench = tree();
    let (paths, messages) = found(&bench, &wanted(&["out/"], &[]));
    assert_eq!(paths, ["out", "out/a.o", "out/b.txt", "out/sub", "out/sub/.hidden", "out/sub/c.o"]);
    assert_eq!(messages, ["out/: found 6 matching artifact files and directories"]);
}

#[test]
fn globs_find_files_at_every_depth_they_name() {
    let bench = tree();
    for (pattern, wanted_paths) in [
        ("*.txt", vec!["top.txt"]),
        ("**/*.o", vec!["out/a.o", "out/sub/c.o"]),
        ("*/*.o", vec!["out/a.o"]),
        ("out/{a,b}.*", vec!["out/a.o", "out/b.txt"]),
        ("out/sub/**", vec!["out/sub", "out/sub/.hidden", "out/sub/c.o"]),
        ("src", vec!["src", "src/main.c"]),
        ("\\{odd}", vec!["{odd}"]),
        ("/builds/group/demo/top.txt", vec!["top.txt"]),
        ("./out/../top.txt", vec!["top.txt"]),
        ("/builds/group/./demo/src/*.c", vec!["src/main.c"]),
    ] {
        let (paths, messages) = found(&bench, &wanted(&[pattern], &[]));
        assert_eq!(paths, wanted_paths, "{pattern}");
        let text = format!("{pattern}: found {} matching artifact files and directories", paths.len());
        assert_eq!(messages, [text]);
    }
}

#[test]
fn everything_is_counted_once() {
    let bench = tree();
    for pattern in ["**/*", ".", "**", PROJECT] {
        let (paths, messages) = found(&bench, &wanted(&[pattern], &[]));
        assert_eq!(paths.len(), 10, "{pattern}");
        // The project directory itself counts where it is named.
        let count = if pattern == "**/*" { 10 } else { 11 };
        assert_eq!(messages, [format!("{pattern}: found {count} matching artifact files and directories")]);
    }
}

#[test]
fn exclusions_are_tested_on_each_path() {
    let bench = tree();
    let (paths, messages) = found(&bench, &wanted(&["out"], &["out/sub", "**/*.txt"]));
    assert_eq!(paths, ["out", "out/a.o", "out/sub/.hidden", "out/sub/c.o"], "what is below is its own path");
    assert_eq!(messages[1..], ["**/*.txt: excluded 1 files", "out/sub: excluded 1 files"]);
    let (paths, _) = found(&bench, &wanted(&["out"], &["out/sub/**/*"]));
    assert_eq!(paths, ["out", "out/a.o", "out/b.txt", "out/sub"]);
}

#[test]
fn what_is_not_there_or_not_allowed_is_named_and_the_rest_taken() {
    let bench = tree();
    for (pattern, part) in [
        (
            "none",
            "none: no matching files. Ensure that the artifact path is relative to the working directory (/builds/group/demo)",
        ),
        ("/etc/passwd", "outside of the project directory"),
        ("../other", "outside of the project directory"),
        ("/builds/group/demonstration/x", "outside of the project directory"),
        ("", "the path is empty"),
        ("a[", "a [ is not closed"),
    ] {
        let collected = collect(&bench.workspace, PROJECT, &wanted(&[pattern, "top.txt"], &[]));
        assert_eq!(collected.paths, [PathBuf::from("top.txt")]);
        assert_eq!(collected.messages[0].severity, Severity::Warning);
        assert!(collected.messages[0].text.contains(part), "{:?}", collected.messages[0]);
    }
}

#[test]
fn nothing_at_all_is_an_error_to_tell() {
    let collected = collect(&tree().workspace, PROJECT, &wanted(&["none"], &[]));
    let last = collected.messages.last().unwrap();
    assert_eq!((last.severity, last.text.as_str()), (Severity::Error, "No files to upload"));
}

#[test]
fn the_git_directory_is_taken_with_a_warning() {
    let bench = tree();
    bench.write(".git/config", "");
    bench.write(".gitignore", "");
    let (paths, messages) = found(&bench, &wanted(&["**/*"], &[]));
    assert!(paths.contains(&".git/config".to_owned()));
    assert_eq!(messages[0], "Part of .git directory is on the list of files to archive");
    assert_eq!(messages.len(), 3);
    let (_, messages) = found(&bench, &wanted(&[".gitignore"], &[]));
    assert_eq!(messages.len(), 1);
}

#[test]
fn untracked_files_are_taken_as_listed() {
    let bench = tree();
    let untracked = Some(["out/a.o", "top.txt", "src/main.c"].map(PathBuf::from).to_vec());
    let wanted = Wanted { exclude: vec!["*.txt".to_owned()], untracked, ..Wanted::default() };
    let (paths, messages) = found(&bench, &wanted);
    assert_eq!(paths, ["out/a.o", "src/main.c"]);
    assert_eq!(messages, ["untracked: found 2 files", "*.txt: excluded 1 files"]);
}

#[test]
fn symlinks_are_entries_and_lead_nowhere() {
    let bench = tree();
    symlink("../outside", bench.at("link-out")).unwrap();
    symlink("/etc", bench.at("link-abs")).unwrap();
    symlink("out", bench.at("link-in")).unwrap();
    symlink("..", bench.at("out/up")).unwrap();
    symlink("gone", bench.at("dangling")).unwrap();
    let (paths, _) = found(&bench, &wanted(&["link-*", "dangling"], &[]));
    assert_eq!(paths, ["dangling", "link-abs", "link-in", "link-out"]);
    for pattern in ["link-out/*", "link-out/file", "link-abs/passwd", "link-abs/**"] {
        let (paths, _) = found(&bench, &wanted(&[pattern], &[]));
        assert!(paths.iter().all(|path| path == "link-abs"), "{pattern}: {paths:?}");
    }
    let (paths, _) = found(&bench, &wanted(&["**/*"], &[]));
    assert!(!paths.iter().any(|path| path.contains("passwd") || path.starts_with("link-in/")), "{paths:?}");
}

#[test]
fn names_that_are_not_text_are_not_lost() {
    let bench = Bench::new();
    let name = OsStr::from_bytes(b"out/\xff\xfe.o");
    bench.write(name, "x");
    let collected = collect(&bench.workspace, PROJECT, &wanted(&["**/*.o"], &[]));
    assert_eq!(collected.paths, [Path::new(name)]);
}

#[test]
fn pipes_and_sockets_are_left_out() {
    let bench = tree();
    rustix::fs::mkfifoat(rustix::fs::CWD, bench.at("out/pipe"), rustix::fs::Mode::RWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bench.at("out/socket")).unwrap();
    let (paths, _) = found(&bench, &wanted(&["out"], &[]));
    assert!(!paths.iter().any(|path| path.ends_with("pipe") || path.ends_with("socket")));
}

#[test]
fn a_directory_nobody_may_read_is_named() {
    // Root may read everything; without these capabilities this thread may not.
    let mut sets = capabilities(None).unwrap();
    sets.effective.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
    set_capabilities(None, sets).unwrap();
    let bench = tree();
    fs::set_permissions(bench.at("out/sub"), std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    let (_, messages) = found(&bench, &wanted(&["out"], &[]));
    assert!(messages.iter().any(|message| message.starts_with("cannot read the directory out/sub")));
}
