//! What manifests say of packs: where frames lie, and which chunks are in them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    digest::Digest,
    manifest::{Chunk, Frame, Manifest},
};

/// Claims held at a time; one takes some 60 bytes.
const MEMORY: usize = 1 << 20;

/// Where a frame lies in its pack: offset and size there, and its size once decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) offset: u32,
    pub(super) size: u32,
    pub(super) raw: u32,
}

/// A chunk in a decompressed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Piece {
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) digest: Digest,
}

/// The frames of a pack, each with its chunks.
pub(super) type Frames = BTreeMap<Place, BTreeSet<Piece>>;

/// What was said of the packs from one on, as many as memory allows.
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) packs: BTreeMap<Digest, Frames>,
    first: Digest,
    /// The first pack that has to wait for the next time.
    pub(super) rest: Option<Digest>,
    held: usize,
    memory: usize,
}

impl Claims {
    pub(super) fn from(first: Digest) -> Self {
        Self { packs: BTreeMap::new(), first, rest: None, held: 0, memory: MEMORY }
    }

    /// Gives all that one manifest says.
    pub(super) fn of(manifest: &Manifest) -> Self {
        let mut claims = Self { memory: usize::MAX, ..Self::from(Digest([0; 32])) };
        claims.add(manifest);
        claims
    }

    pub(super) fn add(&mut self, manifest: &Manifest) {
        for frame in &manifest.frames {
            self.insert(manifest, frame, None);
        }
        for chunk in &manifest.chunks {
            self.insert(manifest, &manifest.frames[chunk.frame as usize], Some(chunk));
        }
    }

    fn insert(&mut self, manifest: &Manifest, frame: &Frame, chunk: Option<&Chunk>) {
        let pack = manifest.packs[frame.pack as usize].digest;
        if pack < self.first || self.rest.is_some_and(|rest| pack >= rest) {
            return;
        }
        let place = Place { offset: frame.offset, size: frame.size, raw: frame.raw };
        let pieces = self.packs.entry(pack).or_default().entry(place).or_default();
        let Some(Chunk { offset, length, digest, .. }) = chunk.copied() else { return };
        self.held += usize::from(pieces.insert(Piece { offset, length, digest }));
        while self.held > self.memory && self.packs.len() > 1 {
            let Some((pack, frames)) = self.packs.pop_last() else { return };
            self.held -= frames.values().map(BTreeSet::len).sum::<usize>();
            self.rest = Some(pack);
        }
    }
}
