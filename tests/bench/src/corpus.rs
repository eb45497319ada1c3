//! The trees that are saved and restored, each in two versions.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

/// The names of the corpora.
pub(crate) const ALL: [&str; 2] = ["pip", "cargo"];

/// Files and bytes of a tree.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Size {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// A tree in two versions and what lies between them.
#[derive(Debug)]
pub(crate) struct Corpus {
    pub(crate) first: Tree,
    pub(crate) second: Tree,
    /// Files of the first version that the second has not, or has with other content.
    gone: Vec<PathBuf>,
    /// Files that the second version has new, or with other content.
    new: Vec<PathBuf>,
}

/// One version: its files by path.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) path: PathBuf,
    files: BTreeMap<PathBuf, u64>,
}

impl Corpus {
    /// Reads both versions of `name` below `directory`, which also makes their data lie in memory.
    pub(crate) fn read(directory: &Path, name: &str) -> Result<Self> {
        let first = Tree::read(directory.join(format!("{name}-1")))?;
        let second = Tree::read(directory.join(format!("{name}-2")))?;
        let mut same = Vec::new();
        for path in first.files.keys().filter(|path| second.files.contains_key(*path)) {
            if equal(&first.path.join(path), &second.path.join(path))? {
                same.push(path.clone());
            }
        }
        let not_in_both =
            |tree: &Tree| tree.files.keys().filter(|path| same.binary_search(path).is_err()).cloned().collect();
        let (gone, new) = (not_in_both(&first), not_in_both(&second));
        Ok(Self { first, second, gone, new })
    }

    /// Gives what the second version has new.
    pub(crate) fn changes(&self) -> Size {
        let bytes = self.new.iter().filter_map(|path| self.second.files.get(path)).sum();
        Size { files: self.new.len() as u64, bytes }
    }

    /// Turns the first version at `tree` into the second, as an installer does: what stays the same is not touched.
    pub(crate) fn upgrade(&self, tree: &Path) -> Result<()> {
        for path in &self.gone {
            let path = tree.join(path);
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
            // Refused where something is left.
            path.ancestors().skip(1).find(|parent| *parent == tree || fs::remove_dir(parent).is_err());
        }
        for path in &self.new {
            let (from, to) = (self.second.path.join(path), tree.join(path));
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
            }
            fs::copy(&from, &to).with_context(|| format!("copy {}", from.display()))?;
        }
        Ok(())
    }
}

impl Tree {
    pub(crate) fn read(path: PathBuf) -> Result<Self> {
        let mut files = BTreeMap::new();
        for entry in WalkDir::new(&path) {
            let entry = entry.with_context(|| format!("read {}", path.display()))?;
            if !entry.file_type().is_dir() {
                files.insert(entry.path().strip_prefix(&path)?.to_owned(), entry.metadata()?.len());
            }
        }
        ensure!(!files.is_empty(), "{} has no files", path.display());
        Ok(Self { path, files })
    }

    pub(crate) fn size(&self) -> Size {
        Size { files: self.files.len() as u64, bytes: self.files.values().sum() }
    }

    /// Fails unless `tree` has the same files with the same content and mode, and no others.
    pub(crate) fn check(&self, tree: &Path) -> Result<()> {
        let found = Self::read(tree.to_owned())?;
        ensure!(found.files == self.files, "{} has other files than {}", tree.display(), self.path.display());
        for path in self.files.keys() {
            let (expected, found) = (self.path.join(path), tree.join(path));
            ensure!(equal(&expected, &found)?, "{} differs from {}", found.display(), expected.display());
        }
        Ok(())
    }
}

/// Whether two files, or symbolic links, have the same mode and content.
fn equal(one: &Path, other: &Path) -> Result<bool> {
    let read = |path: &Path| -> Result<_> {
        let meta = fs::symlink_metadata(path)?;
        let content = if meta.is_symlink() {
            fs::read_link(path)?.into_os_string().into_encoded_bytes()
        } else {
            fs::read(path)?
        };
        Ok((meta.permissions().mode(), content))
    };
    let compare = || -> Result<bool> { Ok(read(one)? == read(other)?) };
    compare().with_context(|| format!("compare {} with {}", one.display(), other.display()))
}
