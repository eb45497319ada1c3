//! Frames by an enemy: the first four bytes say what it shall decompress to, the rest is the frame.

#![no_main]

mod world;

use std::{fs, sync::LazyLock};

use libfuzzer_sys::{Corpus, fuzz_target};
use warmstart_cache::{
    Digest,
    store::{Memory, Store as _},
};
use world::{World, forge, saved, sow};

/// What the only chunk of the frame must be.
const CONTENT: &[u8] = b"the only content that is right, again and again and again and again";
/// More is refused with the manifest.
const MAX_RAW: u32 = 4 << 20;

static WORLD: LazyLock<World> = LazyLock::new(World::new);

fuzz_target!(
    init: sow(&seeds()),
    |input: &[u8]| -> Corpus { attempt(input) }
);

fn attempt(input: &[u8]) -> Corpus {
    let Some((raw, stored)) = input.split_first_chunk() else { return Corpus::Reject };
    let raw = u32::from_le_bytes(*raw) % (MAX_RAW + 1);
    let length = u32::try_from(CONTENT.len()).expect("small");
    if raw < length || stored.is_empty() {
        return Corpus::Reject;
    }
    let (store, digest) = (Memory::new(), Digest::of(stored));
    let size = u32::try_from(stored.len()).expect("small");
    let chunk = forge::Chunk { frame: 0, offset: 0, length, digest: Digest::of_chunk(CONTENT) };
    let records = [forge::file("file", length.into(), vec![chunk])];
    let header = forge::Header {
        packs: vec![forge::Pack { digest, size }],
        frames: vec![forge::Frame { pack: 0, offset: 0, size, raw }],
        ..forge::header(&records)
    };
    WORLD.runtime.block_on(async {
        store.put(&format!("v1/7/unprotected/packs/{digest}"), stored.to_vec().into()).await.expect("put");
        forge::plant(&store, "k", forge::encode(&header, &records)).await;
    });
    let right = zstd::bulk::decompress(stored, raw as usize)
        .is_ok_and(|content| content.len() == raw as usize && content.starts_with(CONTENT));
    let restored = WORLD.restore(&store, false, |to| {
        assert!(fs::read(to.join("file")).expect("read") == CONTENT, "wrong bytes");
    });
    assert_eq!(restored.hit, right, "{restored:?}");
    Corpus::Keep
}

/// The right content, compressed in several ways, and frames of a real pack.
fn seeds() -> Vec<Vec<u8>> {
    let long = [CONTENT, &[7; 100_000]].concat();
    let seed = |raw: usize, stored: &[u8]| [&u32::try_from(raw).expect("small").to_le_bytes()[..], stored].concat();
    let mut seeds = Vec::new();
    for content in [CONTENT, &long] {
        for level in [-5, 1, 3, 19] {
            seeds.push(seed(content.len(), &zstd::bulk::compress(content, level).expect("compress")));
        }
        seeds.push(seed(content.len(), &zstd::encode_all(content, 3).expect("compress")));
    }
    let two = [zstd::bulk::compress(CONTENT, 1), zstd::bulk::compress(b"more", 1)].map(|part| part.expect("compress"));
    seeds.push(seed(CONTENT.len() + 4, &two.concat()));
    seeds.extend(saved("/packs/").1.iter().map(|pack| seed(200_500, pack)));
    seeds
}
