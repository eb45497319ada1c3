//! Removing trees, however deep: a job can nest more directories than a process may open, or than a stack holds.

use super::{Workspace, explain};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Most directories that are open at a time.
const OPEN: usize = 100;

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

/// Removes a directory of the host with all it holds; nothing there is fine. The path itself is trusted.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::INVAL.into()) };
    match Workspace::open(parent) {
        Ok(parent) => parent.remove(Path::new(name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// A directory being emptied: itself, its name in the one before, and the directories that it still holds.
struct Level {
    directory: OwnedFd,
    name: OsString,
    left: Vec<OsString>,
}

/// Goes down by open directories, never by paths, so that nothing renamed meanwhile leads elsewhere. What is too far
/// down moves up, and is removed later.
fn remove_entry(parent: &OwnedFd, name: &OsStr) -> rustix::io::Result<()> {
    let Some(top) = unlink_or_open(parent, name)? else { return Ok(()) };
    let (mut levels, mut number) = (vec![top], 0);
    while let Some(at) = levels.len().checked_sub(1) {
        match levels[at].left.pop() {
            Some(name) if levels.len() < OPEN => levels.extend(unlink_or_open(&levels[at].directory, &name)?),
            Some(name) => {
                let moved = move_up(&levels[at].directory, &name, &levels[0].directory, &mut number)?;
                levels[0].left.extend(moved);
            }
            None => {
                let above = at.checked_sub(1).map_or(parent, |above| &levels[above].directory);
                gone(rustix::fs::unlinkat(above, &levels[at].name, AtFlags::REMOVEDIR))?;
                levels.pop();
            }
        }
    }
    Ok(())
}

/// Unlinks what is in a directory, and gives the names of the directories in it.
fn unlink_files(directory: &OwnedFd) -> rustix::io::Result<Vec<OsString>> {
    let mut directories = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        if entry.file_type() == FileType::Directory || unlink(directory, name)? == Unlinked::IsDirectory {
            directories.push(name.to_owned());
        }
    }
    Ok(directories)
}

/// Moves a directory up and gives its name there; none when it is gone. An empty one of that name makes room.
fn move_up(from: &OwnedFd, name: &OsStr, top: &OwnedFd, number: &mut u64) -> rustix::io::Result<Option<OsString>> {
    loop {
        *number += 1;
        let fresh = OsString::from(format!("removed-{number}"));
        match rustix::fs::renameat(from, name, top, &fresh) {
            Ok(()) => return Ok(Some(fresh)),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            Err(error) => return Err(error),
        }
    }
}

#[derive(Eq, PartialEq)]
enum Unlinked {
    Gone,
    IsDirectory,
}

fn unlink(parent: &OwnedFd, name: &OsStr) -> rustix::io::Result<Unlinked> {
    match gone(rustix::fs::unlinkat(parent, name, AtFlags::empty())) {
        Err(Errno::ISDIR | Errno::PERM) => Ok(Unlinked::IsDirectory),
        other => other.map(|()| Unlinked::Gone),
    }
}

/// Unlinks what is no directory; opens what is one, and unlinks what in it is none.
fn unlink_or_open(parent: &OwnedFd, name: &OsStr) -> rustix::io::Result<Option<Level>> {
    if unlink(parent, name)? == Unlinked::Gone {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let left = unlink_files(&directory)?;
    Ok(Some(Level { directory, name: name.to_owned(), left }))
}

/// What somebody else has removed already is removed.
fn gone(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
