//! Subcommands that look at a store, or end a key.

use std::{fs, path::Path};

use tempfile::{TempDir, tempdir};

use super::{
    at,
    support::{
        cli::{Said, command, run, url},
        noise, write,
    },
};

/// A store, a directory to save from and one to restore to.
struct Place {
    store: TempDir,
    from: TempDir,
    to: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { store: tempdir().unwrap(), from: tempdir().unwrap(), to: tempdir().unwrap() }
    }

    fn run(&self, arguments: &[&str]) -> Said {
        run(&mut command(&url(self.store.path()), arguments))
    }

    fn save(&self, key: &str, content: &[u8]) {
        write(self.from.path(), "file", content);
        let said = self.run(&at(self.from.path(), &["save", "--key", key, "file"]));
        assert!(said.out.starts_with(&format!("Saved {key}")), "{said:?}");
    }

    fn restore(&self, arguments: &[&str]) -> Said {
        self.run(&at(self.to.path(), &[&["restore"], arguments].concat()))
    }

    /// Runs a command that keeps records in a home directory.
    fn run_at_home(&self, home: &Path, arguments: &[&str]) -> serde_json::Value {
        let mut command = command(&url(self.store.path()), &at(self.to.path(), arguments));
        run(command.env("HOME", home)).json()
    }

    fn restored(&self) -> String {
        fs::read_to_string(self.to.path().join("file")).unwrap()
    }

    fn refs(&self, key: &str) -> std::path::PathBuf {
        self.store.path().join("v1/default/unprotected/refs").join(key)
    }
}

#[test]
fn info_shows_every_version_newest_first() {
    let place = Place::new();
    place.save("k", b"one");
    place.save("k", &noise(100_000, 1));
    place.save("other", b"x");
    let said = place.run(&["info", "k"]);
    let lines: Vec<_> = said.out.lines().collect();
    assert_eq!(lines.len(), 3, "{said:?}");
    assert!(lines[0].contains("97.66 KiB") && lines[0].contains("1 file") && lines[0].contains(" stored"), "{said:?}");
    assert!(lines[1].contains("3 B") && lines[1].contains("warmstart-cache "), "{said:?}");
    assert_eq!(lines[2], "2 versions of k in default/unprotected");
    let json = place.run(&["info", "--key", "k", "--json"]).json();
    assert_eq!(json["key"], "k");
    assert_eq!((&json["versions"][0]["bytes"], &json["versions"][1]["bytes"]), (&100_000.into(), &3.into()));
    assert!(json["versions"][0]["stored"].as_u64().unwrap() >= 100_000);
    assert_eq!(json["versions"][0]["manifest"].as_str().unwrap().len(), 64);
    assert_eq!(place.run(&["info", "none"]).out, "0 versions of none in default/unprotected\n");
}

#[test]
fn what_is_damaged_is_named_and_the_rest_is_shown() {
    let place = Place::new();
    place.save("k", b"one");
    place.save("l", b"two");
    let newest = fs::read_dir(place.refs("k")).unwrap().next().unwrap().unwrap().path();
    fs::write(newest, "{").unwrap();
    for arguments in [&["list"][..], &["stats"]] {
        let said = place.run(arguments);
        assert_eq!(said.code, Some(0));
        assert!(said.err.starts_with("warning: ") && said.err.contains("is no ref"), "{said:?}");
        assert!(said.out.contains("1 cache") || said.out.contains("1 key"), "{said:?}");
    }
    assert!(place.run(&["info", "k"]).err.contains("is no ref"));
    assert!(place.run(&["rm", "k"]).out.starts_with("Removed k"));
    assert!(place.restore(&["--key", "k"]).out.contains("no cache for k"));
}

#[test]
fn a_removed_key_is_a_miss_until_it_is_saved_again() {
    let place = Place::new();
    place.save("k", b"one");
    let said = place.run(&["rm", "k"]);
    assert_eq!(said.code, Some(0));
    assert_eq!(said.out, "Removed k: 1 file, 3 B; gc frees in two days what no other cache uses.\n");
    assert_eq!(place.restore(&["--key", "k"]).out, "Nothing restored: no cache for k.\n");
    assert!(place.run(&["list"]).out.starts_with("0 caches"));
    let info = place.run(&["info", "k"]).out;
    assert!(info.contains("removed by warmstart-cache"), "{info}");
    assert!(info.ends_with("1 version of k in default/unprotected, removed since: a restore finds none\n"), "{info}");
    let again = place.run(&["rm", "--key", "k", "--json"]);
    assert_eq!((again.code, &again.json()["removed"]), (Some(0), &false.into()));
    assert_eq!(place.run(&["rm", "never"]).out, "Nothing to remove: no cache for never.\n");
    place.save("k", b"two");
    assert!(place.restore(&["--key", "k"]).out.starts_with("Restored k"));
    assert_eq!(place.restored(), "two");
}

