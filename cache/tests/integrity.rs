//! Every damage to every object of a small store, at all positions: a miss with a reason and the directory as it was,
//! or the right tree.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use support::{
    block_on,
    faulty::{Fault, Faulty},
    forge,
    harm::{Harm, Objects, each, every_harm},
    key, noise, restore_keys, save_paths, scope,
    sidecar::{Sidecar, TOKEN, client},
    tree,
    twice::answer_twice,
    write,
};
use tempfile::{TempDir, tempdir};
use warmstart_cache::{
    Digest, RestoreOptions, Restored, Token, restore,
    sidecar::Access,
    store::{Memory, Store as _},
};

/// What was saved under key `k`, and all objects of the store, those of the key first.
struct Scene {
    objects: Objects,
    own: usize,
    right: BTreeMap<PathBuf, tree::Seen>,
}

impl Scene {
    fn new() -> Self {
        let (store, from) = (Memory::new(), tempdir().unwrap());
        write(from.path(), "d/file", noise(50, 1));
        write(from.path(), "d/text", "some text ".repeat(20));
        write(from.path(), "d/replaced/x", "");
        fs::hard_link(from.path().join("d/file"), from.path().join("d/second name")).unwrap();
        symlink("file", from.path().join("d/link")).unwrap();
        block_on(save_paths(&store, "k", from.path(), &["d"]));
        let mut objects = Objects::of(&store);
        let (own, right) = (objects.0.len(), tree::see(from.path()));
        write(from.path(), "d/file", noise(50, 2));
        block_on(save_paths(&store, "other", from.path(), &["d"]));
        objects.add(Objects::of(&store));
        assert_eq!((own, objects.0.len()), (3, 6));
        Self { objects, own, right }
    }
}

/// A store and a directory of one thread.
struct Bench<'a> {
    scene: &'a Scene,
    store: Memory,
    to: TempDir,
    before: BTreeMap<PathBuf, tree::Seen>,
}

impl<'a> Bench<'a> {
    fn new(scene: &'a Scene) -> Self {
        let to = tempdir().unwrap();
        prepare(to.path());
        let before = tree::see(to.path());
        Self { scene, store: block_on(scene.objects.store()), to, before }
    }

    /// Restores and checks the promise.
    async fn restore(&self, what: &str) -> Restored {
        let restored = restore_keys(&self.store, &["k"], self.to.path()).await;
        let seen = tree::see(self.to.path());
        if restored.hit {
            assert_eq!(seen, self.scene.right, "{what}");
            fs::remove_dir_all(self.to.path().join("d")).unwrap();
            prepare(self.to.path());
        } else {
            let reason = restored.reason.as_deref().unwrap_or_default();
            assert!(!reason.is_empty() && !reason.contains(char::is_control), "{what}: {reason:?}");
            assert_eq!(seen, self.before, "{what}: {reason}");
        }
        restored
    }

    /// Does the harm, restores, and repairs it.
    async fn check(&self, at: usize, harm: Harm) {
        let (key, good) = &self.scene.objects.0[at];
        let what = format!("{key}: {harm:?}");
        harm.put(&self.scene.objects, at, &self.store).await;
        let restored = self.restore(&what).await;
        assert!(!restored.hit || may_hit(key, harm), "{what} goes unnoticed");
        self.store.put(key, good.clone()).await.unwrap();
    }
}

/// What a directory has before a restore: in part the same paths, of other kinds.
fn prepare(to: &Path) {
    write(to, "d/file", "old");
    write(to, "d/text/x", "old");
    write(to, "d/replaced", "old");
    for path in ["d/file", "d/text/x", "d/text", "d/replaced", "d"] {
        tree::set_mtime(&to.join(path), 1_000_000_000, 0);
    }
}

/// Nothing depends on some words of a ref, nobody looks behind the frames of a pack, and in a frame some bits mean
/// nothing.
fn may_hit(key: &str, harm: Harm) -> bool {
    match harm {
        Harm::Flip(_) => !key.contains("/manifests/"),
        Harm::Twice => key.contains("/packs/"),
        Harm::Missing | Harm::Cut(_) | Harm::Exchanged(_) => false,
    }
}

