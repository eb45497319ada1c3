//! Archives by an enemy. What is imported can be restored.

#![no_main]

mod world;

use std::{fs, io::Cursor, sync::LazyLock};

use libfuzzer_sys::{Corpus, fuzz_target};
use warmstart_cache::{RestoreOptions, export, import, store::Memory};
use world::{World, key, save_options, saved, scope, sow};

static WORLD: LazyLock<World> = LazyLock::new(World::new);

fuzz_target!(
    init: sow(&seeds()),
    |input: &[u8]| -> Corpus { attempt(input) }
);

fn attempt(input: &[u8]) -> Corpus {
    let (store, temporary) = (Memory::new(), WORLD.temporary());
    let archive = ("archive", Cursor::new(input.to_vec()));
    let imported = WORLD.runtime.block_on(import(&store, &scope(), &key(), archive, &temporary, &save_options()));
    assert_eq!(fs::read_dir(&temporary).expect("list").count(), 0, "left over");
    WORLD.check_outside();
    match imported {
        Ok(saved) if saved.saved => {
            assert!(WORLD.restore(&store, false, |_| {}).hit, "what was imported is not to be had")
        }
        Ok(saved) => assert!(saved.reason.is_some()),
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error}"),
    }
    Corpus::Keep
}

/// An exported cache, as it is and decompressed, and entries of every kind.
fn seeds() -> Vec<Vec<u8>> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let output = file.reopen().expect("open");
    let (store, temporary) = (saved("").0, tempfile::tempdir().expect("a directory"));
    WORLD.runtime.block_on(async {
        export(&store, &scope(), &key(), output, temporary.path(), &RestoreOptions::default()).await.expect("export")
    });
    let whole = fs::read(file.path()).expect("read");
    let raw = zstd::decode_all(&whole[..]).expect("decompress");
    let kinds = [b'0', b'1', b'2', b'3', b'5', b'6', b'7', b'S', b'g', b'x', b'L', b'K'];
    let entry = |kind: u8| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_path("d/entry").expect("a path");
        header.set_link_name("d/file").expect("a link");
        header.set_size(0);
        header.set_mode(0o644);
        header.set_cksum();
        [header.as_bytes().as_slice(), &[0; 1024]].concat()
    };
    [whole, raw].into_iter().chain(kinds.map(entry)).collect()
}
