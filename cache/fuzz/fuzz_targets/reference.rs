//! Refs by an enemy, beside a cache that is right: a hit is that cache.

#![no_main]

mod world;

use std::{fs, sync::LazyLock};

use libfuzzer_sys::{Corpus, fuzz_target};
use warmstart_cache::{history, list, store::Store as _};
use world::{World, key, saved, scope, sow};

/// Before all refs that a save writes.
const NAME: &str = "v1/7/unprotected/refs/k/0000000001000-0000000000000000";
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

static WORLD: LazyLock<World> = LazyLock::new(World::new);
static STORE: LazyLock<warmstart_cache::store::Memory> = LazyLock::new(|| saved("").0);

fuzz_target!(
    init: sow(&seeds()),
    |input: &[u8]| -> Corpus { attempt(input) }
);

fn attempt(input: &[u8]) -> Corpus {
    let store = &*STORE;
    WORLD.runtime.block_on(async {
        store.put(NAME, input.to_vec().into()).await.expect("put");
        // What they say is for people to read; they must say something.
        drop(list(store, &scope(), PATIENCE).await);
        drop(history(store, &scope(), &key(), PATIENCE).await);
    });
    WORLD.restore(store, false, |to| {
        assert!(fs::read(to.join("d/file")).expect("read") == "some text ".repeat(20).as_bytes(), "wrong bytes");
    });
    Corpus::Keep
}

/// A real ref, a tombstone, and odd ones.
fn seeds() -> Vec<Vec<u8>> {
    let real = saved("/refs/").1.remove(0);
    let text = String::from_utf8(real.clone()).expect("JSON");
    let lines = |keep: &dyn Fn(&&str) -> bool| text.lines().filter(keep).collect::<Vec<_>>().join("\n").into_bytes();
    let tombstone = lines(&|line| !line.contains("manifest"));
    let digest = text.split('"').find(|part| part.len() == 64).expect("a digest").to_owned();
    let other = text.replace(&digest, &"0".repeat(64)).into_bytes();
    let odd = text.replace("7/unprotected", "7/protected").replace("\"files\": ", "\"files\": -").into_bytes();
    vec![real, tombstone, other, odd, b"{}".to_vec(), b"[[[[[[".to_vec()]
}
