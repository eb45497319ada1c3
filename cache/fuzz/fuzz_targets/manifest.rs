//! Manifests by an enemy. The lowest bit of the first byte tells whether the rest is the stored object or what it
//! decompresses to, the next one whether attributes and devices are asked for.

#![no_main]

mod world;

use std::sync::LazyLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use warmstart_cache::store::{Memory, Store as _};
use world::{World, forge, saved, sow};

/// The content of the pack that forged manifests may name.
const CONTENT: &[u8] = b"x and more";

struct Scene {
    world: World,
    store: Memory,
    /// A real manifest.
    stored: Vec<u8>,
}

// The runtime and the directory are used by one thread.
static SCENE: LazyLock<Scene> = LazyLock::new(|| {
    let (store, mut manifests) = saved("/manifests/");
    Scene { world: World::new(), store, stored: manifests.remove(0) }
});

fuzz_target!(
    init: sow(&seeds()),
    |input: &[u8]| -> Corpus { attempt(input) }
);

fn attempt(input: &[u8]) -> Corpus {
    let Some((how, rest)) = input.split_first() else { return Corpus::Reject };
    let manifest = if how % 2 == 0 { rest.to_vec() } else { zstd::bulk::compress(rest, 1).expect("compress") };
    let Scene { world, store, .. } = &*SCENE;
    // The packs stay, manifest and ref are new each time.
    let name = format!("v1/7/unprotected/manifests/{}", warmstart_cache::Digest::of(&manifest));
    let (pack, info, _) = forge::pack(CONTENT);
    world.runtime.block_on(async {
        store.put(&format!("v1/7/unprotected/packs/{}", info.digest), pack.into()).await.expect("put");
        forge::plant(store, "k", manifest).await;
    });
    world.restore(store, how & 2 != 0, |_| {});
    world.runtime.block_on(store.delete(&name)).expect("delete");
    Corpus::Keep
}

/// A real manifest, stored and decompressed, and forged ones with one of everything.
fn seeds() -> Vec<Vec<u8>> {
    let stored = &SCENE.stored;
    let raw = zstd::decode_all(&stored[..]).expect("decompress");
    let mut seeds = vec![[&[0], &stored[..]].concat(), [&[3], &raw[..]].concat()];
    let (_, info, frame) = forge::pack(CONTENT);
    let chunk = || forge::Chunk { frame: 0, offset: 0, length: 1, digest: warmstart_cache::Digest::of_chunk(b"x") };
    let dressed = forge::Record { attributes: vec![(b"user.a".into(), b"1".into())], ..forge::directory("e") };
    let records = [
        forge::directory("a"),
        forge::file("a/file", 1, vec![chunk()]),
        forge::symlink("a/link", "../../outside"),
        forge::hard_link("b", "a/file"),
        forge::record("c", forge::Node::Device { major: 0, minor: 0 }),
        forge::record("d", forge::Node::File { size: 3, chunks: vec![chunk()], holes: vec![(1, 2)] }),
        dressed,
    ];
    for count in 1..=records.len() {
        let some = &records[..count];
        let header = forge::Header { packs: vec![info.clone()], frames: vec![frame.clone()], ..forge::header(some) };
        let forged = zstd::decode_all(&forge::encode(&header, some)[..]).expect("decompress");
        seeds.extend([1, 3].map(|how| [&[how], &forged[..]].concat()));
    }
    seeds
}
