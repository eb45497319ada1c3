//! Packs: chunks in frames, frames in objects of a size that S3 likes.
//!
//! A chunk alone compresses badly (9 % larger than the whole at 64 KiB) and costs a request, so neighbours share a
//! frame of 2 MiB and frames share a pack of at least 16 MiB.

use std::{collections::HashMap, io};

use bytes::Bytes;

use crate::{
    digest::Digest,
    manifest::{Chunk, Frame, Manifest, Pack},
};

/// A frame is closed once it has this many bytes.
const FULL_FRAME: usize = 2 << 20;
/// A pack is closed once it has this many bytes: with those under way to the store it is most of a save's memory.
const FULL_PACK: usize = 16 << 20;
/// The most a frame may decompress to.
pub(crate) const MAX_RAW: u32 = 4 << 20;
/// The largest frame as it is stored; what cannot be compressed grows a little.
pub(crate) const MAX_FRAME: u32 = 5 << 20;
/// The largest pack.
pub(crate) const MAX_SIZE: u32 = 64 << 20;
/// A good ratio still at 350 MB/s and core.
const LEVEL: i32 = 3;

/// A pack on its way to the store.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
}

/// Where a chunk lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    frame: u32,
    offset: u32,
}

/// Puts chunks into packs, each chunk once.
pub(crate) struct Packer<Send> {
    known: HashMap<Digest, Place>,
    packs: Vec<Pack>,
    frames: Vec<Frame>,
    frame: Vec<u8>,
    pack: Vec<u8>,
    compressor: zstd::bulk::Compressor<'static>,
    send: Send,
}

impl<Send: FnMut(Packed) -> io::Result<()>> Packer<Send> {
    /// Begins with the chunks of `base`, which are in the store already; `send` takes each pack that is full.
    pub(crate) fn new(base: &Manifest, send: Send) -> io::Result<Self> {
        let place = |chunk: &Chunk| (chunk.digest, Place { frame: chunk.frame, offset: chunk.offset });
        Ok(Self {
            known: base.chunks.iter().map(place).collect(),
            packs: base.packs.clone(),
            frames: base.frames.clone(),
            frame: Vec::new(),
            pack: Vec::new(),
            compressor: zstd::bulk::Compressor::new(LEVEL)?,
            send,
        })
    }

    /// Gives where a chunk lies, having put it there if it is new. It is at most [`crate::chunk::MAX`] long.
    pub(crate) fn add(&mut self, content: &[u8]) -> io::Result<Chunk> {
        let digest = Digest::of(content);
        let place = match self.known.get(&digest) {
            Some(place) => *place,
            None => self.append(digest, content)?,
        };
        let length = number(content.len())?;
        Ok(Chunk { frame: place.frame, offset: place.offset, length, digest })
    }

    fn append(&mut self, digest: Digest, content: &[u8]) -> io::Result<Place> {
        if self.frame.len() >= FULL_FRAME {
            self.close_frame()?;
        }
        let place = Place { frame: number(self.frames.len())?, offset: number(self.frame.len())? };
        self.frame.extend_from_slice(content);
        self.known.insert(digest, place);
        Ok(place)
    }

    fn close_frame(&mut self) -> io::Result<()> {
        let compressed = self.compressor.compress(&self.frame)?;
        self.frames.push(Frame {
            pack: number(self.packs.len())?,
            offset: number(self.pack.len())?,
            size: number(compressed.len())?,
            raw: number(self.frame.len())?,
        });
        self.frame.clear();
        self.pack.extend_from_slice(&compressed);
        if self.pack.len() >= FULL_PACK { self.close_pack() } else { Ok(()) }
    }

    fn close_pack(&mut self) -> io::Result<()> {
        let bytes = Bytes::from(std::mem::take(&mut self.pack));
        let digest = Digest::of(&bytes);
        self.packs.push(Pack { digest, size: number(bytes.len())? });
        (self.send)(Packed { digest, bytes })
    }

    /// Sends what is left and gives the manifest the frames and packs that it uses.
    pub(crate) fn finish(mut self, mut manifest: Manifest) -> io::Result<Manifest> {
        if !self.frame.is_empty() {
            self.close_frame()?;
        }
        if !self.pack.is_empty() {
            self.close_pack()?;
        }
        (manifest.packs, manifest.frames) = (self.packs, self.frames);
        drop_unused(&mut manifest);
        Ok(manifest)
    }
}

/// Drops frames and packs that no record uses, and keeps the order of the others: a tree that did not change gives
/// the manifest that it was restored from.
fn drop_unused(manifest: &mut Manifest) {
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
    keep(&mut manifest.packs, &packs);
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
