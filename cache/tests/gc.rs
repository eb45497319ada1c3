//! Collection: what goes, what stays, what stops it.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;
use support::{
    aged::Aged,
    cli::{command, run, url},
    faulty::{Fault, Faulty},
    forge, key, noise, paths, restore_keys, save_paths, scope, write,
};
use tempfile::tempdir;
use warmstart_cache::{
    Amount, CollectOptions, Collected, CollectedScope, Digest, Policy, Protection, Records, RestoreOptions,
    SaveOptions, Scope, VerifyOptions, gc, restore, save,
    store::{Memory, Store, list_all},
    verify,
};

const MONTH: u64 = 30 * 24;

fn keep(keep: u64) -> Policy {
    Policy { keep: Some(keep), ..Policy::default() }
}

fn max_age(hours: u64) -> Policy {
    Policy { max_age: Some(Duration::from_hours(hours)), ..Policy::default() }
}

async fn collect<S: Store>(store: &S, policy: &Policy) -> Collected {
    gc(store, None, policy, &CollectOptions::default()).await.unwrap()
}

/// Collects in a store of one scope, without trouble.
async fn collect_one<S: Store>(store: &S, policy: &Policy) -> CollectedScope {
    let mut collected = collect(store, policy).await;
    assert!(collected.warnings.is_empty() && collected.scopes.len() == 1, "{collected:?}");
    let scope = collected.scopes.remove(0);
    assert!(scope.error.is_none() && scope.warnings.is_empty(), "{scope:?}");
    scope
}

/// Saves a file with this content; none of it is like that of another number.
async fn save_content<S: Store>(store: &S, key: &str, content: u64) {
    let directory = tempdir().unwrap();
    write(directory.path(), "d/file", noise(50_000, content));
    assert!(save_paths(store, key, directory.path(), &["d"]).await.saved);
}

/// Restores, and tells which content it was; none after a miss.
async fn content<S: Store>(store: &S, key: &str, contents: u64) -> Option<u64> {
    let directory = tempdir().unwrap();
    let restored = restore_keys(store, &[key], directory.path()).await;
    let found = fs::read(directory.path().join("d/file")).ok();
    assert_eq!(restored.hit, found.is_some(), "{restored:?}");
    found.map(|found| (0..contents).find(|number| noise(50_000, *number) == found).expect("known content"))
}

async fn names<S: Store>(store: &S) -> Vec<String> {
    list_all(store, "").await.unwrap().into_iter().map(|entry| entry.key).collect()
}

/// A tombstone, written from the description of the format.
async fn end<S: Store>(store: &S, key: &str, left: u64) {
    let name = format!("v1/7/unprotected/refs/{key}/{left:013}-0000000000000000");
    let text = format!(
        r#"{{"scope":"7/unprotected","key":"{key}","created":"2026-01-01T00:00:00Z","files":0,"bytes":0,"writer":"t"}}"#
    );
    store.put(&name, text.into()).await.unwrap();
}

#[tokio::test]
async fn superseded_versions_go_with_their_objects_and_the_newest_stays() {
    let store = Aged::new(Memory::new());
    for number in 0..3 {
        save_content(&store, "k", number).await;
        store.pass_hours(50).await;
    }
    let before = list_all(&store, "").await.unwrap();
    assert_eq!(before.len(), 9);
    let done = collect_one(&store, &keep(1)).await;
    let after = list_all(&store, "").await.unwrap();
    let bytes = |entries: &[warmstart_cache::store::Entry]| entries.iter().map(|entry| entry.size).sum::<u64>();
    assert_eq!(done.removed, Amount { objects: 6, bytes: bytes(&before) - bytes(&after) });
    assert_eq!(done.kept, Amount { objects: 3, bytes: bytes(&after) });
    assert_eq!((done.waiting, done.ended), (Amount::default(), 0));
    // One listing; a clock; three refs, one manifest; four ages looked at before two manifests and two packs went.
    assert_eq!((done.cost.list, done.cost.put, done.cost.get, done.cost.delete), (1, 1, 1 + 3 + 1 + 4, 1 + 6));
    assert!(done.cost.bytes_read > 0);
    assert_eq!(content(&store, "k", 3).await, Some(2));
    assert_eq!(collect_one(&store, &keep(1)).await.removed, Amount::default());
}