#[test]
fn any_harm_to_any_object_is_a_miss_or_the_right_tree() {
    let scene = Scene::new();
    let harms: Vec<_> =
        (0..scene.own).flat_map(|at| every_harm(&scene.objects, at).map(move |harm| (at, harm))).collect();
    let bits = scene.objects.0[..scene.own].iter().map(|(_, content)| content.len() * 8).sum::<usize>();
    assert!(harms.len() > bits, "{} of {bits}", harms.len());
    each(&harms, || Bench::new(&scene), async |bench, (at, harm)| bench.check(*at, *harm).await);
    let whole = Bench::new(&scene);
    assert!(block_on(whole.restore("without harm")).hit);
}

/// A store whose pack has a frame in front of, and one behind the only one that key `k` needs.
async fn with_a_range() -> Faulty {
    let (store, content) = (Faulty::default(), noise(50, 1));
    let parts = [3, 1, 2].map(|seed| forge::pack(&noise(50, seed)));
    let (pack, before) = (parts.iter().flat_map(|part| part.0.clone()).collect::<Vec<_>>(), parts[0].1.size);
    let chunk = forge::Chunk { frame: 0, offset: 0, length: 50, digest: Digest::of_chunk(&content) };
    let records = [forge::file("file", 50, vec![chunk])];
    let mut header = forge::header(&records);
    header.packs.push(forge::Pack { digest: Digest::of(&pack), size: u32::try_from(pack.len()).unwrap() });
    header.frames.push(forge::Frame { offset: before, ..parts[1].2.clone() });
    store.put(&format!("v1/7/unprotected/packs/{}", header.packs[0].digest), pack.into()).await.unwrap();
    forge::plant(&store, "k", forge::encode(&header, &records)).await;
    store
}

#[tokio::test]
async fn an_answer_with_other_bytes_than_those_of_the_range_is_a_miss() {
    let (store, to) = (with_a_range().await, tempdir().unwrap());
    // What is read from its beginning has nothing before it.
    for (part, from) in [("/refs/", 1), ("/manifests/", 1), ("/packs/", -300)] {
        for by in (from..300).filter(|by| *by != 0) {
            store.clear();
            store.add(Fault::Shift(part.into(), by));
            let restored = restore_keys(&store, &["k"], to.path()).await;
            assert!(!restored.hit && tree::see(to.path()).is_empty(), "{part} {by}: {restored:?}");
        }
    }
    store.clear();
    store.add(Fault::Whole("/packs/".into()));
    let restored = restore_keys(&store, &["k"], to.path()).await;
    assert!(!restored.hit && tree::see(to.path()).is_empty(), "{restored:?}");
    store.clear();
    assert!(restore_keys(&store, &["k"], to.path()).await.hit);
    assert_eq!(fs::read(to.path().join("file")).unwrap(), noise(50, 1));
}

/// All calls of a restore.
const CALLS: [&str; 4] =
    ["list v1/", "get v1/7/unprotected/refs", "get v1/7/unprotected/manifests", "get v1/7/unprotected/packs"];

#[tokio::test]
async fn an_answer_that_is_late_is_waited_for_until_the_deadline() {
    let store = with_a_range().await;
    for call in CALLS {
        let to = tempdir().unwrap();
        let restore = async |deadline| {
            let options = RestoreOptions { deadline, ..RestoreOptions::default() };
            restore(&store, &scope(), &[key("k")], to.path(), &options).await.unwrap()
        };
        store.clear();
        store.add(Fault::Hang(call.into()));
        let restored = restore(Duration::from_millis(100)).await;
        assert!(restored.reason.unwrap().contains("not done after"), "{call}");
        assert!(!restored.hit && tree::see(to.path()).is_empty(), "{call}");
        store.clear();
        store.add(Fault::Delay(call.into(), Duration::from_millis(100)));
        assert!(restore(Duration::from_mins(1)).await.hit, "{call}");
    }
}

#[tokio::test]
async fn answers_that_come_twice_are_a_miss_or_the_right_bytes() {
    let store = with_a_range().await;
    let sidecar = Sidecar::on_a_port(store.clone(), Access::Full).await;
    for late in [false, true] {
        let address = answer_twice(&sidecar.address, late).await;
        for round in 0..20 {
            let (client, to) = (client(&address, Some(Token::new(TOKEN).unwrap())), tempdir().unwrap());
            let restored = restore_keys(&client, &["k"], to.path()).await;
            let seen: Vec<_> = tree::see(to.path()).into_values().map(|seen| seen.content).collect();
            let right = if restored.hit { vec![noise(50, 1)] } else { Vec::new() };
            assert!(seen == right && (restored.hit || restored.reason.is_some()), "{round}, late {late}: {restored:?}");
        }
    }
    assert!(store.count("get") >= 60, "nothing was asked for");
}
