//! What a cache consists of: every path with its metadata, and where its content lies.
//!
//! A manifest is stored as one zstd stream of records, each after its length (`u32`, little endian): first the
//! [`Header`], then the [`Record`]s sorted by the bytes of their paths. Records are encoded by postcard.

mod check;
mod load;

use std::io::{self, Read, Write};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub(crate) use self::check::show;
use crate::digest::Digest;

/// The format's version, the first byte of the header.
const VERSION: u8 = 1;
/// The largest manifest as it is stored.
pub(crate) const MAX_STORED: u64 = 64 << 20;
/// The largest manifest once decompressed.
const MAX_DECODED: u64 = 128 << 20;
/// The largest window a stored stream may ask the decompressor for, as a power of two: 8 MiB.
const MAX_WINDOW: u32 = 23;
/// No path in a manifest begins with this: the names of staging directories do.
pub(crate) const RESERVED: &[u8] = b".warmstart-restore-";

/// A cache's paths and where their content lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) packs: Vec<Pack>,
    pub(crate) frames: Vec<Frame>,
    /// Sorted by path, each path once, directories before what is in them.
    pub(crate) records: Vec<Record>,
}

/// An object of frames, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Pack {
    pub(crate) digest: Digest,
    pub(crate) size: u32,
}

/// A run of chunks that is compressed as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Frame {
    /// The pack's place in [`Manifest::packs`].
    pub(crate) pack: u32,
    pub(crate) offset: u32,
    /// Bytes in the pack.
    pub(crate) size: u32,
    /// Bytes once decompressed.
    pub(crate) raw: u32,
}

/// One path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Record {
    /// Relative, components separated by one `/`, bytes as the file system has them.
    pub(crate) path: Vec<u8>,
    /// The twelve lower bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since 1970 and nanoseconds.
    pub(crate) mtime: (i64, u32),
    pub(crate) node: Node,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Node {
    Directory,
    File {
        size: u64,
        chunks: Vec<Chunk>,
    },
    Symlink {
        target: Vec<u8>,
    },
    /// Another name of the file at an earlier path.
    Link {
        to: Vec<u8>,
    },
}

/// A piece of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Chunk {
    /// The frame's place in [`Manifest::frames`].
    pub(crate) frame: u32,
    /// Where it begins in the decompressed frame.
    pub(crate) offset: u32,
    pub(crate) length: u32,
    pub(crate) digest: Digest,
}

/// What stands in front: totals that are counted when saving, and checked against limits before anything is done.
#[derive(Debug, Deserialize, Serialize)]
struct Header {
    version: u8,
    entries: u64,
    files: u64,
    bytes: u64,
    packs: Vec<Pack>,
    frames: Vec<Frame>,
}

/// How much a cache holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// All paths.
    pub(crate) entries: u64,
    /// Paths that are no directories.
    pub(crate) files: u64,
    /// Bytes of all files.
    pub(crate) bytes: u64,
}

impl Manifest {
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals { entries: self.records.len() as u64, ..Totals::default() };
        for record in &self.records {
            totals.files += u64::from(record.node != Node::Directory);
            if let Node::File { size, .. } = record.node {
                totals.bytes = totals.bytes.saturating_add(size);
            }
        }
        totals
    }

    /// Gives the object that stores this manifest; the same manifest gives the same bytes.
    pub(crate) fn encode(&self) -> io::Result<Vec<u8>> {
        let Totals { entries, files, bytes } = self.totals();
        let (packs, frames) = (self.packs.clone(), self.frames.clone());
        let mut stream = zstd::Encoder::new(Vec::new(), 3)?;
        write(&mut stream, &Header { version: VERSION, entries, files, bytes, packs, frames })?;
        for record in &self.records {
            write(&mut stream, record)?;
        }
        stream.finish()
    }

    /// Reads a stored manifest and checks everything it claims; the reason, if it is none. `limits` are checked
    /// against the header before a record is read.
    pub(crate) fn decode(stored: &Bytes, limits: impl FnOnce(Totals) -> Result<(), String>) -> Result<Self, String> {
        let mut stream = zstd::Decoder::with_buffer(&stored[..]).map_err(|error| error.to_string())?;
        stream.window_log_max(MAX_WINDOW).map_err(|error| error.to_string())?;
        let mut stream = stream.take(MAX_DECODED);
        let header: Header = read(&mut stream)?.ok_or("is empty")?;
        let claimed = Totals { entries: header.entries, files: header.files, bytes: header.bytes };
        limits(claimed)?;
        let mut records = Vec::new();
        while let Some(record) = read(&mut stream)? {
            if records.len() as u64 == claimed.entries {
                return Err("has more entries than it says".into());
            }
            records.push(record);
        }
        let manifest = Self { packs: header.packs, frames: header.frames, records };
        if header.version != VERSION || manifest.totals() != claimed {
            return Err("does not hold what its header says".into());
        }
        check::check(&manifest)?;
        Ok(manifest)
    }
}

fn write(stream: &mut impl Write, record: &impl Serialize) -> io::Result<()> {
    let encoded = postcard::to_stdvec(record).map_err(io::Error::other)?;
    let length = u32::try_from(encoded.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_le_bytes())?;
    stream.write_all(&encoded)
}

/// Reads one record; none at the end. Memory grows with what is really there, not with the length it claims.
fn read<T: DeserializeOwned>(stream: &mut impl Read) -> Result<Option<T>, String> {
    let mut length = [0; 4];
    match stream.read(&mut length[..1]).map_err(|error| error.to_string())? {
        0 => return Ok(None),
        _ => stream.read_exact(&mut length[1..]).map_err(|error| error.to_string())?,
    }
    let length = u32::from_le_bytes(length);
    let mut encoded = Vec::new();
    stream.take(length.into()).read_to_end(&mut encoded).map_err(|error| error.to_string())?;
    if encoded.len() != length as usize {
        return Err("ends in the middle of a record".into());
    }
    match postcard::take_from_bytes(&encoded) {
        Ok((record, [])) => Ok(Some(record)),
        Ok(_) => Err("has a record with more bytes than it needs".into()),
        Err(error) => Err(format!("has a record that cannot be read: {error}")),
    }
}
