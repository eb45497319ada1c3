//! What to do with each path, decided before anything is read: pure.

use std::{collections::HashMap, ops::Range};

use crate::{
    confined::{Kind, Meta},
    manifest::{Chunk, Manifest, Node},
    select::Entry,
    stat_record::StatRecord,
};

/// About as much is read at a time.
pub(super) const SEGMENT: usize = 1 << 20;
/// So many paths at most are read at a time.
const MAX_BATCH: usize = 1024;

/// A manifest whose objects are known to be complete, with what its files looked like.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) record: StatRecord,
    pub(super) manifest: Manifest,
}

/// What to do with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// A directory or a device: there is nothing in it to read.
    Nothing,
    Read,
    /// The file has the content that the base has at this place.
    Known(usize),
    /// The file has another name, at this place of the entries.
    Link(usize),
}

/// Gives a task for each entry. Content in packs of the base that are not `usable` is read, to be sent again.
pub(super) fn tasks(entries: &[Entry], base: Option<&Base>, usable: &[bool]) -> Vec<Task> {
    let (mut names, mut row) = (HashMap::new(), 0);
    let task = |(at, entry): (usize, &Entry)| match entry.meta.kind {
        Kind::Directory | Kind::Special => Task::Nothing,
        Kind::File => match (first_name(&mut names, at, &entry.meta), base) {
            (Some(first), _) => Task::Link(first),
            (None, Some(base)) if base.has_unchanged(entry, &mut row, usable) => Task::Known(row),
            (None, _) => Task::Read,
        },
        Kind::Symlink => Task::Read,
    };
    entries.iter().enumerate().map(task).collect()
}

/// Gives the place of an earlier name of the same file.
fn first_name(names: &mut HashMap<((u32, u32), u64), usize>, at: usize, meta: &Meta) -> Option<usize> {
    if meta.links < 2 {
        return None;
    }
    let first = *names.entry((meta.device, meta.inode)).or_insert(at);
    (first != at).then_some(first)
}

impl Base {
    /// Whether a file need not be read. `row` moves on to its place, or to the one after it: both are sorted.
    fn has_unchanged(&self, entry: &Entry, row: &mut usize, usable: &[bool]) -> bool {
        while *row < self.manifest.len() && self.manifest.path(*row) < entry.path.as_slice() {
            *row += 1;
        }
        if *row == self.manifest.len() || self.manifest.path(*row) != entry.path {
            return false;
        }
        let Some(chunks) = self.manifest.file_chunks(*row) else { return false };
        let usable = |chunk: &Chunk| usable[self.manifest.frames[chunk.frame as usize].pack as usize];
        self.record.is_unchanged(*row, &entry.meta) && chunks.iter().all(usable)
    }
}

/// Gives what is at a path that has nothing to read.
pub(super) fn empty(kind: Kind) -> Node<'static> {
    if kind == Kind::Special { Node::Device { major: 0, minor: 0 } } else { Node::Directory }
}

/// Whether a manifest says just this of the entries, which have these tasks. No, if anything is to be read.
pub(super) fn is_same(entries: &[Entry], tasks: &[Task], manifest: &Manifest) -> bool {
    let is_same = |(at, (entry, task)): (usize, (&Entry, &Task))| {
        let record = manifest.record(at);
        let Meta { mode, uid, gid, mtime, .. } = entry.meta;
        let looks_same = (mode, uid, gid, mtime) == (record.mode, record.uid, record.gid, record.mtime);
        let has_same = match task {
            Task::Nothing => record.node == empty(entry.meta.kind),
            Task::Known(row) => *row == at,
            Task::Link(first) => record.node == Node::Link { to: &entries[*first].path },
            Task::Read => false,
        };
        looks_same && has_same && record.path == entry.path && record.attributes.is_empty()
    };
    entries.len() == manifest.len() && entries.iter().zip(tasks).enumerate().all(is_same)
}

/// Divides the entries into runs of about [`SEGMENT`] bytes to read; entries before, between and after them have
/// nothing to be read.
pub(super) fn batches(entries: &[Entry], tasks: &[Task]) -> Vec<Range<usize>> {
    let (mut batches, mut current, mut bytes): (Vec<_>, Option<Range<usize>>, u64) = (Vec::new(), None, 0);
    for (at, _) in tasks.iter().enumerate().filter(|(_, task)| **task == Task::Read) {
        let batch = current.get_or_insert(at..at);
        batch.end = at + 1;
        bytes += entries[at].meta.file_size();
        if bytes >= SEGMENT as u64 || batch.len() >= MAX_BATCH {
            batches.extend(current.take());
            bytes = 0;
        }
    }
    batches.extend(current);
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, inode: u64, links: u32, size: u64) -> Entry {
        let meta = Meta {
            kind: Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size,
            mtime: (0, 0),
            ctime: (0, 0),
            device: (0, 0),
            inode,
            links,
        };
        Entry { path: path.into(), meta }
    }

    #[test]
    fn the_second_name_of_a_file_is_a_link_to_the_first() {
        let entries = [file("a", 1, 2, 5), file("b", 2, 1, 5), file("c", 1, 2, 5), file("d", 2, 1, 5)];
        assert_eq!(tasks(&entries, None, &[]), [Task::Read, Task::Read, Task::Link(0), Task::Read]);
    }

    #[test]
    fn batches_cover_what_is_to_be_read_and_are_bounded() {
        let entries: Vec<_> = [SEGMENT, 1, SEGMENT / 2, SEGMENT, 5].map(|size| file("x", 0, 1, size as u64)).into();
        let tasks = [Task::Read, Task::Nothing, Task::Read, Task::Read, Task::Read];
        assert_eq!(batches(&entries, &tasks), [0..1, 2..4, 4..5]);
        let (many, tasks) = (vec![file("x", 0, 1, 1); 3000], vec![Task::Read; 3000]);
        assert_eq!(batches(&many, &tasks), [0..1024, 1024..2048, 2048..3000]);
        assert!(batches(&many, &vec![Task::Nothing; 3000]).is_empty());
    }
}
