//! Packs: chunks in frames, frames in objects of a size that S3 likes.
//!
//! A chunk alone compresses badly (9 % larger than the whole at 64 KiB) and costs a request, so neighbours share a
//! frame of up to 4 MiB and frames share a pack of at least 16 MiB.

use std::io;

use bytes::{Bytes, BytesMut};
use zstd::stream::raw::CParameter;

use crate::{
    digest::Digest,
    manifest::{Frame, Manifest, Pack},
};

/// A frame gets chunks up to so many bytes.
pub(crate) const FULL_FRAME: usize = MAX_RAW as usize;
/// A pack is closed once it has this many bytes: with those under way to the store it is most of a save's memory.
pub(crate) const FULL_PACK: usize = 16 << 20;
/// The most a frame may decompress to.
pub(crate) const MAX_RAW: u32 = 4 << 20;
/// The largest frame as it is stored; what cannot be compressed grows a little.
pub(crate) const MAX_FRAME: u32 = 5 << 20;
/// The largest pack.
pub(crate) const MAX_SIZE: u32 = 64 << 20;
/// A good ratio still at 350 MB/s and core.
const LEVEL: i32 = 3;

/// Compresses frames; its tables are made once for all of them.
pub(crate) struct Compressor(zstd::bulk::Compressor<'static>);

impl Compressor {
    pub(crate) fn new() -> io::Result<Self> {
        let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
        for parameter in PARAMETERS {
            compressor.set_parameter(parameter)?;
        }
        Ok(Self(compressor))
    }

    /// Compresses the content of a frame into a buffer with room for [`bound`] bytes.
    pub(crate) fn compress(&mut self, raw: &[u8], buffer: &mut Vec<u8>) -> io::Result<()> {
        self.0.compress_to_buffer(raw, buffer).map(|_| ())
    }
}

/// Gives the most bytes that content of a length takes when it cannot be compressed.
pub(crate) fn bound(length: usize) -> usize {
    zstd::compress_bound(length)
}

/// What differs from the level's own: a frame is one window, and tables of 256 KiB each fit a core's cache. A few
/// percent faster, and as small.
const PARAMETERS: [CParameter; 3] = [CParameter::WindowLog(22), CParameter::HashLog(16), CParameter::ChainLog(16)];

/// A compressed frame.
#[derive(Debug)]
pub(crate) struct Compressed {
    /// Bytes before it was compressed.
    pub(crate) raw: usize,
    pub(crate) bytes: Vec<u8>,
}

/// Puts frames into packs, in order.
#[derive(Debug)]
pub(crate) struct Packer {
    /// The number of the pack that is being filled.
    pack: u32,
    bytes: BytesMut,
    pub(crate) frames: Vec<Frame>,
}

impl Packer {
    /// Packs are numbered after the `packs` that there are; the first grows in `buffer`.
    pub(crate) fn new(packs: usize, buffer: BytesMut) -> io::Result<Self> {
        Ok(Self { pack: number(packs)?, bytes: buffer, frames: Vec::new() })
    }

    /// Adds a frame, and tells whether the pack is full with it.
    pub(crate) fn add(&mut self, frame: &Compressed) -> io::Result<bool> {
        let (offset, size) = (number(self.bytes.len())?, number(frame.bytes.len())?);
        self.frames.push(Frame { pack: self.pack, offset, size, raw: number(frame.raw)? });
        self.bytes.extend_from_slice(&frame.bytes);
        Ok(self.bytes.len() >= FULL_PACK)
    }

    /// Gives the pack that is being filled, if there is anything in it; the next one grows in `buffer`.
    pub(crate) fn finish(&mut self, buffer: BytesMut) -> Option<Bytes> {
        let bytes = std::mem::replace(&mut self.bytes, buffer);
        self.pack += u32::from(!bytes.is_empty());
        (!bytes.is_empty()).then(|| bytes.freeze())
    }
}

/// Gives a pack the name of its content.
pub(crate) fn name(bytes: &Bytes) -> io::Result<Pack> {
    Ok(Pack { digest: Digest::of(bytes), size: number(bytes.len())? })
}

/// Drops frames and packs that no chunk uses, and keeps the order of the others: a tree that did not change gives
/// the manifest that it was restored from. Gives the packs that stay of the first `known`.
pub(crate) fn drop_unused(manifest: &mut Manifest, known: usize) -> Vec<Pack> {
    let mut frames = vec![false; manifest.frames.len()];
    manifest.chunks.iter().for_each(|chunk| frames[chunk.frame as usize] = true);
    let mut packs = vec![false; manifest.packs.len()];
    for (frame, _) in manifest.frames.iter().zip(&frames).filter(|(_, used)| **used) {
        packs[frame.pack as usize] = true;
    }
    let (frame_numbers, pack_numbers) = (renumber(&frames), renumber(&packs));
    manifest.chunks.iter_mut().for_each(|chunk| chunk.frame = frame_numbers[chunk.frame as usize]);
    manifest.frames.iter_mut().for_each(|frame| frame.pack = pack_numbers[frame.pack as usize]);
    keep(&mut manifest.frames, &frames);
    let old = manifest.packs.iter().zip(&packs).take(known);
    let reused = old.filter(|(_, used)| **used).map(|(pack, _)| *pack).collect();
    keep(&mut manifest.packs, &packs);
    reused
}

/// Gives each place its number among the used ones.
fn renumber(used: &[bool]) -> Vec<u32> {
    let next = |count: &mut u32, used: &bool| {
        let number = *count;
        *count += u32::from(*used);
        Some(number)
    };
    used.iter().scan(0, next).collect()
}

fn keep<T>(items: &mut Vec<T>, used: &[bool]) {
    let mut used = used.iter();
    items.retain(|_| used.next().copied().unwrap_or(false));
}

fn number(length: usize) -> io::Result<u32> {
    u32::try_from(length).map_err(io::Error::other)
}

/// Gives the content of a frame, or why it has none.
pub(crate) fn open_frame(frame: &Frame, stored: &[u8]) -> Result<Vec<u8>, String> {
    let raw = zstd::bulk::decompress(stored, frame.raw as usize).map_err(|error| error.to_string())?;
    if raw.len() == frame.raw as usize { Ok(raw) } else { Err(format!("a frame has {} bytes", raw.len())) }
}
