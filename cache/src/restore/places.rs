//! Which paths of a manifest need what: pure.

use crate::manifest::{Manifest, Node};

/// Places in a manifest, by what is to be done there.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) directories: Vec<usize>,
    /// What is neither a directory nor another name of a file and has no content.
    pub(super) plain: Vec<usize>,
    /// Other names of files.
    pub(super) links: Vec<usize>,
}

impl Places {
    pub(super) fn of(manifest: &Manifest) -> Self {
        let mut places = Self::default();
        for (at, record) in manifest.records().enumerate() {
            match record.node {
                Node::Directory => places.directories.push(at),
                Node::Link { .. } => places.links.push(at),
                Node::File { chunks, .. } if !chunks.is_empty() => {}
                _ => places.plain.push(at),
            }
        }
        places
    }
}