#[test]
fn rm_wants_its_key_named_and_takes_none_from_the_environment() {
    let place = Place::new();
    place.save("k", b"one");
    let said = run(command(&url(place.store.path()), &["rm"]).env("WARMSTART_CACHE_KEY", "k"));
    assert_eq!(said.code, Some(2), "{said:?}");
    assert_eq!(place.run(&["rm", "k", "--key", "k"]).code, Some(2));
}

#[test]
fn a_list_longer_than_a_page_has_every_key_once() {
    let place = Place::new();
    place.save("k", b"one");
    let original = fs::read_dir(place.refs("k")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&original).unwrap();
    for number in 0..700 {
        let key = format!("k{number:03}");
        fs::create_dir(place.refs(&key)).unwrap();
        // Two versions each, so that a page ends within a key.
        for version in ["8000000000000", "8000000000001"] {
            let path = place.refs(&key).join(format!("{version}-0000000000000000"));
            fs::write(path, text.replace("\"k\"", &format!("\"{key}\""))).unwrap();
        }
    }
    let json = place.run(&["list", "--json"]).json();
    let keys: Vec<_> = json["caches"].as_array().unwrap().iter().map(|cache| cache["key"].as_str().unwrap()).collect();
    assert_eq!(keys.len(), 701);
    assert!(keys.is_sorted(), "the order of their names");
    assert_eq!(json["warnings"], serde_json::json!([]));
}

#[test]
fn stats_tell_what_sharing_and_compressing_save() {
    let place = Place::new();
    let content = noise(300_000, 7);
    place.save("one", &content);
    place.save("two", &content);
    let said = place.run(&["stats"]);
    assert!(said.out.starts_with("default/unprotected: 2 keys, 2 versions of 585.94 KiB, stored as "), "{said:?}");
    assert!(said.out.contains("in 5 objects (shared 2.0 times, compressed 1.0 times)"), "{said:?}");
    let json = place.run(&["stats", "--json"]).json();
    let scope = &json["scopes"][0];
    assert_eq!((&scope["scope"], &scope["bytes"]), (&"default/unprotected".into(), &600_000.into()));
    assert_eq!(scope["deduplication"], 2.0);
    assert_eq!(
        place.run(&["stats", "--scope", "7/protected"]).out,
        "7/protected: 0 keys, 0 versions of 0 B, stored as 0 B in 0 objects\n"
    );
}

#[test]
fn stats_find_every_scope_of_a_store() {
    let place = Place::new();
    assert_eq!(place.run(&["stats", "--all-scopes"]).out, "No scope has a cache.\n");
    write(place.from.path(), "file", "x");
    let long = format!("{}/unprotected", "ä/".repeat(150));
    for scope in ["1/unprotected", "1/protected", "a group/project/unprotected", &long] {
        let said = place.run(&at(place.from.path(), &["save", "--scope", scope, "--key", "k", "file"]));
        assert!(said.out.starts_with("Saved k"), "{said:?}");
    }
    let json = place.run(&["stats", "--all-scopes", "--json"]).json();
    let mut scopes: Vec<_> = json["scopes"].as_array().unwrap().iter().map(|scope| scope["scope"].clone()).collect();
    scopes.sort_by_key(ToString::to_string);
    assert_eq!(scopes, ["1/protected", "1/unprotected", "a group/project/unprotected", &long]);
    assert_eq!(place.run(&["stats", "--all-scopes", "--scope", "1/protected"]).code, Some(2));
}

