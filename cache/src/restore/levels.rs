//! The directories of a tree, in an order in which they can be made by many threads: pure.

use std::collections::HashSet;

use crate::{
    confined::split,
    error::Error,
    manifest::{Manifest, Node},
};

/// A directory that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Directory<'a> {
    pub(super) path: &'a [u8],
    /// Its place in the manifest; none if only paths below it are there.
    pub(super) record: Option<usize>,
}

/// Gives all directories by their depth: each has its parent in the level before.
///
/// Fails if more than `limit` of them are not themselves in the manifest.
pub(super) fn levels(manifest: &Manifest, limit: u64) -> Result<Vec<Vec<Directory<'_>>>, Error> {
    let (mut levels, mut implied, mut parent) = (Vec::new(), HashSet::new(), &b""[..]);
    for at in 0..manifest.len() {
        let path = manifest.path(at);
        // Most paths are neighbours of the one before.
        if split(path).0 != parent {
            parent = split(path).0;
            imply(manifest, parent, &mut implied, &mut levels);
        }
        if implied.len() as u64 > limit {
            return Err(Error::Limit { what: format!("{} directories that lead to files", implied.len()), limit });
        }
        if manifest.record(at).node == Node::Directory {
            add(&mut levels, Directory { path, record: Some(at) });
        }
    }
    Ok(levels)
}

/// Adds a directory and those that lead to it, up to one that is known: whatever leads to that is known as well.
fn imply<'a>(
    manifest: &Manifest,
    mut path: &'a [u8],
    implied: &mut HashSet<&'a [u8]>,
    levels: &mut Vec<Vec<Directory<'a>>>,
) {
    while !path.is_empty() && manifest.find(path).is_none() && implied.insert(path) {
        add(levels, Directory { path, record: None });
        path = split(path).0;
    }
}

fn add<'a>(levels: &mut Vec<Vec<Directory<'a>>>, directory: Directory<'a>) {
    let depth = directory.path.split(|byte| *byte == b'/').count() - 1;
    if levels.len() <= depth {
        levels.resize_with(depth + 1, Vec::new);
    }
    levels[depth].push(directory);
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::manifest::Record;

    fn manifest(paths: &[(&'static str, Node<'static>)]) -> Manifest {
        let mut manifest = Manifest::default();
        for (path, node) in paths {
            let (path, node, attributes) = (path.as_bytes(), node.clone(), Vec::new());
            manifest.push(&Record { path, mode: 0, uid: 0, gid: 0, mtime: (0, 0), attributes, node });
        }
        manifest
    }

    fn link() -> Node<'static> {
        Node::Symlink { target: b"t" }
    }

    #[test]
    fn every_directory_comes_after_its_parent() {
        let manifest = manifest(&[
            ("a", Node::Directory),
            ("a/b/c", Node::Directory),
            ("a/b/c/x", link()),
            ("a/y", link()),
            ("d/e/z", link()),
            ("d/e2", Node::Directory),
        ]);
        let directory = |path: &'static str, record| Directory { path: path.as_bytes(), record };
        let expected = [
            vec![directory("a", Some(0)), directory("d", None)],
            vec![directory("a/b", None), directory("d/e", None), directory("d/e2", Some(5))],
            vec![directory("a/b/c", Some(1))],
        ];
        assert_eq!(levels(&manifest, 3).unwrap(), expected);
        assert!(levels(&manifest, 2).is_err());
    }
}
