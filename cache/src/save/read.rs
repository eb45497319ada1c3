//! Reading files, on threads that may block: a batch of paths becomes segments of content that is cut and hashed.

use std::{
    io::{self, ErrorKind},
    ops::Range,
    os::fd::OwnedFd,
    sync::Arc,
};

use rustix::{
    buffer::spare_capacity,
    fs::{Mode, OFlags, SeekFrom, openat, readlinkat, seek},
    io::{Errno, pread, retry_on_intr},
};

use super::{
    buffers::Buffers,
    plan::{SEGMENT, Task},
};
use crate::{
    chunk,
    confined::{Kind, Meta, Root, meta_at, split},
    deadline::Deadline,
    digest::Digest,
    error::Error,
    manifest::Hole,
    options::Progress,
    select::Entry,
};

/// A hole shorter than this is read as the zeros it is.
const MIN_HOLE: u64 = 64 << 10;

/// What was read of one or more paths, in order.
#[derive(Debug, Default)]
pub(super) struct Segment {
    pub(super) content: Vec<u8>,
    pub(super) items: Vec<Item>,
}

#[derive(Debug)]
pub(super) enum Item {
    /// The next chunk of the file that is being read; a range of the segment's content.
    Chunk { range: Range<usize>, digest: Digest },
    /// It changed while it was read and begins again: the chunks so far are void.
    Again,
    /// All of the entry at this place has been read, or it is left out.
    End { at: usize, found: Result<Found, String> },
}

/// What is at a path, with the metadata that its content had.
#[derive(Debug)]
pub(super) enum Found {
    File { meta: Meta, holes: Vec<Hole> },
    Symlink { meta: Meta, target: Vec<u8> },
}

/// What all readers share.
pub(super) struct Shared {
    pub(super) root: Arc<Root>,
    pub(super) entries: Arc<Vec<Entry>>,
    pub(super) tasks: Arc<Vec<Task>>,
    pub(super) deadline: Deadline,
    pub(super) progress: Progress,
    pub(super) buffers: Arc<Buffers>,
}

/// Why reading ends early.
enum Stop {
    /// Nobody takes segments any more: the save has failed elsewhere.
    Closed,
    Deadline(Error),
}

/// Reads the entries of a batch that are to be read; `send` takes the segments and says whether to go on.
pub(super) fn read_batch(
    shared: &Shared,
    batch: Range<usize>,
    send: impl FnMut(Segment) -> Result<(), ()>,
) -> Result<(), Error> {
    let mut reader = Reader { shared, segment: Segment::default(), parent: None, send };
    for at in batch.filter(|at| shared.tasks[*at] == Task::Read) {
        match reader.entry(at) {
            Ok(()) => {}
            Err(Stop::Closed) => return Ok(()),
            Err(Stop::Deadline(error)) => return Err(error),
        }
    }
    let _ = reader.flush();
    Ok(())
}

struct Reader<'a, Send> {
    shared: &'a Shared,
    segment: Segment,
    /// The directory that was used last, by its path.
    parent: Option<(&'a [u8], OwnedFd)>,
    send: Send,
}

/// Why a file is not read.
enum Trouble {
    Skip(String),
    Stop(Stop),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Skip(match error.kind() {
            ErrorKind::NotFound => "vanished while the cache was saved".into(),
            _ => format!("cannot be read and is left out: {error}"),
        })
    }
}

impl From<Errno> for Trouble {
    fn from(error: Errno) -> Self {
        io::Error::from(error).into()
    }
}

impl<'a, Send: FnMut(Segment) -> Result<(), ()>> Reader<'a, Send> {
    fn entry(&mut self, at: usize) -> Result<(), Stop> {
        let entry = &self.shared.entries[at];
        let found = match entry.meta.kind {
            Kind::Symlink => self.symlink(entry),
            _ => self.file(entry),
        };
        let found = match found {
            Err(Trouble::Stop(stop)) => return Err(stop),
            Err(Trouble::Skip(reason)) => Err(reason),
            Ok(found) => Ok(found),
        };
        self.segment.items.push(Item::End { at, found });
        if self.segment.content.len() >= SEGMENT { self.flush() } else { Ok(()) }
    }

    fn symlink(&mut self, entry: &'a Entry) -> Result<Found, Trouble> {
        let (parent, name) = self.parent(&entry.path)?;
        let target = readlinkat(parent, name, Vec::new())?;
        Ok(Found::Symlink { meta: entry.meta, target: target.into_bytes() })
    }

    /// Reads a file that stays as it was selected, or else the same while it is read; one that changes gets a second
    /// chance.
    fn file(&mut self, entry: &'a Entry) -> Result<Found, Trouble> {
        for before in [Some(entry.meta), None, None] {
            match self.try_file(&entry.path, before) {
                Ok(Some(found)) => return Ok(found),
                Err(trouble @ Trouble::Skip(_)) if before.is_none() => return Err(trouble),
                Err(Trouble::Stop(stop)) => return Err(Trouble::Stop(stop)),
                Ok(None) | Err(Trouble::Skip(_)) => self.segment.items.push(Item::Again),
            }
        }
        Err(Trouble::Skip("keeps changing while it is read and is left out".into()))
    }

