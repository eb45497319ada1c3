//! What to read from where, and what to write with it: pure.

use std::ops::Range;

use crate::manifest::{Manifest, Node};

/// The most that one request reads, unless a single frame is larger.
pub(super) const MAX_RUN: u32 = 2 << 20;
/// Reading this much in vain is cheaper than another request.
const MAX_GAP: u32 = 64 << 10;

/// A chunk of a record, and where in the file it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) record: u32,
    /// Its place among the chunks of all files.
    pub(super) chunk: u32,
    pub(super) at: u64,
}

/// A frame that is needed, and its [`Piece`]s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) frame: u32,
    pub(super) pieces: Range<usize>,
}

/// A range of a pack that one request reads, and the frames in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) pack: u32,
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) frames: Vec<Wanted>,
}

/// All content of a manifest, in the order of the packs.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) pieces: Vec<Piece>,
    pub(super) runs: Vec<Run>,
}

impl Plan {
    pub(super) fn new(manifest: &Manifest) -> Self {
        let mut pieces = pieces(manifest);
        let position = |piece: &Piece| {
            let frame = frame(manifest, piece);
            let place = &manifest.frames[frame as usize];
            (place.pack, place.offset, frame)
        };
        // Stable: within a frame, the pieces of a file stay together and in order.
        pieces.sort_by_key(position);
        let runs = runs(manifest, &pieces);
        Self { pieces, runs }
    }

    /// Gives the runs in an order that keeps `ways` workers apart: neighbouring runs have files of the same
    /// directories, and only one at a time can make a file in a directory.
    pub(super) fn order(&self, ways: usize) -> Vec<usize> {
        let length = self.runs.len().div_ceil(ways.max(1)).max(1);
        let starts = || (0..self.runs.len()).step_by(length);
        let round = |step| starts().map(move |start| (start + step, self.runs.len().min(start + length)));
        (0..length).flat_map(|step| round(step).filter(|(at, end)| at < end).map(|(at, _)| at)).collect()
    }
}

fn frame(manifest: &Manifest, piece: &Piece) -> u32 {
    manifest.chunks[piece.chunk as usize].frame
}

fn pieces(manifest: &Manifest) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(manifest.chunks.len());
    for (record, number) in manifest.records().zip(0..) {
        let Node::File { chunks, holes, .. } = record.node else { continue };
        let (mut at, mut holes) = (0, holes.iter().peekable());
        for chunk in chunks.iter() {
            if let Some(hole) = holes.next_if(|hole| hole.start == at) {
                at += hole.length;
            }
            // The chunks of all files come in the order of their records.
            pieces.push(Piece { record: number, chunk: u32::try_from(pieces.len()).unwrap_or(u32::MAX), at });
            at += u64::from(chunk.length);
        }
    }
    pieces
}

/// Joins neighbouring frames into runs.
fn runs(manifest: &Manifest, pieces: &[Piece]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut first = 0;
    for group in pieces.chunk_by(|one, other| frame(manifest, one) == frame(manifest, other)) {
        let wanted = Wanted { frame: frame(manifest, &group[0]), pieces: first..first + group.len() };
        first = wanted.pieces.end;
        let frame = &manifest.frames[wanted.frame as usize];
        let end = frame.offset + frame.size;
        let joins = |run: &Run| {
            let near = frame.offset >= run.end && frame.offset - run.end <= MAX_GAP;
            run.pack == frame.pack && near && end - run.start <= MAX_RUN
        };
        match runs.last_mut().filter(|run| joins(run)) {
            Some(run) => {
                run.end = end;
                run.frames.push(wanted);
            }
            None => runs.push(Run { pack: frame.pack, start: frame.offset, end, frames: vec![wanted] }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        digest::Digest,
        manifest::{Chunk, Frame, Hole, Record},
    };

    fn manifest(frames: Vec<Frame>, files: &[(&[u32], Vec<Hole>)]) -> Manifest {
        let mut manifest = Manifest::default();
        manifest.frames = frames;
        for ((frames, holes), name) in files.iter().zip(b'a'..) {
            let chunk = |frame: &u32| Chunk { frame: *frame, offset: 0, length: 10, digest: Digest::of_chunk(b"") };
            let (size, chunks) = (10 * frames.len() as u64, frames.iter().map(chunk).collect());
            let node = Node::File { size, chunks, holes: holes.into() };
            let (path, attributes) = (&[name][..], Vec::new());
            manifest.push(&Record { path, mode: 0, uid: 0, gid: 0, mtime: (0, 0), attributes, node });
        }
        manifest
    }

    #[test]
    fn neighbouring_frames_are_read_together_and_each_only_once() {
        let frame = |pack, offset, size| Frame { pack, offset, size, raw: 10 };
        let frames = vec![frame(0, 100, 50), frame(0, 0, 100), frame(0, 1_000_000, 5), frame(1, 1_000_005, 5)];
        let plan = Plan::new(&manifest(frames, &[(&[0, 3], Vec::new()), (&[1, 0, 2], Vec::new())]));
        let runs: Vec<_> = plan.runs.iter().map(|run| (run.pack, run.start, run.end, run.frames.len())).collect();
        assert_eq!(runs, [(0, 0, 150, 2), (0, 1_000_000, 1_000_005, 1), (1, 1_000_005, 1_000_010, 1)]);
        let shared = &plan.runs[0].frames[1];
        let places: Vec<_> = plan.pieces[shared.pieces.clone()].iter().map(|piece| (piece.record, piece.at)).collect();
        assert_eq!((shared.frame, places), (0, vec![(0, 0), (1, 10)]));
    }

    #[test]
    fn a_run_is_bounded() {
        let frames = (0..8).map(|n| Frame { pack: 0, offset: n << 20, size: 1 << 20, raw: 10 }).collect();
        let plan = Plan::new(&manifest(frames, &[(&[0, 1, 2, 3, 4, 5, 6, 7], Vec::new())]));
        assert_eq!(plan.runs.iter().map(|run| run.end - run.start).collect::<Vec<_>>(), [2 << 20; 4]);
        assert_eq!(plan.order(2), [0, 2, 1, 3]);
        assert_eq!(plan.order(3), [0, 2, 1, 3]);
        assert_eq!(plan.order(1), [0, 1, 2, 3]);
        assert_eq!(plan.order(9), [0, 1, 2, 3]);
    }

    #[test]
    fn chunks_lie_around_the_holes() {
        let frames = vec![Frame { pack: 0, offset: 0, size: 10, raw: 10 }];
        let holes = [(0, 5), (15, 100), (125, 1)].map(|(start, length)| Hole { start, length });
        let plan = Plan::new(&manifest(frames, &[(&[0, 0], holes.to_vec())]));
        assert_eq!(plan.pieces.iter().map(|piece| piece.at).collect::<Vec<_>>(), [5, 115]);
    }
}