#[test]
fn the_newest_cache_whose_key_begins_so_is_the_last_resort() {
    let place = Place::new();
    for (key, content) in [("deps/main 1", "old"), ("deps/main 2", "new"), ("deps", "short"), ("other", "newest")] {
        place.save(key, content.as_bytes());
    }
    let said = place.restore(&["--key", "none", "--fallback-prefix", "deps/m"]);
    assert!(said.out.starts_with("Restored deps/main 2: 1 file"), "{said:?}");
    assert!(said.out.ends_with("(no cache for none).\n"), "{said:?}");
    assert_eq!(place.restored(), "new");
    let json = place.restore(&["--key", "none", "--fallback-prefix", "deps/m", "--json"]).json();
    assert_eq!((&json["exact"], &json["key"]), (&false.into(), &"deps/main 2".into()));
    // Exact fallbacks come first, and a removed key does not count.
    let said = place.restore(&["--key", "none", "--fallback-prefix", "deps/m", "--fallback", "deps"]);
    assert!(said.out.starts_with("Restored deps: "), "{said:?}");
    place.run(&["rm", "deps/main 2"]);
    let said = place.restore(&["--key", "none", "--fallback-prefix", "none", "--fallback-prefix", "deps/main"]);
    assert!(said.out.starts_with("Restored deps/main 1: "), "{said:?}");
    let said = place.restore(&["--key", "none", "--fallback-prefix", "nothing", "--fail-on-miss"]);
    assert_eq!(said.code, Some(3));
    assert_eq!(said.out, "Nothing restored: no cache for none; no cache for nothing….\n");
}

#[test]
fn a_prefix_finds_keys_whose_names_are_hashed() {
    let place = Place::new();
    let long = |end: &str| format!("{}{end}", "long/".repeat(60));
    place.save(&long("1"), b"one");
    place.save("long/short", b"two");
    place.save(&long("2"), b"three");
    assert!(place.restore(&["--key", "none", "--fallback-prefix", "long/"]).out.starts_with("Restored long/long/"));
    assert_eq!(place.restored(), "three");
    place.restore(&["--key", "none", "--fallback-prefix", &long("1")]);
    assert_eq!(place.restored(), "one");
    place.restore(&["--key", "none", "--fallback-prefix", "long/s"]);
    assert_eq!(place.restored(), "two");
}

#[test]
fn more_than_the_maximum_is_neither_saved_nor_restored() {
    let place = Place::new();
    place.save("k", &[b'x'; 5000]);
    let said = place.run(&at(place.from.path(), &["save", "--key", "l", "--max-size", "4KiB", "file"]));
    assert_eq!((said.code, said.out.as_str()), (Some(4), ""));
    assert_eq!(said.err, "error: cache of 5000 bytes is over the limit of 4096\n");
    let said = place.restore(&["--key", "k", "--max-size", "4KiB", "--fail-on-miss"]);
    assert_eq!(said.code, Some(3));
    assert!(said.out.contains("has 5000 bytes, over the limit of 4096"), "{said:?}");
    assert!(place.restore(&["--key", "k", "--max-size", "5KB"]).out.starts_with("Restored"));
}

#[test]
fn options_that_a_pipeline_sets_once_come_from_its_environment() {
    let place = Place::new();
    let job = |arguments: &[&str]| {
        let mut command = command(&url(place.store.path()), arguments);
        command.env("WARMSTART_CACHE_SCOPE", "9/unprotected").env("WARMSTART_CACHE_KEY", "from-env");
        run(command.env("WARMSTART_CACHE_FALLBACK", "l\nm").env("WARMSTART_CACHE_MAX_SIZE", "1MB"))
    };
    write(place.from.path(), "file", "x");
    assert!(job(&at(place.from.path(), &["save", "--key", "m", "file"])).out.starts_with("Saved m"));
    assert!(place.store.path().join("v1/9/unprotected/refs/m").exists());
    let said = job(&at(place.to.path(), &["restore"]));
    assert!(said.out.ends_with("(no cache for from-env; no cache for l).\n"), "{said:?}");
    write(place.from.path(), "file", noise(1_000_001, 1));
    assert_eq!(job(&at(place.from.path(), &["save", "file"])).code, Some(4));
}

#[test]
fn an_empty_variable_counts_as_none() {
    let place = Place::new();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_warmstart-cache"));
    command.env_clear().args(["list", "--json"]);
    let names = ["STORE", "SCOPE", "KEY", "FALLBACK", "FALLBACK_PREFIX", "DEADLINE", "MAX_SIZE", "TMP"];
    for name in names {
        command.env(format!("WARMSTART_CACHE_{name}"), "");
    }
    let said =
        run(command.env("CI_PROJECT_ID", "").env("CI_PROJECT_DIR", "").args(["--store", &url(place.store.path())]));
    assert_eq!((said.code, &said.json()["caches"]), (Some(0), &serde_json::json!([])));
}

