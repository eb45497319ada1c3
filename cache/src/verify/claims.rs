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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Pack;

    /// A manifest of packs with one frame each, and in it these many chunks.
    fn manifest(packs: &[(u8, u32)]) -> Manifest {
        let mut manifest = Manifest::default();
        for ((name, count), pack) in packs.iter().zip(0..) {
            manifest.packs.push(Pack { digest: Digest([*name; 32]), size: 100 });
            manifest.frames.push(Frame { pack, offset: 0, size: 100, raw: 100 });
            let chunk = |offset| Chunk { frame: pack, offset, length: 1, digest: Digest([0; 32]) };
            manifest.chunks.extend((0..*count).map(chunk));
        }
        manifest
    }

    #[test]
    fn every_claim_is_held_once_however_little_memory_there_is() {
        let manifests = [manifest(&[(9, 3), (1, 2), (5, 0)]), manifest(&[(7, 4), (1, 3), (3, 1)])];
        let expected = BTreeMap::from([(1, 3), (3, 1), (5, 0), (7, 4), (9, 3)]);
        for memory in [0, 1, 3, 4, 5, 8, 100] {
            let (mut seen, mut from) = (BTreeMap::new(), Some(Digest([0; 32])));
            while let Some(first) = from {
                let mut claims = Claims { memory, ..Claims::from(first) };
                for manifest in &manifests {
                    claims.add(manifest);
                }
                assert!(claims.held <= memory || claims.packs.len() == 1, "{memory}");
                for (pack, frames) in claims.packs {
                    let pieces: usize = frames.values().map(BTreeSet::len).sum();
                    assert_eq!(seen.insert(pack.0[0], pieces), None, "{memory}");
                }
                from = claims.rest;
            }
            assert_eq!(seen, expected, "{memory}");
        }
    }
}
