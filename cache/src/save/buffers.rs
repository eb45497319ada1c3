//! Memory that is used again and again: the system clears every fresh page before it gives it away.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::BytesMut;

use super::plan::SEGMENT;
use crate::pack::{self, Compressor, FULL_FRAME, FULL_PACK, MAX_FRAME};

/// A segment is handed over once it has [`SEGMENT`] bytes, and gets as many at a time.
const SEGMENT_ROOM: usize = 2 * SEGMENT;

/// What the parts of a save hand to each other comes from here and goes back.
#[derive(Default)]
pub(super) struct Buffers {
    frames: Pool<Vec<u8>>,
    segments: Pool<Vec<u8>>,
    packs: Pool<BytesMut>,
    compressors: Pool<Compressor>,
}

impl Buffers {
    /// Gives an empty buffer with room for a frame, raw or compressed.
    pub(super) fn frame(&self) -> Vec<u8> {
        self.frames.take().unwrap_or_else(|| Vec::with_capacity(pack::bound(FULL_FRAME)))
    }

    /// Takes a buffer that [`Self::frame`] gave.
    pub(super) fn give_frame(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.frames.give(buffer);
    }

    /// Gives an empty buffer with room for a segment.
    pub(super) fn segment(&self) -> Vec<u8> {
        self.segments.take().unwrap_or_else(|| Vec::with_capacity(SEGMENT_ROOM))
    }

    /// Takes a buffer that [`Self::segment`] gave, or an empty one.
    pub(super) fn give_segment(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() > 0 {
            buffer.clear();
            self.segments.give(buffer);
        }
    }

    /// Gives an empty buffer with room for a pack.
    pub(super) fn pack(&self) -> BytesMut {
        self.packs.take().unwrap_or_else(|| BytesMut::with_capacity(FULL_PACK + MAX_FRAME as usize))
    }

    /// Takes a buffer that [`Self::pack`] gave.
    pub(super) fn give_pack(&self, mut buffer: BytesMut) {
        buffer.clear();
        self.packs.give(buffer);
    }

    /// Compresses a frame into a buffer of [`Self::frame`].
    pub(super) fn compress(&self, raw: &[u8]) -> io::Result<Vec<u8>> {
        let mut compressor = self.compressors.take().map_or_else(Compressor::new, Ok)?;
        let mut buffer = self.frame();
        compressor.compress(raw, &mut buffer)?;
        self.compressors.give(compressor);
        Ok(buffer)
    }
}

struct Pool<T>(Mutex<Vec<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Pool<T> {
    fn take(&self) -> Option<T> {
        self.items().pop()
    }

    fn give(&self, item: T) {
        self.items().push(item);
    }

    fn items(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