    /// Reads a file that looks like `before`, by default as it looks now, and still does so afterwards.
    fn try_file(&mut self, path: &'a [u8], before: Option<Meta>) -> Result<Option<Found>, Trouble> {
        let file = self.open(path)?;
        let before = before.map_or_else(|| meta_at(&file, b""), Ok)?;
        if before.kind != Kind::File {
            return Err(Trouble::Skip("is no longer a file and is left out".into()));
        }
        let (mut at, holes) = (0, holes(&file, before.size)?);
        for hole in &holes {
            if !self.extent(&file, at..hole.start, before.size)? {
                return Ok(None);
            }
            at = hole.start + hole.length;
        }
        let whole = self.extent(&file, at..before.size, before.size)?;
        let after = meta_at(&file, b"")?;
        Ok((whole && after == before).then_some(Found::File { meta: before, holes }))
    }

    /// Opens a file, whatever has taken its place meanwhile: neither a link nor a pipe leads or holds us anywhere.
    fn open(&mut self, path: &'a [u8]) -> io::Result<OwnedFd> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(openat(parent, name, flags, Mode::empty())?)
    }

    /// Opens the directory of a path, if it is not the one that was used last.
    fn parent(&mut self, path: &'a [u8]) -> io::Result<(&OwnedFd, &'a [u8])> {
        let (parent, name) = split(path);
        let kept = self.parent.take().filter(|(kept, _)| *kept == parent);
        let kept = match kept {
            Some(kept) => kept,
            None => (parent, self.shared.root.directory(parent)?),
        };
        Ok((&self.parent.insert(kept).1, name))
    }

    /// Reads, cuts and hashes a part of a file of this size; `false` if it ends too early.
    fn extent(&mut self, file: &OwnedFd, range: Range<u64>, size: u64) -> Result<bool, Trouble> {
        let mut at = range.start;
        // Where the content begins that is read and not yet cut.
        let mut start = self.segment.content.len();
        while at < range.end {
            self.shared.deadline.check("save the cache").map_err(|error| Trouble::Stop(Stop::Deadline(error)))?;
            let wanted = usize::try_from((range.end - at).min(SEGMENT as u64)).unwrap_or(0);
            let read = self.read(file, at, wanted, range.end == size);
            if !matches!(read, Ok(true)) {
                self.segment.content.truncate(start);
                return Ok(read?);
            }
            at += wanted as u64;
            self.shared.progress.add(wanted as u64);
            start = self.cut(start, at == range.end);
            if self.segment.content.len() >= SEGMENT {
                start = self.hand_over(start).map_err(Trouble::Stop)?;
            }
        }
        Ok(true)
    }

    /// Reads behind what is there; `false` if the file ends too early. Memory need not be cleared for a part that ends
    /// with the file: then hardly more can be read than is wanted.
    fn read(&mut self, file: &OwnedFd, mut at: u64, wanted: usize, last: bool) -> io::Result<bool> {
        let content = &mut self.segment.content;
        if content.capacity() == 0 {
            *content = self.shared.buffers.segment();
        }
        let end = content.len() + wanted;
        while content.len() < end {
            let start = content.len();
            let read = if last {
                retry_on_intr(|| pread(file, spare_capacity(content), at))
            } else {
                content.resize(end, 0);
                let read = retry_on_intr(|| pread(file, &mut content[start..], at));
                content.truncate(start + read.unwrap_or(0));
                read
            };
            match read? {
                0 => return Ok(false),
                read => at += read as u64,
            }
        }
        content.truncate(end);
        Ok(true)
    }

    /// Cuts what has been read from `start`; gives where the rest begins.
    fn cut(&mut self, start: usize, last: bool) -> usize {
        let Segment { content, items } = &mut self.segment;
        let mut end = start;
        for range in chunk::cut(&content[start..], last) {
            let range = start + range.start..start + range.end;
            end = range.end;
            items.push(Item::Chunk { digest: Digest::of_chunk(&content[range.clone()]), range });
        }
        end
    }

    /// Hands over what is cut and keeps the rest, in front of the next segment.
    fn hand_over(&mut self, start: usize) -> Result<usize, Stop> {
        let mut next = self.shared.buffers.segment();
        next.extend_from_slice(&self.segment.content[start..]);
        self.segment.content.truncate(start);
        self.flush()?;
        self.segment.content = next;
        Ok(0)
    }

    fn flush(&mut self) -> Result<(), Stop> {
        let segment = std::mem::take(&mut self.segment);
        if segment.items.is_empty() {
            return Ok(());
        }
        (self.send)(segment).map_err(|()| Stop::Closed)
    }
}

/// Finds the holes that are worth it: zeros without a place on the disk.
fn holes(file: &OwnedFd, size: u64) -> io::Result<Vec<Hole>> {
    let (mut holes, mut at) = (Vec::new(), 0);
    while at < size && size >= MIN_HOLE {
        let start = match seek(file, SeekFrom::Hole(at)) {
            Ok(start) if start < size => start,
            // A file system that knows no holes has none.
            Ok(_) | Err(_) => break,
        };
        at = match seek(file, SeekFrom::Data(start)) {
            Ok(data) => data.min(size),
            Err(Errno::NXIO) => size,
            Err(error) => return Err(error.into()),
        };
        if at - start >= MIN_HOLE {
            holes.push(Hole { start, length: at - start });
        }
    }
    Ok(holes)
}
