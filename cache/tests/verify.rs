//! Verification: what is damaged is named, and nothing else.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    ops::Range,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use support::{
    cli::{command, run, url},
    forge::{self, Chunk, Frame, Pack},
    noise, restore_keys, save_paths, write,
};
use tempfile::tempdir;
use warmstart_cache::{
    Digest, Verified, VerifiedScope, VerifyOptions,
    store::{Entry, Error, Etag, Memory, Object, Store, list_all},
    verify,
};

const PREFIX: &str = "v1/7/unprotected/";

async fn check<S: Store>(store: &S) -> VerifiedScope {
    let Verified { mut scopes, warnings, .. } = verify(store, None, &VerifyOptions::default()).await.unwrap();
    assert!(scopes.len() == 1 && warnings.is_empty());
    scopes.remove(0)
}

/// Keys `a` (also an older version) and `b`, which share nothing; large enough for several parts of a pack.
async fn make() -> Memory {
    let store = Memory::new();
    for (key, seed, size) in [("a", 1, 3_000), ("a", 2, 9_000_000), ("b", 3, 300_000)] {
        let directory = tempdir().unwrap();
        write(directory.path(), "d/file", noise(size, seed));
        write(directory.path(), "d/small", format!("{key} {seed}"));
        save_paths(&store, key, directory.path(), &["d"]).await;
    }
    store
}

/// Keys whose newest cache is hurt.
fn hurt(done: &VerifiedScope) -> BTreeSet<String> {
    let hurts = done.damage.iter().flat_map(|damage| &damage.hurts).filter(|hurt| hurt.newest);
    hurts.map(|hurt| hurt.key.clone()).collect()
}

async fn missed(store: &Memory) -> BTreeSet<String> {
    let mut missed = BTreeSet::new();
    for key in ["a", "b"] {
        let directory = tempdir().unwrap();
        if !restore_keys(store, &[key], directory.path()).await.hit {
            missed.insert(key.to_owned());
        }
    }
    missed
}

#[tokio::test]
async fn a_sound_store_is_read_completely_and_has_no_damage() {
    let store = make().await;
    let bytes: u64 = list_all(&store, "").await.unwrap().iter().map(|entry| entry.size).sum();
    let verified = verify(&store, None, &VerifyOptions::default()).await.unwrap();
    let done = &verified.scopes[0];
    assert_eq!((done.refs.objects, done.manifests.objects, done.packs.objects), (3, 3, 3));
    assert_eq!(done.refs.bytes + done.manifests.bytes + done.packs.bytes, bytes);
    assert_eq!((done.damage.len(), done.unreferenced.objects), (0, 0));
    assert!(verified.cost.bytes_read >= bytes && verified.cost.put + verified.cost.delete == 0);
}

#[tokio::test]
async fn each_damaged_or_missing_object_is_named_with_exactly_the_keys_that_cannot_be_restored() {
    let store = make().await;
    for Entry { key: name, .. } in list_all(&store, "").await.unwrap() {
        let whole = store.get(&name, None).await.unwrap().unwrap().bytes;
        let flip = |at: usize| {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 4;
            Some(Bytes::from(bytes))
        };
        let longer = Some([&whole[..], b"x"].concat().into());
        let mut spoilt = vec![None, Some(Bytes::new()), Some(whole.slice(..whole.len() - 1))];
        if !name.contains("/refs/") {
            spoilt.extend([flip(0), flip(whole.len() / 2), flip(whole.len() - 1)]);
        }
        if name.contains("/manifests/") {
            spoilt.push(longer);
        }
        for (number, bytes) in spoilt.into_iter().enumerate() {
            let is_ref = name.contains("/refs/");
            if is_ref && bytes.is_none() {
                continue; // A ref that is not there is no damage.
            }
            match bytes {
                Some(bytes) => drop(store.put(&name, bytes).await.unwrap()),
                None => store.delete(&name).await.unwrap(),
            }
            let done = check(&store).await;
            let objects: Vec<_> = done.damage.iter().map(|damage| &damage.object).collect();
            assert_eq!(objects, [&name], "{number} {done:?}");
            assert_eq!(done.damage[0].missing, number == 0);
            assert_eq!(hurt(&done), missed(&store).await, "{number} {name}");
            assert_eq!(done.damage[0].hurts.len(), 1, "{number} {name}");
        }
        store.put(&name, whole).await.unwrap();
    }
    assert!(check(&store).await.damage.is_empty());
}

