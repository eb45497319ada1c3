//! Putting a manifest together from what was known, what was read and where it lies: pure.

use std::borrow::Cow;

use super::{
    attributes::{Attribute, Attributes},
    frame::Read,
    pipeline::Sent,
    plan::{Task, empty},
    read::Found,
};
use crate::{
    confined::Meta,
    manifest::{Manifest, Node, Pack, Record, show},
    pack::drop_unused,
    select::Entry,
    stat_record::Stat,
};

/// All that a save is about, but for the manifest's own object and the ref.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) manifest: Manifest,
    /// For each path of the manifest what the file looked like.
    pub(super) stats: Vec<Option<Stat>>,
    /// What is left out, one line each.
    pub(super) warnings: Vec<String>,
    /// Packs that were in the store before.
    pub(super) reused: Vec<Pack>,
    /// Bytes of new packs.
    pub(super) sent: u64,
}

/// Gives the manifest of the entries. `base` has the content of those that were known; `attributes` are those of each
/// entry, or none at all.
pub(super) fn assemble(
    entries: &[Entry],
    tasks: &[Task],
    sent: &Sent<'_>,
    base: &Manifest,
    attributes: &[Attributes],
) -> Tree {
    let mut tree = Tree { sent: sent.bytes, ..Tree::default() };
    let mut read = sent.framer.read.iter();
    let mut taken = vec![false; entries.len()];
    for (at, (entry, task)) in entries.iter().zip(tasks).enumerate() {
        let node = match task {
            Task::Nothing => Ok((entry.meta, empty(entry.meta.kind))),
            Task::Known(row) => Ok((entry.meta, base.record(*row).node)),
            Task::Link(first) if taken[*first] => Ok((entry.meta, Node::Link { to: &entries[*first].path })),
            Task::Link(_) => Err("is another name of a file that is left out"),
            // Reading ends early only when the save fails.
            Task::Read => read.next().map_or(Err("was not read"), |read| {
                debug_assert_eq!(read.at, at);
                node(read, sent)
            }),
        };
        let attributes = attributes.get(at).map_or(Ok(&[][..]), |read| read.as_deref().map_err(String::as_str));
        let found = node.and_then(|(meta, node)| attributes.map(|attributes| (meta, node, attributes)));
        taken[at] = found.is_ok();
        tree.push(entry, found);
    }
    let known = base.packs.len();
    tree.manifest.packs = [base.packs.as_slice(), &sent.packs].concat();
    tree.manifest.frames = [base.frames.as_slice(), &sent.frames].concat();
    tree.reused = drop_unused(&mut tree.manifest, known);
    tree
}

fn node<'a>(read: &'a Read, sent: &'a Sent<'_>) -> Result<(Meta, Node<'a>), &'a str> {
    match &read.found {
        Err(reason) => Err(reason),
        Ok(Found::Symlink { meta, target }) => Ok((*meta, Node::Symlink { target })),
        Ok(Found::File { meta, holes }) => {
            let chunks = Cow::Borrowed(&sent.framer.chunks[read.chunks.clone()]);
            Ok((*meta, Node::File { size: meta.size, chunks, holes: holes.into() }))
        }
    }
}

impl Tree {
    fn push(&mut self, entry: &Entry, found: Result<(Meta, Node<'_>, &[Attribute]), &str>) {
        match found {
            Err(reason) => self.warnings.push(format!("{}: {reason}", show(&entry.path))),
            Ok((meta, node, attributes)) => {
                self.stats.push(matches!(node, Node::File { .. }).then(|| Stat::of(&meta)).flatten());
                let Meta { mode, uid, gid, mtime, .. } = meta;
                let attributes = attributes.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
                let path = entry.path.as_slice();
                self.manifest.push(&Record { path, mode, uid, gid, mtime, attributes, node });
            }
        }
    }
}