#[tokio::test]
async fn nothing_younger_than_two_days_goes_and_what_was_superseded_today_stays_today() {
    let store = Aged::new(Memory::new());
    save_content(&store, "k", 0).await;
    store.pass_hours(1000).await;
    save_content(&store, "k", 1).await;
    store.pass_hours(47).await;
    let done = collect_one(&store, &keep(1)).await;
    assert_eq!((done.removed.objects, done.kept.objects), (0, 6));
    store.pass_hours(1).await;
    assert_eq!(collect_one(&store, &keep(1)).await.removed.objects, 3);
    assert_eq!(content(&store, "k", 2).await, Some(1));
}

#[tokio::test]
async fn a_key_that_is_too_old_ends_now_and_is_gone_two_days_later() {
    let store = Aged::new(Memory::new());
    save_content(&store, "k", 0).await;
    store.pass_hours(MONTH + 1).await;
    let done = collect_one(&store, &max_age(MONTH)).await;
    assert_eq!((done.ended, done.removed.objects), (1, 0));
    assert_eq!(content(&store, "k", 1).await, None);
    store.pass_hours(47).await;
    let done = collect_one(&store, &max_age(MONTH)).await;
    assert_eq!((done.ended, done.removed.objects), (0, 0));
    store.pass_hours(1).await;
    assert_eq!(collect_one(&store, &max_age(MONTH)).await.removed.objects, 4);
    assert_eq!(names(&store).await, Vec::<String>::new());
    assert!(collect(&store, &max_age(MONTH)).await.scopes.is_empty());
}