#[tokio::test]
async fn objects_that_were_exchanged_are_both_named() {
    let store = make().await;
    for kind in ["refs/", "manifests/", "packs/"] {
        let names = list_all(&store, &format!("{PREFIX}{kind}")).await.unwrap();
        let (one, other) = (&names[0].key, &names.last().unwrap().key);
        let [first, second] =
            [store.get(one, None).await, store.get(other, None).await].map(|got| got.unwrap().unwrap().bytes);
        store.put(one, second.clone()).await.unwrap();
        store.put(other, first.clone()).await.unwrap();
        let done = check(&store).await;
        let objects: BTreeSet<_> = done.damage.iter().map(|damage| damage.object.clone()).collect();
        assert_eq!(objects, BTreeSet::from([one.clone(), other.clone()]));
        store.put(one, first).await.unwrap();
        store.put(other, second).await.unwrap();
    }
}

#[tokio::test]
async fn a_manifest_that_says_of_a_good_pack_what_is_not_so_is_named_and_its_neighbour_is_not() {
    let (stored, pack, frame) = forge::pack(b"content of the one");
    let digest = Digest::of_chunk(b"content of the one");
    let good = Chunk { frame: 0, offset: 0, length: 18, digest };
    for (frames, chunk) in [
        (vec![frame.clone()], Chunk { digest: Digest::of_chunk(b"content of another"), ..good.clone() }),
        (vec![frame.clone()], Chunk { length: 17, ..good.clone() }),
        (vec![Frame { raw: 19, ..frame.clone() }], good.clone()),
        (vec![Frame { size: frame.size - 1, ..frame.clone() }], good.clone()),
        (vec![Frame { offset: 1, size: frame.size - 1, ..frame.clone() }], good.clone()),
    ] {
        let store = Memory::new();
        store.put(&format!("{PREFIX}packs/{}", pack.digest), stored.clone().into()).await.unwrap();
        plant(&store, "honest", &pack, vec![frame.clone()], good.clone()).await;
        assert!(check(&store).await.damage.is_empty());
        plant(&store, "liar", &pack, frames, chunk).await;
        let done = check(&store).await;
        assert_eq!((done.damage.len(), hurt(&done)), (1, BTreeSet::from(["liar".to_owned()])), "{done:?}");
        assert!(done.damage[0].object.contains("/manifests/"), "{done:?}");
    }
}

async fn plant(store: &Memory, key: &str, pack: &Pack, frames: Vec<Frame>, chunk: Chunk) {
    let records = [forge::file("file", chunk.length.into(), vec![chunk])];
    let header = forge::Header { packs: vec![pack.clone()], frames, ..forge::header(&records) };
    forge::plant(store, key, forge::encode(&header, &records)).await;
}

#[tokio::test]
async fn what_nothing_refers_to_is_counted_and_read_all_the_same() {
    let store = make().await;
    for Entry { key, .. } in list_all(&store, &format!("{PREFIX}refs/b/")).await.unwrap() {
        store.delete(&key).await.unwrap();
    }
    let done = check(&store).await;
    assert_eq!((done.unreferenced.objects, done.packs.objects, done.damage.len()), (2, 3, 0));
    let lost = format!("{PREFIX}packs/{}", Digest::of(b"not this"));
    store.put(&lost, "this".into()).await.unwrap();
    let done = check(&store).await;
    assert_eq!((done.unreferenced.objects, done.damage.len()), (3, 1));
    assert!(done.damage[0].object == lost && done.damage[0].hurts.is_empty());
}