#[test]
fn completions_and_manual_pages_need_no_store() {
    let directory = tempdir().unwrap();
    let bare = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_warmstart-cache"));
        run(command.env_clear().args(arguments))
    };
    for shell in ["bash", "zsh", "fish"] {
        let said = bare(&["completions", shell]);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
        assert!(said.out.contains("warmstart-cache") && said.out.contains("fallback-prefix"), "{shell}");
    }
    assert_eq!(bare(&["completions", "csh"]).code, Some(2));
    let pages = directory.path().join("man/man1");
    assert_eq!(bare(&["man", pages.to_str().unwrap()]).code, Some(0));
    let page = fs::read_to_string(pages.join("warmstart-cache-restore.1")).unwrap();
    assert!(page.contains("fallback\\-prefix") && page.contains(".SH OPTIONS"), "{page}");
    assert!(pages.join("warmstart-cache.1").exists());
    assert_eq!(bare(&["man", "/proc/nowhere"]).code, Some(4));
}

#[test]
fn bash_accepts_the_completions() {
    let directory = tempdir().unwrap();
    let script = run(std::process::Command::new(env!("CARGO_BIN_EXE_warmstart-cache")).args(["completions", "bash"]));
    write(directory.path(), "completions", &script.out);
    let check = ". ./completions; COMP_WORDS=(warmstart-cache st); COMP_CWORD=1; \
                 set -- $(complete -p warmstart-cache); while [ $1 != -F ]; do shift; done; \
                 $2 warmstart-cache st warmstart-cache; echo ${COMPREPLY[@]}";
    let said = run(std::process::Command::new("bash").args(["-c", check]).current_dir(directory.path()));
    assert_eq!((said.out.as_str(), said.err.as_str()), ("stats\n", ""));
}

#[test]
fn no_help_text_shows_what_the_environment_holds() {
    let mut secret = command("memory:", &["restore", "--help"]);
    let said = run(secret.env("WARMSTART_CACHE_KEY", "hush").env("CI_PROJECT_DIR", "/hush"));
    assert!(said.out.contains("[env: WARMSTART_CACHE_KEY]") && !said.out.contains("hush"), "{said:?}");
}

#[test]
fn a_job_that_gives_paths_of_its_own_directory_needs_no_more_than_a_key() {
    let place = Place::new();
    write(place.from.path(), "a/b", "x");
    let job = |directory: &Path, arguments: &[&str]| {
        run(command(&url(place.store.path()), arguments).env("CI_PROJECT_DIR", directory))
    };
    assert!(job(place.from.path(), &["save", "--key", "k", "a", "!a/c"]).out.starts_with("Saved k: 1 file"));
    assert!(job(place.to.path(), &["restore", "--key", "k"]).out.starts_with("Restored k: 1 file"));
    assert!(place.to.path().join("a/b").exists());
}

#[test]
fn a_second_process_sends_only_what_changed() {
    let (place, home) = (Place::new(), tempdir().unwrap());
    let run_at_home = |arguments: &[&str]| place.run_at_home(home.path(), arguments);
    place.save("k", &noise(300_000, 1));
    assert_eq!(run_at_home(&["restore", "--key", "k", "--json"])["hit"], true);
    let unchanged = run_at_home(&["save", "--key", "k", "--json", "file"]);
    assert_eq!((&unchanged["saved"], &unchanged["sent"]), (&true.into(), &0.into()));
    write(place.to.path(), "new", "new");
    let changed = run_at_home(&["save", "--key", "k", "--json", "file", "new"]);
    assert!(changed["sent"].as_u64().unwrap() < 2000, "{changed}");
}

#[test]
fn a_save_under_a_new_key_leans_on_what_a_prefix_gave() {
    let (place, home) = (Place::new(), tempdir().unwrap());
    let run_at_home = |arguments: &[&str]| place.run_at_home(home.path(), arguments);
    place.save("deps-1", &noise(100_000, 1));
    assert_eq!(run_at_home(&["restore", "--key", "deps-2", "--fallback-prefix", "deps-", "--json"])["hit"], true);
    let saved = run_at_home(&["save", "--key", "deps-2", "--json", "file"]);
    assert_eq!(saved["saved"], true);
    assert!(saved["sent"].as_u64().unwrap() < 2000, "{saved}");
}

#[test]
fn a_restore_can_take_only_some_paths() {
    let place = Place::new();
    for path in ["d/a", "d/b", "d/c.log", "e/f"] {
        write(place.from.path(), path, path);
    }
    place.run(&at(place.from.path(), &["save", "--key", "k", "d", "e"]));
    let said = place.restore(&["--key", "k", "d", "!**/*.log", "!d/b"]);
    assert!(said.out.starts_with("Restored k: 1 file, 3 B"), "{said:?}");
    assert!(place.to.path().join("d/a").exists());
    assert!(!place.to.path().join("d/b").exists() && !place.to.path().join("e").exists());
}
