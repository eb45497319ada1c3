//! Real git repositories.

use std::path::{Path, PathBuf};

/// A bare repository of the server. Operations panic with git's message when they fail: they are a test's set-up.
#[derive(Clone, Debug)]
pub struct Repository {
    bare: PathBuf,
}

#[expect(clippy::unused_self, reason = "skeleton")]
impl Repository {
    /// The bare repository's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.bare
    }
    /// Writes files (path, content) into the work tree, commits them on the current branch, and gives the commit's id.
    pub fn commit(&self, _files: &[(&str, &str)], _message: &str) -> String {
        unimplemented!()
    }
    /// Commits a copy of a directory, without its `.git`; modes and symlinks are kept.
    pub fn commit_directory(&self, _directory: &Path, _message: &str) -> String {
        unimplemented!()
    }
    /// Makes a branch at the current commit and switches to it, or switches to it when it exists.
    pub fn branch(&self, _name: &str) {}
    /// Tags the current commit.
    pub fn tag(&self, _name: &str) {}
    /// Adds another repository's head as submodule at `path`, by a relative URL, and commits.
    pub fn add_submodule(&self, _path: &str, _other: &Self) -> String {
        unimplemented!()
    }
    /// The commit of a ref.
    #[must_use]
    pub fn sha(&self, _reference: &str) -> String {
        unimplemented!()
    }
    /// Runs any git command on the repository and gives its output, trimmed.
    pub fn git(&self, _arguments: &[&str]) -> String {
        unimplemented!()
    }
}
