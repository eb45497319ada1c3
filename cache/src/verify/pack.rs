//! Reading a pack piece by piece: its digest, its frames, their chunks.

use std::collections::VecDeque;

use sha2::{Digest as _, Sha256};

use super::{
    Check,
    claims::{Frames, Piece, Place},
};
use crate::{
    deadline::blocking,
    digest::Digest,
    error::Error,
    manifest::Frame,
    pack::{self, open_frame},
    store::Store,
};

/// Bytes read at a time.
const PART: u64 = 4 << 20;

/// What is to be said of a pack.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) bytes: u64,
    pub(super) state: State,
    /// What manifests say of it and is not so.
    pub(super) lies: Frames,
}

/// Whether a pack is what its name says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    Whole,
    Damaged(&'static str),
    Missing,
}

/// Reads a pack and compares it with its name and with what manifests say of it.
pub(super) async fn check<S: Store>(check: &Check<'_, S>, digest: &Digest, frames: Frames) -> Result<Found, Error> {
    let name = check.scope.pack(digest);
    let mut reader = Reader::new(frames);
    while reader.end() <= u64::from(pack::MAX_SIZE) {
        let range = reader.end()..reader.end() + PART;
        let part = check.deadline.within("read a pack", check.store.get(&name, Some(range))).await?;
        let Some(part) = part else { return Ok(Found { state: State::Missing, ..reader.finish(digest) }) };
        let last = (part.bytes.len() as u64) < PART;
        check.options.progress.add(part.bytes.len() as u64);
        reader = blocking(move || {
            reader.feed(&part.bytes);
            Ok(reader)
        })
        .await?;
        if last {
            return Ok(reader.finish(digest));
        }
    }
    Ok(Found { state: State::Damaged("is too large for a pack"), ..reader.finish(digest) })
}

/// What has been read, and what is needed of it.
struct Reader {
    hash: Sha256,
    /// The end of what was read, from the next frame on.
    buffer: Vec<u8>,
    start: u64,
    /// Sorted by where they begin.
    frames: VecDeque<(Place, Vec<Piece>)>,
    lies: Frames,
}

impl Reader {
    fn new(frames: Frames) -> Self {
        let frames = frames.into_iter().map(|(place, pieces)| (place, pieces.into_iter().collect())).collect();
        Self { hash: Sha256::new(), buffer: Vec::new(), start: 0, frames, lies: Frames::new() }
    }

    fn end(&self) -> u64 {
        self.start + self.buffer.len() as u64
    }

    fn feed(&mut self, part: &[u8]) {
        self.hash.update(part);
        self.buffer.extend_from_slice(part);
        while let Some((place, pieces)) = self.frames.front() {
            let at = usize::try_from(u64::from(place.offset).saturating_sub(self.start)).unwrap_or(usize::MAX);
            let Some(stored) = self.buffer.get(at..at.saturating_add(place.size as usize)) else { break };
            if let Some(lies) = lies(place, pieces, stored) {
                self.lies.insert(*place, lies.into_iter().collect());
            }
            self.frames.pop_front();
        }
        let next = self.frames.front().map_or(u64::MAX, |(place, _)| place.offset.into());
        let done = usize::try_from(next.saturating_sub(self.start)).unwrap_or(usize::MAX).min(self.buffer.len());
        self.buffer.drain(..done);
        self.start += done as u64;
    }

    fn finish(self, digest: &Digest) -> Found {
        let bytes = self.end();
        let whole = Digest(self.hash.finalize().into()) == *digest;
        let state = if whole { State::Whole } else { State::Damaged("does not have the content of its name") };
        let mut lies = self.lies;
        lies.extend(self.frames.into_iter().map(|(place, pieces)| (place, pieces.into_iter().collect())));
        Found { bytes, state, lies }
    }
}

/// Gives the chunks that are not in a frame; `None` if all is as it should be.
fn lies(place: &Place, pieces: &[Piece], stored: &[u8]) -> Option<Vec<Piece>> {
    let Place { offset, size, raw } = *place;
    let Ok(raw) = open_frame(&Frame { pack: 0, offset, size, raw }, stored) else { return Some(pieces.to_vec()) };
    let holds = |piece: &&Piece| {
        let content = raw.get(piece.offset as usize..piece.offset as usize + piece.length as usize);
        content.is_none_or(|content| Digest::of_chunk(content) != piece.digest)
    };
    let lies: Vec<_> = pieces.iter().filter(holds).copied().collect();
    (!lies.is_empty()).then_some(lies)
}
