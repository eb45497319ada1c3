//! Manifests as bytes, and back.

use std::io::{self, Read, Write};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Frame, Manifest, Pack, Record, Totals, check};

/// The format's version, the first byte of the header.
const VERSION: u8 = 1;
/// The largest manifest as it is stored.
pub(crate) const MAX_STORED: u64 = 96 << 20;
/// The largest manifest once decompressed.
const MAX_DECODED: u64 = 192 << 20;
/// The longest header: a million frames and more. Without it a table could take many times what its bytes do.
const MAX_HEADER: u64 = 16 << 20;
/// The most holes of all files together, for the same reason; those that are worth it are 64 KiB long.
const MAX_HOLES: usize = 1 << 20;
/// The largest window a stored stream may ask the decompressor for, as a power of two: 8 MiB.
const MAX_WINDOW: u32 = 23;

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

impl Manifest {
    /// Gives the object that stores this manifest; the same manifest gives the same bytes.
    pub(crate) fn encode(&self) -> io::Result<Vec<u8>> {
        let Totals { entries, files, bytes } = self.totals();
        let (packs, frames) = (self.packs.clone(), self.frames.clone());
        let mut stream = zstd::Encoder::new(Vec::new(), 3)?;
        let mut buffer = Vec::new();
        write(&mut stream, &mut buffer, &Header { version: VERSION, entries, files, bytes, packs, frames })?;
        for record in self.records() {
            write(&mut stream, &mut buffer, &record)?;
        }
        stream.finish()
    }

    /// Reads a stored manifest and checks everything it claims; the reason, if it is none. `limits` are checked
    /// against the header before a record is read.
    pub(crate) fn decode(stored: &Bytes, limits: impl FnOnce(Totals) -> Result<(), String>) -> Result<Self, String> {
        let mut stream = zstd::Decoder::with_buffer(&stored[..]).map_err(|error| error.to_string())?;
        stream.window_log_max(MAX_WINDOW).map_err(|error| error.to_string())?;
        let mut stream = io::BufReader::with_capacity(128 << 10, stream.take(MAX_DECODED));
        let mut buffer = Vec::new();
        let header: Header = parse(read(&mut stream, &mut buffer, MAX_HEADER)?.ok_or("is empty")?)?;
        let claimed = Totals { entries: header.entries, files: header.files, bytes: header.bytes };
        limits(claimed)?;
        let mut manifest = Self { packs: header.packs, frames: header.frames, ..Self::default() };
        while let Some(encoded) = read(&mut stream, &mut buffer, MAX_DECODED)? {
            if manifest.len() as u64 == claimed.entries {
                return Err("has more entries than it says".into());
            }
            manifest.push(&parse::<Record<'_>>(encoded)?);
            if manifest.holes.len() > MAX_HOLES {
                return Err("has more holes than any cache needs".into());
            }
        }
        if header.version != VERSION || manifest.totals() != claimed {
            return Err("does not hold what its header says".into());
        }
        check::check(&manifest)?;
        Ok(manifest)
    }
}

fn write(stream: &mut impl Write, buffer: &mut Vec<u8>, record: &impl Serialize) -> io::Result<()> {
    buffer.clear();
    postcard::to_io(record, &mut *buffer).map_err(io::Error::other)?;
    let length = u32::try_from(buffer.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_le_bytes())?;
    stream.write_all(buffer)
}

/// Reads one encoded record; none at the end. Memory grows with what is really there, not with the length it claims.
fn read<'buffer>(
    stream: &mut impl Read,
    buffer: &'buffer mut Vec<u8>,
    limit: u64,
) -> Result<Option<&'buffer [u8]>, String> {
    let mut length = [0; 4];
    match stream.read(&mut length[..1]).map_err(|error| error.to_string())? {
        0 => return Ok(None),
        _ => stream.read_exact(&mut length[1..]).map_err(|error| error.to_string())?,
    }
    let length = u32::from_le_bytes(length);
    if u64::from(length) > limit {
        return Err(format!("has a record of {length} bytes"));
    }
    buffer.clear();
    stream.take(length.into()).read_to_end(buffer).map_err(|error| error.to_string())?;
    if buffer.len() != length as usize {
        return Err("ends in the middle of a record".into());
    }
    Ok(Some(buffer))
}

fn parse<'de, T: Deserialize<'de>>(encoded: &'de [u8]) -> Result<T, String> {
    match postcard::take_from_bytes(encoded) {
        Ok((record, [])) => Ok(record),
        Ok(_) => Err("has a record with more bytes than it needs".into()),
        Err(error) => Err(format!("has a record that cannot be read: {error}")),
    }
}
