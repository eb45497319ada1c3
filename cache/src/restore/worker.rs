//! One of the threads that decompress, verify and write.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{Mutex, PoisonError, mpsc::Receiver},
};

use rustix::fs::{Mode, OFlags, ftruncate, openat};

use super::{
    fetch::Fetched,
    plan::{Piece, Plan, Wanted},
    write::{Writer, failed},
};
use crate::{
    confined::Handles,
    digest::Digest,
    error::Error,
    manifest::{Frame, Manifest, Node, Record},
};

/// What one thread keeps from one frame to the next.
pub(super) struct Worker<'a> {
    writer: &'a Writer,
    plan: &'a Plan,
    handles: Handles<'a>,
    decompressor: zstd::bulk::Decompressor<'static>,
    /// The open frame.
    content: Vec<u8>,
    /// Which chunks of the open frame have been verified: by place and length.
    verified: HashMap<(u32, u32), Digest>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(writer: &'a Writer, plan: &'a Plan) -> Result<Self, Error> {
        let decompressor = zstd::bulk::Decompressor::new();
        let decompressor = decompressor.map_err(|error| Error::file("start to", "decompress", error))?;
        let handles = Handles::new(writer.tree());
        Ok(Self { writer, plan, handles, decompressor, content: Vec::new(), verified: HashMap::new() })
    }

    /// Works until nothing more comes or any worker has failed.
    pub(super) fn work(mut self, queue: &Mutex<Receiver<Fetched>>) -> Result<(), Error> {
        loop {
            // Whoever waits holds the lock; the others wait for it.
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(fetched) = next else { return Ok(()) };
            if self.writer.is_stopped() {
                return Ok(());
            }
            self.write_run(&fetched).inspect_err(|_| self.writer.stop())?;
        }
    }

    fn write_run(&mut self, fetched: &Fetched) -> Result<(), Error> {
        let (manifest, plan) = (self.writer.manifest(), self.plan);
        let run = &plan.runs[fetched.run];
        for wanted in &run.frames {
            let frame = &manifest.frames[wanted.frame as usize];
            let start = (frame.offset - run.start) as usize;
            self.open(frame, &fetched.bytes[start..start + frame.size as usize])
                .map_err(|reason| Error::damaged(&fetched.object, reason))?;
            self.write_frame(wanted, &fetched.object)?;
        }
        Ok(())
    }

    /// Decompresses a frame.
    fn open(&mut self, frame: &Frame, stored: &[u8]) -> Result<(), String> {
        self.verified.clear();
        self.content.clear();
        self.content.reserve_exact(frame.raw as usize);
        let opened = self.decompressor.decompress_to_buffer(stored, &mut self.content);
        opened.map_err(|error| format!("a frame cannot be decompressed: {error}"))?;
        if self.content.len() == frame.raw as usize {
            Ok(())
        } else {
            Err(format!("a frame has {} bytes instead of {}", self.content.len(), frame.raw))
        }
    }

    /// Writes all pieces of the open frame, those of one file at once.
    fn write_frame(&mut self, wanted: &Wanted, object: &str) -> Result<(), Error> {
        let pieces = &self.plan.pieces[wanted.pieces.clone()];
        for group in pieces.chunk_by(|one, other| one.record == other.record) {
            self.writer.check_time()?;
            self.verify(group).map_err(|reason| Error::damaged(object, reason))?;
            let record = self.writer.manifest().record(group[0].record as usize);
            self.write_group(&record, group).map_err(|error| failed("write", &record, error))?;
        }
        Ok(())
    }

    /// Compares chunks with their digests, each once in a frame however often it occurs.
    fn verify(&mut self, pieces: &[Piece]) -> Result<(), &'static str> {
        for piece in pieces {
            let chunk = &self.writer.manifest().chunks[piece.chunk as usize];
            let known = self
                .verified
                .entry((chunk.offset, chunk.length))
                .or_insert_with(|| Digest::of_chunk(&self.content[chunk.offset as usize..][..chunk.length as usize]));
            if *known != chunk.digest {
                return Err("a chunk does not have the content of its digest");
            }
        }
        Ok(())
    }

    /// Writes the pieces of one file; whoever writes its last ones finishes it.
    fn write_group(&mut self, record: &Record<'_>, pieces: &[Piece]) -> io::Result<()> {
        let Node::File { size, chunks, .. } = &record.node else { return Ok(()) };
        let whole = pieces.len() == chunks.len();
        let (parent, name) = self.handles.parent(record.path)?;
        // A file that others open as well gets its mode in the end: it may forbid just that.
        let (mode, new) = if whole { (self.writer.mode(record), OFlags::EXCL) } else { (0o600, OFlags::empty()) };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | new;
        let file: File = openat(parent, name, flags, Mode::from_raw_mode(mode & 0o777))?.into();
        let end = write_pieces(self.writer.manifest(), &self.content, &file, pieces)?;
        self.writer.count(pieces.iter().map(|piece| self.length(piece)).sum());
        if !self.writer.is_last(pieces[0].record, pieces.len()) {
            return Ok(());
        }
        if !whole || end < *size {
            ftruncate(&file, *size)?;
        }
        self.writer.finish_file(pieces[0].record as usize, &file, record, mode & 0o777)
    }

    fn length(&self, piece: &Piece) -> u64 {
        self.writer.manifest().chunks[piece.chunk as usize].length.into()
    }
}

/// Writes pieces, what lies together in frame and file in one go; gives where the last ended. Chunks of zeros are
/// left as holes.
fn write_pieces(manifest: &Manifest, content: &[u8], file: &File, pieces: &[Piece]) -> io::Result<u64> {
    let span = |piece: &Piece| {
        let chunk = &manifest.chunks[piece.chunk as usize];
        chunk.offset as usize..(chunk.offset + chunk.length) as usize
    };
    let filled: Vec<_> = pieces.iter().filter(|piece| content[span(piece)].iter().any(|byte| *byte != 0)).collect();
    let joined = |one: &&Piece, next: &&Piece| {
        let (first, second) = (span(one), span(next));
        first.end == second.start && one.at + first.len() as u64 == next.at
    };
    let mut end = 0;
    for part in filled.chunk_by(joined) {
        let (first, last) = (part[0], part[part.len() - 1]);
        let bytes = &content[span(first).start..span(last).end];
        file.write_all_at(bytes, first.at)?;
        end = first.at + bytes.len() as u64;
    }
    Ok(end)
}
