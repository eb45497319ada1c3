//! What a cache consists of: every path with its metadata, and where its content lies.
//!
//! A manifest is stored as one zstd stream of records, each after its length (`u32`, little endian): first the
//! header, then the [`Record`]s sorted by the bytes of their paths. Records are encoded by postcard. In memory a
//! manifest is a few flat tables, so that a million paths need no more than some 200 MB.

mod check;
mod codec;
mod load;
mod record;

pub(crate) use self::{
    check::{MAX_PATH, show},
    codec::MAX_STORED,
    record::{Chunk, Frame, Hole, MAX_ATTRIBUTES, Node, Pack, Record},
};

use std::{borrow::Cow, ops::Range};

/// No path in a manifest begins with this: the names of staging directories do.
pub(crate) const RESERVED: &[u8] = b".warmstart-restore-";

/// A cache's paths and where their content lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) packs: Vec<Pack>,
    pub(crate) frames: Vec<Frame>,
    /// The chunks of all files, in the order of their records.
    pub(crate) chunks: Vec<Chunk>,
    holes: Vec<Hole>,
    /// Sorted by path, each path once, directories before what is in them.
    rows: Vec<Row>,
    /// All paths, targets of links, names and values of attributes.
    text: Vec<u8>,
    attributes: Vec<(Span, Span)>,
}

/// A piece of [`Manifest::text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

/// A [`Record`] with references into the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    path: Span,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: (i64, u32),
    attributes: Range<u32>,
    content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Directory,
    File { size: u64, chunks: Range<u32>, holes: Range<u32> },
    Symlink { target: Span },
    Link { to: Span },
    Device { major: u32, minor: u32 },
}

/// How much a cache holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// All paths.
    pub(crate) entries: u64,
    /// Paths that are no directories.
    pub(crate) files: u64,
    /// Bytes of all files.
    pub(crate) bytes: u64,
}

impl Manifest {
    /// Gives the number of paths.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Gives the path at a place below [`Self::len`].
    pub(crate) fn record(&self, at: usize) -> Record<'_> {
        let row = &self.rows[at];
        let attributes = self.attributes[span(&row.attributes)].iter();
        Record {
            path: self.text(row.path),
            mode: row.mode,
            uid: row.uid,
            gid: row.gid,
            mtime: row.mtime,
            attributes: attributes.map(|(name, value)| (self.text(*name), self.text(*value))).collect(),
            node: self.node(&row.content),
        }
    }

    /// Gives all paths in order.
    pub(crate) fn records(&self) -> impl DoubleEndedIterator<Item = Record<'_>> + ExactSizeIterator + Clone {
        (0..self.rows.len()).map(|at| self.record(at))
    }

    /// Gives the path at a place, without the rest of its record.
    pub(crate) fn path(&self, at: usize) -> &[u8] {
        self.text(self.rows[at].path)
    }

    /// Gives the chunks of the file at a place; none if it is no file.
    pub(crate) fn file_chunks(&self, at: usize) -> Option<&[Chunk]> {
        match &self.rows[at].content {
            Content::File { chunks, .. } => Some(&self.chunks[span(chunks)]),
            _ => None,
        }
    }

    /// Gives the place of a path, if it is there.
    pub(crate) fn find(&self, path: &[u8]) -> Option<usize> {
        self.rows.binary_search_by(|row| self.text(row.path).cmp(path)).ok()
    }

    fn node(&self, content: &Content) -> Node<'_> {
        match content {
            Content::Directory => Node::Directory,
            Content::File { size, chunks, holes } => Node::File {
                size: *size,
                chunks: Cow::Borrowed(&self.chunks[span(chunks)]),
                holes: Cow::Borrowed(&self.holes[span(holes)]),
            },
            Content::Symlink { target } => Node::Symlink { target: self.text(*target) },
            Content::Link { to } => Node::Link { to: self.text(*to) },
            Content::Device { major, minor } => Node::Device { major: *major, minor: *minor },
        }
    }

    /// Adds a path; it has to come after those that are there.
    ///
    /// # Panics
    /// Beyond 4 GiB of paths, far above what any manifest may have.
    pub(crate) fn push(&mut self, record: &Record<'_>) {
        let path = self.keep(record.path);
        let content = self.keep_node(&record.node);
        let first = number(self.attributes.len());
        for (name, value) in &record.attributes {
            let attribute = (self.keep(name), self.keep(value));
            self.attributes.push(attribute);
        }
        let attributes = first..number(self.attributes.len());
        let Record { mode, uid, gid, mtime, .. } = *record;
        self.rows.push(Row { path, mode, uid, gid, mtime, attributes, content });
    }

    fn keep_node(&mut self, node: &Node<'_>) -> Content {
        match node {
            Node::Directory => Content::Directory,
            Node::File { size, chunks, holes } => Content::File {
                size: *size,
                chunks: append(&mut self.chunks, chunks),
                holes: append(&mut self.holes, holes),
            },
            Node::Symlink { target } => Content::Symlink { target: self.keep(target) },
            Node::Link { to } => Content::Link { to: self.keep(to) },
            Node::Device { major, minor } => Content::Device { major: *major, minor: *minor },
        }
    }

    fn keep(&mut self, text: &[u8]) -> Span {
        let start = number(self.text.len());
        self.text.extend_from_slice(text);
        Span { start, end: number(self.text.len()) }
    }

    fn text(&self, at: Span) -> &[u8] {
        &self.text[at.start as usize..at.end as usize]
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals { entries: self.rows.len() as u64, ..Totals::default() };
        for row in &self.rows {
            totals.files += u64::from(row.content != Content::Directory);
            if let Content::File { size, .. } = row.content {
                totals.bytes = totals.bytes.saturating_add(size);
            }
        }
        totals
    }
}

fn append<T: Copy>(table: &mut Vec<T>, items: &[T]) -> Range<u32> {
    let first = number(table.len());
    table.extend_from_slice(items);
    first..number(table.len())
}

fn span(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// Readers stop at 192 MiB and writers at the paths of a disk long before a table has so many entries.
fn number(length: usize) -> u32 {
    u32::try_from(length).expect("a manifest's tables stay below 4 GiB")
}
