//! Walking trees.

use super::{Kind, Stat, Workspace, explain, list};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};

impl Workspace {
    /// Calls `visit` for the path and everything below it: parents first, siblings sorted, symlinks not followed.
    /// What vanishes meanwhile is left out; nothing at the path is no error. What cannot be reached (a job nests deeper
    /// than the kernel takes paths) keeps nothing else from being visited; the first such failure is told at the end.
    pub fn walk(&self, path: &Path, visit: &mut dyn FnMut(&Path, &Stat)) -> io::Result<()> {
        let (mut ahead, mut failure) = (vec![path.to_owned()], Ok(()));
        while let Some(path) = ahead.pop() {
            match self.step(&path, visit) {
                Ok(children) => ahead.extend(children),
                Err(error) => failure = failure.and(Err(error)),
            }
        }
        failure
    }

    /// Visits one path and gives those below it.
    fn step(&self, path: &Path, visit: &mut dyn FnMut(&Path, &Stat)) -> io::Result<Vec<PathBuf>> {
        let Some(stat) = self.stat(path)? else { return Ok(Vec::new()) };
        visit(path, &stat);
        if stat.kind == Kind::Directory { self.children(path) } else { Ok(Vec::new()) }
    }

    /// The paths in a directory, the first in order last; none when it is no directory any more.
    fn children(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        match self.directory(path, OFlags::NOFOLLOW).and_then(|directory| list(&directory)) {
            Ok(names) => Ok(names.iter().rev().map(|name| path.join(name)).collect()),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(Vec::new()),
            Err(error) => Err(explain("read the directory", path, error)),
        }
    }
}