#[tokio::test]
async fn a_tombstone_ends_a_key_and_then_goes_itself() {
    let store = Aged::new(Memory::new());
    save_content(&store, "k", 0).await;
    end(&store, "k", 5).await;
    store.pass_hours(47).await;
    assert_eq!(collect_one(&store, &Policy::default()).await.removed.objects, 0);
    store.pass_hours(1).await;
    assert_eq!(collect_one(&store, &Policy::default()).await.removed.objects, 4);
    assert_eq!(names(&store).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_nothing_refers_to_goes_when_it_is_two_days_old() {
    let store = Aged::new(Memory::new());
    save_content(&store, "k", 0).await;
    let garbage = |text: &str| format!("v1/7/unprotected/packs/{}", Digest::of(text.as_bytes()));
    store.put(&garbage("old"), "old".into()).await.unwrap();
    store.pass_hours(48).await;
    store.put(&garbage("new"), "new".into()).await.unwrap();
    let done = collect_one(&store, &Policy::default()).await;
    assert_eq!(done.removed, Amount { objects: 1, bytes: 3 });
    assert_eq!(done.waiting, Amount { objects: 1, bytes: 3 });
    assert!(names(&store).await.contains(&garbage("new")));
}

#[tokio::test]
async fn a_store_over_its_bytes_gives_up_the_oldest_keys() {
    let store = Aged::new(Memory::new());
    for (number, key) in ["old", "middle", "new"].iter().enumerate() {
        save_content(&store, key, number as u64).await;
        store.pass_hours(1).await;
    }
    let policy = Policy { max_bytes: Some(110_000), ..Policy::default() };
    assert_eq!(collect_one(&store, &policy).await.ended, 1);
    assert_eq!(collect_one(&store, &policy).await.ended, 0);
    for (number, key) in [None, Some(1), Some(2)].into_iter().zip(["old", "middle", "new"]) {
        assert_eq!(content(&store, key, 3).await, number, "{key}");
    }
    store.pass_hours(48).await;
    assert_eq!(collect_one(&store, &policy).await.removed.objects, 4);
}

#[tokio::test]
async fn a_dry_run_says_the_same_and_writes_nothing() {
    let store = Faulty::default();
    let aged = Aged::new(store.clone());
    save_content(&aged, "k", 0).await;
    save_content(&aged, "l", 0).await;
    aged.pass_hours(MONTH).await;
    save_content(&aged, "k", 1).await;
    aged.pass_hours(50).await;
    let policy = Policy { keep: Some(1), ..max_age(MONTH) };
    store.clear();
    let options = CollectOptions { dry_run: true, ..CollectOptions::default() };
    let mut dry = gc(&aged, None, &policy, &options).await.unwrap();
    assert_eq!((store.count("put"), store.count("delete"), store.count("touch")), (0, 0, 0));
    let done = collect_one(&aged, &policy).await;
    let dry = dry.scopes.remove(0);
    assert_eq!((dry.removed, dry.kept, dry.waiting), (done.removed, done.kept, done.waiting));
    // A ref and its manifest: the other key, which ends only now, still uses the pack.
    assert_eq!((dry.ended, done.ended, done.removed.objects), (1, 1, 2));
}

/// Something that is wrong with a scope, and a part of what is said of it.
type Wrong = (&'static str, fn(&str, &Memory) -> Vec<(String, Vec<u8>)>);

/// Makes objects over those of the scope of key `k`; `0` in a name sorts it before what is there.
const WRONGS: [Wrong; 8] = [
    ("is no ref", |_, _| vec![("refs/k/0000000000009-00".into(), b"{}".to_vec())]),
    ("is no ref", |_, _| vec![("refs/other/0000000000009-00".into(), b"\xff".to_vec())]),
    ("is too large for a ref", |_, _| vec![("refs/k/0000000000009-00".into(), vec![b' '; 20_000])]),
    ("is the ref of l in 7/unprotected", |manifest, _| {
        vec![("refs/k/0000000000009-00".into(), forge::ref_text("7/unprotected", "l", manifest).into())]
    }),
    ("is the ref of k in 8/unprotected", |manifest, _| {
        vec![("refs/k/0000000000009-00".into(), forge::ref_text("8/unprotected", "k", manifest).into())]
    }),
    ("a digest is 64", |_, _| {
        vec![("refs/k/0000000000009-00".into(), forge::ref_text("7/unprotected", "k", "../x").into())]
    }),
    ("does not have the content of its name", |manifest, _| {
        vec![(format!("manifests/{manifest}"), b"something else".to_vec())]
    }),
    ("manifests/", |_, _| {
        let forged = b"with the right digest, but no manifest".to_vec();
        let text = forge::ref_text("7/unprotected", "k", &Digest::of(&forged).to_string());
        vec![(format!("manifests/{}", Digest::of(&forged)), forged), ("refs/k/0000000000009-00".into(), text.into())]
    }),
];

#[tokio::test]
async fn what_is_not_what_it_claims_to_be_stops_all_removal_in_its_scope_only() {
    for (number, (reason, wrong)) in WRONGS.into_iter().enumerate() {
        let memory = Memory::new();
        let store = Aged::new(memory.clone());
        let other: Scope = "8/unprotected".parse().unwrap();
        for content in 0..2 {
            save_content(&store, "k", content).await;
            let directory = tempdir().unwrap();
            write(directory.path(), "d", noise(50_000, content));
            save(&store, &other, &key("k"), directory.path(), &paths(&["d"]), &SaveOptions::default()).await.unwrap();
            store.pass_hours(100).await;
        }
        let newest = list_all(&store, "v1/7/unprotected/refs/k/").await.unwrap().remove(0).key;
        let text = store.get(&newest, None).await.unwrap().unwrap().bytes;
        let newest: serde_json::Value = serde_json::from_slice(&text).unwrap();
        for (name, bytes) in wrong(newest["manifest"].as_str().unwrap(), &memory) {
            store.put(&format!("v1/7/unprotected/{name}"), bytes.into()).await.unwrap();
        }
        store.pass_hours(100).await;
        let before = list_all(&store, "v1/7/").await.unwrap();
        let collected = collect(&store, &keep(1)).await;
        let [seven, eight] = &collected.scopes[..] else { panic!("{collected:?}") };
        let error = seven.error.as_deref().unwrap_or_default();
        assert!(error.contains(reason) && error.starts_with("v1/7/unprotected/"), "{number}: {error}");
        assert_eq!((seven.removed, error.lines().count()), (Amount::default(), 1));
        assert_eq!(list_all(&store, "v1/7/").await.unwrap(), before, "{number}");
        assert!(eight.error.is_none() && eight.removed.objects == 3, "{eight:?}");
    }
}

#[tokio::test]
async fn a_missing_manifest_stops_removal_until_its_key_has_ended() {
    let store = Aged::new(Memory::new());
    save_content(&store, "k", 0).await;
    store.put(&format!("v1/7/unprotected/packs/{}", Digest::of(b"x")), "x".into()).await.unwrap();
    let manifest = list_all(&store, "v1/7/unprotected/manifests/").await.unwrap().remove(0).key;
    store.delete(&manifest).await.unwrap();
    store.pass_hours(100).await;
    let collected = collect(&store, &keep(1)).await;
    assert_eq!(collected.scopes[0].error.as_deref(), Some(format!("{manifest}: is missing").as_str()));
    assert_eq!(collected.scopes[0].removed.objects, 0);
    end(&store, "k", 5).await;
    store.pass_hours(48).await;
    assert_eq!(collect_one(&store, &keep(1)).await.kept.objects, 0);
}

#[tokio::test]
async fn a_store_that_refuses_to_write_keeps_everything() {
    let faulty = Faulty::default();
    let store = Aged::new(faulty.clone());
    save_content(&store, "k", 0).await;
    save_content(&store, "k", 1).await;
    store.pass_hours(100).await;
    let before = names(&store).await;
    faulty.add(Fault::RefuseWrites("v1/".into()));
    let collected = collect(&store, &keep(1)).await;
    let error = collected.scopes[0].error.as_deref().unwrap_or_default();
    assert!(error.contains("SlowDown"), "{error}");
    assert_eq!(names(&store).await, before);
}

#[tokio::test]
async fn a_run_that_takes_longer_than_half_the_grace_removes_nothing_more() {
    let store = Aged::new(Memory::new());
    save_content(&store, "k", 0).await;
    save_content(&store, "k", 1).await;
    store.pass_hours(100).await;
    let before = names(&store).await;
    let options = CollectOptions { grace: Duration::ZERO, ..CollectOptions::default() };
    let collected = gc(&store, Some(&[scope()]), &keep(1), &options).await.unwrap();
    let error = collected.scopes[0].error.as_deref().unwrap_or_default();
    assert!(error.contains("not done after 0 s"), "{error}");
    let refs = |names: &[String]| names.iter().filter(|name| !name.contains("/clocks/")).count();
    assert_eq!(refs(&names(&store).await), before.len());
}

#[tokio::test]
async fn ages_are_taken_by_the_stores_clock_and_not_by_this_machines() {
    // To a clock that is right, everything in this store looks ten days old.
    let store = Aged { behind: Duration::from_hours(240), ..Aged::new(Memory::new()) };
    save_content(&store, "k", 0).await;
    save_content(&store, "k", 1).await;
    store.put(&format!("v1/7/unprotected/packs/{}", Digest::of(b"x")), "x".into()).await.unwrap();
    let done = collect_one(&store, &Policy { keep: Some(1), ..max_age(100) }).await;
    assert_eq!((done.removed.objects, done.ended), (0, 0));
    store.pass_hours(48).await;
    assert_eq!(collect_one(&store, &keep(1)).await.removed.objects, 4);
}

#[tokio::test]
async fn every_scope_is_found_and_what_is_none_is_left_alone() {
    let store = Aged::new(Memory::new());
    let scopes = [
        "7/protected",
        "7/unprotected",
        "7-x/unprotected",
        "a b/ä/protected",
        &format!("{}/protected", "p".repeat(300)),
    ];
    let directory = tempdir().unwrap();
    write(directory.path(), "d", "content");
    for scope in scopes {
        let scope: Scope = scope.parse().unwrap();
        save(&store, &scope, &key("k"), directory.path(), &paths(&["d"]), &SaveOptions::default()).await.unwrap();
    }
    let nobodys = Scope::new(&"q".repeat(300), Protection::Protected).unwrap().prefix();
    let digest = Digest::of(b"x");
    let foreign = [
        "elsewhere/file".to_owned(),
        "v1/alone".to_owned(),
        "v1/7/private/packs/x".to_owned(),
        "v1/7/protected/notes/x".to_owned(),
        "v1/7/protected/packs/README".to_owned(),
        format!("{nobodys}packs/{digest}"),
    ];
    for name in &foreign {
        store.put(name, "x".into()).await.unwrap();
    }
    store.pass_hours(100).await;
    let collected = collect(&store, &Policy::default()).await;
    let mut found: Vec<_> = collected.scopes.iter().map(|scope| scope.scope.as_str()).collect();
    found.sort_unstable();
    let mut expected = scopes.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(collected.warnings.len(), 3, "{:?}", collected.warnings);
    assert_eq!(collected.scopes.iter().map(|scope| scope.warnings.len()).sum::<usize>(), 2);
    let names = names(&store).await;
    assert!(foreign.iter().all(|name| names.contains(name)), "{names:?}");
}

/// What happens to a store.
#[derive(Clone, Debug)]
enum Step {
    /// Key and content; with or without what was restored before.
    Save(usize, u64, bool),
    End(usize),
    Pass(u64),
    Collect(Policy),
}

fn any_step() -> impl Strategy<Value = Step> {
    let age = prop::option::of((1..400_u64).prop_map(Duration::from_hours));
    let policy = (age, prop::option::of(1..4_u64), prop::option::of(0..400_000_u64))
        .prop_map(|(max_age, keep, max_bytes)| Step::Collect(Policy { max_age, keep, max_bytes }));
    prop_oneof![
        3 => (0..3_usize, 0..5_u64, any::<bool>()).prop_map(|(key, content, base)| Step::Save(key, content, base)),
        1 => (0..3_usize).prop_map(Step::End),
        3 => (1..60_u64).prop_map(Step::Pass),
        3 => policy,
    ]
}

/// Saves a tree of a part that all contents share and one of its own; with what was restored before or without.
async fn save_step<S: Store>(store: &S, name: &str, content: u64, with_base: bool) {
    let (work, notes) = (tempdir().unwrap(), tempdir().unwrap());
    let records = with_base.then(|| Records::new(notes.path(), "aged:"));
    if with_base {
        let options = RestoreOptions { records: records.clone(), ..RestoreOptions::default() };
        restore(store, &scope(), &[key(name)], work.path(), &options).await.unwrap();
    }
    write(work.path(), "d/shared", noise(90_000, 77));
    write(work.path(), "d/file", noise(50_000, content));
    let options = SaveOptions { records, ..SaveOptions::default() };
    save(store, &scope(), &key(name), work.path(), &paths(&["d"]), &options).await.unwrap();
}

/// Runs a history and looks after each step at everything that is left.
async fn live(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let keys = ["a", "b", "c"];
    let (store, mut current) = (Aged::new(Memory::new()), BTreeMap::new());
    let mut left = 9_000_000_000_000 - 1;
    for step in steps {
        match step {
            Step::Save(at, content, base) => {
                save_step(&store, keys[at], content, base).await;
                current.insert(at, content);
            }
            Step::End(at) => {
                // Before all refs there are, as a removal by name would write it.
                let newest = list_all(&store, &format!("v1/7/unprotected/refs/{}/", keys[at])).await.unwrap();
                let first =
                    newest.first().and_then(|entry| entry.key.rsplit('/').next()?.split('-').next()?.parse().ok());
                left = first.unwrap_or(left) - 1;
                end(&store, keys[at], left).await;
                current.remove(&at);
            }
            Step::Pass(hours) => store.pass_hours(hours).await,
            Step::Collect(policy) => {
                for scope in collect(&store, &policy).await.scopes {
                    prop_assert_eq!(scope.error, None);
                }
                if policy.max_age.is_some() || policy.max_bytes.is_some() {
                    // It may have ended keys; what it kept is compared below.
                    for (at, name) in keys.iter().enumerate() {
                        if content(&store, name, 5).await.is_none() {
                            current.remove(&at);
                        }
                    }
                }
            }
        }
        let verified = verify(&store, None, &VerifyOptions::default()).await.unwrap();
        prop_assert!(verified.scopes.iter().all(|scope| scope.damage.is_empty()), "{:?}", verified);
        for (at, name) in keys.iter().enumerate() {
            prop_assert_eq!(content(&store, name, 5).await, current.get(&at).copied(), "{}", name);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn whatever_happens_in_whatever_order_every_ref_that_remains_can_be_restored(
        steps in prop::collection::vec(any_step(), 1..25)
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(live(steps))?;
    }
}

/// Makes all objects of a store in a directory older.
fn grow_old(store: &Path, hours: u64) {
    for file in walkdir::WalkDir::new(store.join("v1")) {
        let file = file.unwrap();
        if file.file_type().is_file() {
            let time = SystemTime::now() - Duration::from_hours(hours);
            File::options().write(true).open(file.path()).unwrap().set_modified(time).unwrap();
        }
    }
}

#[test]
fn the_command_says_one_sentence_with_figures() {
    let (store, from) = (tempdir().unwrap(), tempdir().unwrap());
    let url = url(store.path());
    for content in ["old", "new"] {
        write(from.path(), "d", content);
        let said = run(command(&url, &["save", "--key", "k", "d"]).arg("-C").arg(from.path()));
        assert_eq!(said.code, Some(0), "{said:?}");
        grow_old(store.path(), 60);
    }
    let said = run(&mut command(&url, &["gc", "--keep", "1", "--max-age", "30d", "--max-size", "1GiB", "--dry-run"]));
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert!(said.out.starts_with("Would remove 3 objects, ") && said.out.lines().count() == 1, "{said:?}");
    let said = run(&mut command(&url, &["gc", "--keep", "1", "--scope", "default/unprotected", "--json"]));
    let json = said.json();
    assert_eq!((said.code, &json["dry_run"]), (Some(0), &false.into()));
    assert_eq!(json["scopes"][0]["removed"]["objects"], 3);
    assert_eq!((&json["cost"]["delete"], &json["cost"]["put"]), (&4.into(), &1.into()));
    let said = run(&mut command(&url, &["gc", "--max-age", "1h"]));
    assert!(said.out.starts_with("Removed 0 objects, 0 B, and ended 1 key; 3 objects remain, "), "{said:?}");
    for arguments in [["--keep", "0"], ["--max-age", "soon"], ["--max-size", "lots"], ["--scope", "7"]] {
        assert_eq!(run(command(&url, &["gc"]).args(arguments)).code, Some(2), "{arguments:?}");
    }
}

#[test]
fn the_command_ends_with_4_and_one_line_for_a_scope_it_could_not_collect_in() {
    let (store, from) = (tempdir().unwrap(), tempdir().unwrap());
    let url = url(store.path());
    write(from.path(), "d", "content");
    run(command(&url, &["save", "--key", "k", "d"]).arg("-C").arg(from.path()));
    fs::write(store.path().join("v1/default/unprotected/refs/k/0-0"), "no ref").unwrap();
    let said = run(&mut command(&url, &["gc"]));
    assert_eq!((said.code, said.err.lines().count()), (Some(4), 1), "{said:?}");
    assert!(
        said.err.starts_with(
            "error: removed nothing from default/unprotected: v1/default/unprotected/refs/k/0-0: is no ref"
        ),
        "{said:?}"
    );
}
