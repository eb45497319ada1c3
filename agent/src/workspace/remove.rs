//! Removing trees.

use super::{Workspace, explain, list};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

impl Workspace {
    /// Removes whatever is at the path, a directory with all it holds; nothing there is fine.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        let remove = || {
            let (parent, name) = self.parent(path)?;
            remove_entry(&parent, name)
        };
        match remove() {
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(error) => Err(explain("remove", path, error)),
        }
    }
}

/// A directory being emptied: itself, its name in the one before, and what it still holds.
struct Level {
    directory: OwnedFd,
    name: OsString,
    left: Vec<OsString>,
}

/// Goes down by open directories, never by paths, so that nothing renamed meanwhile leads elsewhere.
fn remove_entry(parent: &OwnedFd, name: &OsStr) -> rustix::io::Result<()> {
    let Some(top) = unlink_or_open(parent, name)? else { return Ok(()) };
    let mut levels = vec![top];
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.left.pop() {
            let below = unlink_or_open(&level.directory, &name)?;
            levels.extend(below);
        } else if let Some(done) = levels.pop() {
            let above = levels.last().map_or(parent, |level| &level.directory);
            gone(rustix::fs::unlinkat(above, &done.name, AtFlags::REMOVEDIR))?;
        }
    }
    Ok(())
}

/// Unlinks what is no directory; opens what is one.
fn unlink_or_open(parent: &OwnedFd, name: &OsStr) -> rustix::io::Result<Option<Level>> {
    match gone(rustix::fs::unlinkat(parent, name, AtFlags::empty())) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        other => return other.map(|()| None),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let left = list(&directory)?;
    Ok(Some(Level { directory, name: name.to_owned(), left }))
}

/// What somebody else has removed already is removed.
fn gone(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
