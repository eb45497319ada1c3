//! From chunks to frames: each chunk once, in the order in which the files come. Pure.

use std::{collections::HashMap, ops::Range, sync::Arc};

use super::{
    buffers::Buffers,
    read::{Found, Item, Segment},
};
use crate::{
    digest::Digest,
    manifest::{Chunk, Manifest},
    pack::FULL_FRAME,
};

/// Where a chunk lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    frame: u32,
    offset: u32,
}

/// What became of an entry that was read, by its place.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) at: usize,
    /// Its chunks among [`Framer::chunks`].
    pub(super) chunks: Range<usize>,
    pub(super) found: Result<Found, String>,
}

/// Takes segments in order and gives frames; knows in the end where the content of each file lies.
pub(super) struct Framer<'a> {
    base: &'a Manifest,
    /// Which packs of the base may be leaned on.
    usable: &'a [bool],
    /// Filled when the first chunk comes: often none does.
    known: Option<HashMap<Digest, Place>>,
    /// The number of the frame that is being filled.
    frame: u32,
    raw: Vec<u8>,
    buffers: Arc<Buffers>,
    pub(super) chunks: Vec<Chunk>,
    pub(super) read: Vec<Read>,
    /// Where the chunks of the file begin that is being read.
    start: usize,
}

impl<'a> Framer<'a> {
    /// Begins with the chunks of a manifest that lie in its usable packs; new frames are numbered after its own.
    pub(super) fn new(base: &'a Manifest, usable: &'a [bool], buffers: Arc<Buffers>) -> Self {
        Self {
            base,
            usable,
            known: None,
            frame: number(base.frames.len()),
            raw: buffers.frame(),
            buffers,
            chunks: Vec::new(),
            read: Vec::new(),
            start: 0,
        }
    }

    /// Takes the next segment and gives the frames that are full with it.
    pub(super) fn take(&mut self, segment: Segment) -> Vec<Vec<u8>> {
        let mut full = Vec::new();
        for item in segment.items {
            match item {
                Item::Chunk { range, digest } => full.extend(self.chunk(&segment.content[range], digest)),
                Item::Again => self.chunks.truncate(self.start),
                Item::End { at, found } => self.end(at, found),
            }
        }
        self.buffers.give_segment(segment.content);
        full
    }

    /// Adds a chunk to the file that is being read; gives the frame that had no room for it.
    fn chunk(&mut self, content: &[u8], digest: Digest) -> Option<Vec<u8>> {
        let known = self.known.get_or_insert_with(|| known(self.base, self.usable)).get(&digest).copied();
        let full = if known.is_none() && self.raw.len() + content.len() > FULL_FRAME { self.finish() } else { None };
        let place = known.unwrap_or(Place { frame: self.frame, offset: number(self.raw.len()) });
        if known.is_none() {
            self.raw.extend_from_slice(content);
            self.known.get_or_insert_default().insert(digest, place);
        }
        self.chunks.push(Chunk { frame: place.frame, offset: place.offset, length: number(content.len()), digest });
        full
    }

    fn end(&mut self, at: usize, found: Result<Found, String>) {
        if found.is_err() {
            self.chunks.truncate(self.start);
        }
        self.read.push(Read { at, chunks: self.start..self.chunks.len(), found });
        self.start = self.chunks.len();
    }

    /// Gives the frame that is being filled, if there is anything in it.
    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        if self.raw.is_empty() {
            return None;
        }
        self.frame += 1;
        Some(std::mem::replace(&mut self.raw, self.buffers.frame()))
    }
}

/// Gives the chunks that lie in usable packs.
fn known(base: &Manifest, usable: &[bool]) -> HashMap<Digest, Place> {
    let usable = |chunk: &&Chunk| usable[base.frames[chunk.frame as usize].pack as usize];
    let place = |chunk: &Chunk| (chunk.digest, Place { frame: chunk.frame, offset: chunk.offset });
    base.chunks.iter().filter(usable).map(place).collect()
}

fn number(length: usize) -> u32 {
    u32::try_from(length).expect("a frame and a manifest's tables are far smaller")
}