/// A store in which everything of key `b` is removed, refs first, as soon as the first manifest or pack is read.
#[derive(Clone, Debug)]
struct Vanishing {
    inner: Memory,
    trigger: &'static str,
    doomed: Arc<Mutex<Vec<String>>>,
}

impl Store for Vanishing {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Option<Object>, Error> {
        if key.contains(self.trigger) {
            let doomed = std::mem::take(&mut *self.doomed.lock().unwrap());
            for name in doomed {
                self.inner.delete(&name).await?;
            }
        }
        self.inner.get(key, range).await
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<Etag, Error> {
        self.inner.put(key, bytes).await
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Option<Etag>, Error> {
        self.inner.put_if_absent(key, bytes).await
    }

    async fn put_if_match(&self, key: &str, bytes: Bytes, etag: &Etag) -> Result<Option<Etag>, Error> {
        self.inner.put_if_match(key, bytes, etag).await
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, Error> {
        self.inner.list(prefix, after, limit).await
    }

    async fn touch(&self, key: &str) -> Result<bool, Error> {
        self.inner.touch(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.inner.delete(key).await
    }
}

#[tokio::test]
async fn what_a_collection_removes_meanwhile_is_no_damage() {
    for trigger in ["/refs/", "/manifests/", "/packs/"] {
        let inner = make().await;
        let all = list_all(&inner, PREFIX).await.unwrap();
        for Entry { key, .. } in list_all(&inner, &format!("{PREFIX}refs/a/")).await.unwrap() {
            inner.delete(&key).await.unwrap();
        }
        // What key a had stays and is garbage; of key b everything goes.
        let of_b = support_names(&inner, &all).await;
        let store = Vanishing { inner, trigger, doomed: Arc::new(Mutex::new(of_b)) };
        let done = check(&store).await;
        assert!(store.doomed.lock().unwrap().is_empty());
        assert!(done.damage.is_empty(), "{trigger} {done:?}");
    }
}

/// Gives the ref, the manifest and the pack of key `b`, in that order.
async fn support_names(store: &Memory, all: &[Entry]) -> Vec<String> {
    let name = list_all(store, &format!("{PREFIX}refs/b/")).await.unwrap().remove(0).key;
    let text = store.get(&name, None).await.unwrap().unwrap().bytes;
    let text: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let manifest = format!("{PREFIX}manifests/{}", text["manifest"].as_str().unwrap());
    // The pack of 300 kB is neither the smallest nor the largest.
    let mut packs: Vec<_> = all.iter().filter(|entry| entry.key.contains("/packs/")).collect();
    packs.sort_by_key(|entry| entry.size);
    vec![name, manifest, packs[1].key.clone()]
}

#[test]
fn the_command_ends_with_4_and_names_what_is_damaged_and_whom_it_hurts() {
    let (store, from) = (tempdir().unwrap(), tempdir().unwrap());
    let url = url(store.path());
    write(from.path(), "d", "content");
    for key in ["k", "l"] {
        run(command(&url, &["save", "--key", key, "d"]).arg("-C").arg(from.path()));
    }
    let said = run(&mut command(&url, &["verify"]));
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert!(
        said.out.starts_with("Read 2 refs, 1 manifest and 1 pack (") && said.out.contains(": no damage; "),
        "{said:?}"
    );
    let packs = store.path().join("v1/default/unprotected/packs");
    let pack = fs::read_dir(&packs).unwrap().next().unwrap().unwrap().path();
    fs::write(&pack, "other content").unwrap();
    let said = run(&mut command(&url, &["verify", "--scope", "default/unprotected", "--json"]));
    assert_eq!(said.code, Some(4), "{said:?}");
    assert_eq!(said.json()["scopes"][0]["damage"][0]["hurts"].as_array().unwrap().len(), 2);
    let name = pack.strip_prefix(store.path()).unwrap().display();
    let expected = format!("error: {name}: does not have the content of its name; hurts k, l\n");
    assert_eq!(said.err, expected);
    assert_eq!(run(&mut command(&url, &["verify", "--scope", "8/protected"])).code, Some(0));
}
