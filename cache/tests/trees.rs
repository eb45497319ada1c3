//! Any tree comes back, over any other tree.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{collections::BTreeMap, ffi::OsString, fs, os::unix::ffi::OsStringExt as _, path::Path};

use proptest::prelude::*;
use support::{noise, restore_keys, save_paths, tree};
use tempfile::tempdir;
use warmstart_cache::store::Memory;

/// What a name in a made-up tree is.
#[derive(Clone, Debug)]
enum Made {
    File { length: usize, seed: u64, mode: u32, time: i64 },
    Link(Vec<u8>),
    Second(usize),
    Directory(BTreeMap<Vec<u8>, Made>, u32),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let any = prop::collection::vec(any::<u8>().prop_filter("no separator", |byte| !b"/\0".contains(byte)), 1..12);
    prop_oneof![3 => prop::sample::select(vec!["a", "b", "c", "a-b", "[x]", "!"]).prop_map(Into::into), 1 => any]
        .prop_filter("a name", |name| name != b"." && name != b"..")
}

fn made() -> impl Strategy<Value = Made> {
    let file = (
        prop_oneof![0_usize..100, 60_000_usize..70_000, Just(600_000)],
        0_u64..4,
        0_u32..0o1000,
        -9_i64..2_000_000_000,
    )
        .prop_map(|(length, seed, mode, time)| Made::File { length, seed, mode, time });
    let leaf = prop_oneof![4 => file, 1 => name().prop_map(Made::Link), 1 => (0_usize..9).prop_map(Made::Second)];
    leaf.prop_recursive(4, 30, 6, |inner| {
        (prop::collection::btree_map(name(), inner, 0..6), 0_u32..0o1000)
            .prop_map(|(names, mode)| Made::Directory(names, mode))
    })
}

fn tree_of() -> impl Strategy<Value = BTreeMap<Vec<u8>, Made>> {
    prop::collection::btree_map(name(), made(), 1..6)
}

/// Builds it; `files` are those so far, to be given second names.
fn build(directory: &Path, names: &BTreeMap<Vec<u8>, Made>, files: &mut Vec<std::path::PathBuf>) {
    for (name, made) in names {
        let path = directory.join(OsString::from_vec(name.clone()));
        match made {
            Made::File { length, seed, mode, time } => {
                fs::write(&path, noise(*length, *seed)).unwrap();
                tree::chmod(&path, *mode);
                tree::set_mtime(&path, *time, 987_654_321);
                files.push(path);
            }
            Made::Link(target) => std::os::unix::fs::symlink(OsString::from_vec(target.clone()), &path).unwrap(),
            Made::Second(number) => match files.len() {
                0 => fs::write(&path, "").unwrap(),
                count => fs::hard_link(&files[number % count], &path).unwrap(),
            },
            Made::Directory(names, mode) => {
                fs::create_dir(&path).unwrap();
                build(&path, names, files);
                // Others than root have to get in again.
                tree::chmod(&path, *mode | 0o700);
                tree::set_mtime(&path, 7, 7);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_tree_comes_back_over_any_other(saved in tree_of(), there in tree_of()) {
        let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
        build(from.path(), &saved, &mut Vec::new());
        build(to.path(), &there, &mut Vec::new());
        let (wanted, before) = (tree::see(from.path()), tree::see(to.path()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let restored = runtime.block_on(async {
            let store = Memory::new();
            let saved = save_paths(&store, "k", from.path(), &["."]).await;
            assert!(saved.saved && saved.warnings.is_empty(), "{saved:?}");
            restore_keys(&store, &["k"], to.path()).await
        });
        prop_assert!(restored.hit, "{restored:?}");
        let seen = tree::see(to.path());
        for (path, wanted) in &wanted {
            let seen = &seen[path];
            prop_assert_eq!((seen.mode, &seen.owner, &seen.mtime), (wanted.mode, &wanted.owner, &wanted.mtime), "{:?}", path);
            prop_assert!(seen.content == wanted.content, "{:?}", path);
        }
        for (path, seen) in seen.iter().filter(|(path, _)| !wanted.contains_key(*path)) {
            // What is left of the earlier tree is as it was.
            prop_assert!(before.get(path).is_some_and(|before| before.content == seen.content && before.mode == seen.mode));
        }
    }
}
