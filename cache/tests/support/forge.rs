//! Manifests and refs as an enemy, or another implementation, would write them: from `docs/cache-format.md`, not
//! with the code under test.

use bytes::Bytes;
use serde::Serialize;
use warmstart_cache::{Digest, store::Store};

#[derive(Clone, Debug, Serialize)]
pub struct Header {
    pub version: u8,
    pub entries: u64,
    pub files: u64,
    pub bytes: u64,
    pub packs: Vec<Pack>,
    pub frames: Vec<Frame>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Pack {
    pub digest: Digest,
    pub size: u32,
}

#[derive(Clone, Debug, Serialize)]
pub struct Frame {
    pub pack: u32,
    pub offset: u32,
    pub size: u32,
    pub raw: u32,
}

#[derive(Clone, Debug, Serialize)]
pub struct Record {
    pub path: Vec<u8>,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: (i64, u32),
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    pub node: Node,
}

#[derive(Clone, Debug, Serialize)]
pub enum Node {
    Directory,
    File { size: u64, chunks: Vec<Chunk>, holes: Vec<(u64, u64)> },
    Symlink { target: Vec<u8> },
    Link { to: Vec<u8> },
    Device { major: u32, minor: u32 },
}

#[derive(Clone, Debug, Serialize)]
pub struct Chunk {
    pub frame: u32,
    pub offset: u32,
    pub length: u32,
    pub digest: Digest,
}

pub fn record(path: &str, node: Node) -> Record {
    Record { path: path.into(), mode: 0o755, uid: 0, gid: 0, mtime: (1, 0), attributes: Vec::new(), node }
}

pub fn directory(path: &str) -> Record {
    record(path, Node::Directory)
}

pub fn symlink(path: &str, target: &str) -> Record {
    record(path, Node::Symlink { target: target.into() })
}

pub fn hard_link(path: &str, to: &str) -> Record {
    record(path, Node::Link { to: to.into() })
}

pub fn file(path: &str, size: u64, chunks: Vec<Chunk>) -> Record {
    record(path, Node::File { size, chunks, holes: Vec::new() })
}

/// A pack of one frame with this content, and the tables that describe it.
pub fn pack(content: &[u8]) -> (Vec<u8>, Pack, Frame) {
    let stored = zstd::bulk::compress(content, 3).expect("compress");
    let size = u32::try_from(stored.len()).expect("small");
    let frame = Frame { pack: 0, offset: 0, size, raw: u32::try_from(content.len()).expect("small") };
    (stored.clone(), Pack { digest: Digest::of(&stored), size }, frame)
}

pub fn header(records: &[Record]) -> Header {
    let size = |record: &Record| if let Node::File { size, .. } = record.node { size } else { 0 };
    Header {
        version: 1,
        entries: records.len() as u64,
        files: records.iter().filter(|record| !matches!(record.node, Node::Directory)).count() as u64,
        bytes: records.iter().map(size).fold(0, u64::wrapping_add),
        packs: Vec::new(),
        frames: Vec::new(),
    }
}

pub fn encode(header: &Header, records: &[Record]) -> Vec<u8> {
    let mut raw = framed(header);
    for record in records {
        raw.extend(framed(record));
    }
    zstd::encode_all(&raw[..], 3).expect("compress")
}

fn framed(value: &impl Serialize) -> Vec<u8> {
    let encoded = postcard::to_stdvec(value).expect("encode");
    [&u32::try_from(encoded.len()).expect("small").to_le_bytes()[..], &encoded].concat()
}

/// Puts a manifest and a ref to it where `scope()` keeps the key.
pub async fn plant(store: &impl Store, key: &str, manifest: Vec<u8>) {
    let digest = Digest::of(&manifest);
    store.put(&format!("v1/7/unprotected/manifests/{digest}"), manifest.into()).await.expect("put");
    plant_ref(store, key, &ref_text("7/unprotected", key, &digest.to_string())).await;
}

pub fn ref_text(scope: &str, key: &str, manifest: &str) -> String {
    format!(
        r#"{{"scope":"{scope}","key":"{key}","manifest":"{manifest}","created":"2026-01-01T00:00:00Z","files":1,"bytes":1,"writer":"enemy"}}"#
    )
}

pub async fn plant_ref(store: &impl Store, key: &str, text: &str) {
    let name = format!("v1/7/unprotected/refs/{key}/0000000001000-0000000000000000");
    store.put(&name, Bytes::from(text.to_owned())).await.expect("put");
}
