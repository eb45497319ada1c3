//! The directory in which a tree grows before it is renamed into place.
//!
//! It lies inside the target, or wherever the caller says on the same file system, under a name that no manifest may have. Its
//! owner holds a lock on it as long as it lives: one whose lock is free belongs to a run that was killed, and the
//! next run removes it.

use std::{io, os::fd::OwnedFd, sync::Arc};

use rustix::{
    fs::{AtFlags, FlockOperation, Mode, fchmod, flock, mkdirat, renameat, unlinkat},
    io::Errno,
};

use crate::{
    confined::{Kind, Root, directory_at, meta_at, names},
    error::Error,
    manifest::{RESERVED, show},
};

/// A staging directory; removed, with what is left in it, when dropped.
#[derive(Debug)]
pub(crate) struct Staging {
    parent: Arc<Root>,
    name: Vec<u8>,
    top: OwnedFd,
    tree: Root,
    aside: OwnedFd,
}

impl Staging {
    /// Makes an empty one in `parent`.
    pub(crate) fn new(parent: Arc<Root>) -> Result<Self, Error> {
        let error = |error| Error::file("make a", "staging directory", error);
        loop {
            let name = [RESERVED, hex::encode(rand::random::<[u8; 8]>()).as_bytes()].concat();
            let Some(top) = make(&parent, &name).map_err(error)? else { continue };
            let inner = make_in(&top, b"tree").and_then(|tree| Ok((Root::of(tree), make_in(&top, b"aside")?)));
            return match inner {
                Ok((tree, aside)) => Ok(Self { parent, name, top, tree, aside }),
                Err(reason) => {
                    let _ = remove(parent.handle(), &name, &top);
                    Err(error(reason))
                }
            };
        }
    }

    /// Gives the directory that stands for the target.
    pub(crate) fn tree(&self) -> &Root {
        &self.tree
    }

    /// Gives the directory for what the tree replaces.
    pub(crate) fn aside(&self) -> &OwnedFd {
        &self.aside
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = remove(self.parent.handle(), &self.name, &self.top) {
            tracing::warn!("staging directory {} was not removed: {error}", show(&self.name));
        }
    }
}

/// Makes and locks a directory; `None` if another process took it for a leftover in between.
fn make(target: &Root, name: &[u8]) -> io::Result<Option<OwnedFd>> {
    mkdirat(target.handle(), name, Mode::RWXU)?;
    let top = match directory_at(target.handle(), name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    flock(&top, FlockOperation::LockExclusive)?;
    let mine = meta_at(&top, b"")?.inode;
    Ok(meta_at(target.handle(), name).is_ok_and(|there| there.inode == mine).then_some(top))
}

fn make_in(parent: &OwnedFd, name: &[u8]) -> io::Result<OwnedFd> {
    mkdirat(parent, name, Mode::RWXU)?;
    directory_at(parent, name)
}

/// Removes the staging directories of runs that are gone. What cannot be removed stays and does no harm.
pub(crate) fn remove_leftovers(target: &Root) {
    for name in names(target.handle()).unwrap_or_default() {
        if !name.starts_with(RESERVED) {
            continue;
        }
        let Ok(top) = directory_at(target.handle(), &name) else { continue };
        let free = flock(&top, FlockOperation::NonBlockingLockExclusive).is_ok();
        if free && let Err(error) = remove(target.handle(), &name, &top) {
            tracing::warn!("staging directory {} was not removed: {error}", show(&name));
        }
    }
}

/// Removes a directory with everything in it, however deep: nested directories are moved up first, so neither
/// the stack nor the number of open files grows.
fn remove(parent: &OwnedFd, name: &[u8], top: &OwnedFd) -> io::Result<()> {
    let mut number = 0_u64;
    loop {
        let names = names(top)?;
        if names.is_empty() {
            return Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?);
        }
        for name in names {
            if meta_at(top, &name)?.kind == Kind::Directory {
                empty(top, &name, &mut number)?;
                unlinkat(top, &name[..], AtFlags::REMOVEDIR)?;
            } else {
                unlinkat(top, &name[..], AtFlags::empty())?;
            }
        }
    }
}

/// Empties a directory in `top`: its files go, its directories move to `top` under new names.
fn empty(top: &OwnedFd, name: &[u8], number: &mut u64) -> io::Result<()> {
    let directory = open_writable(top, name)?;
    for child in names(&directory)? {
        match unlinkat(&directory, &child[..], AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR | Errno::PERM) => {
                drop(open_writable(&directory, &child)?);
                move_up(&directory, &child, top, number)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Moves a directory to `top` under a new name.
fn move_up(directory: &OwnedFd, child: &[u8], top: &OwnedFd, number: &mut u64) -> io::Result<()> {
    loop {
        *number += 1;
        match renameat(directory, child, top, format!("up-{number}")) {
            // A removal that was killed has left something of this name.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            moved => return Ok(moved?),
        }
    }
}

/// Opens a directory of which we may remove everything, if it is ours.
fn open_writable(parent: &OwnedFd, name: &[u8]) -> io::Result<OwnedFd> {
    let handle = match directory_at(parent, name) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            directory_at(parent, name)?
        }
        opened => opened?,
    };
    let _ = fchmod(&handle, Mode::RWXU);
    Ok(handle)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::{
        fs,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    fn entries(path: &std::path::Path) -> usize {
        fs::read_dir(path).unwrap().count()
    }

    #[test]
    fn leftovers_are_removed_and_living_ones_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let target = Arc::new(Root::open(directory.path()).unwrap());
        let leftover = directory.path().join(".warmstart-restore-0000000000000000");
        fs::create_dir_all(leftover.join("tree/a/b")).unwrap();
        fs::write(leftover.join("tree/a/b/file"), "half").unwrap();
        let living = Staging::new(target.clone()).unwrap();
        assert_eq!(entries(directory.path()), 2);
        remove_leftovers(&target);
        assert!(!leftover.exists());
        assert_eq!(entries(directory.path()), 1);
        drop(living);
        assert_eq!(entries(directory.path()), 0);
    }

    #[test]
    fn one_that_is_being_made_while_another_run_tidies_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let target = Arc::new(Root::open(directory.path()).unwrap());
        let done = AtomicBool::new(false);
        let tidy = || {
            while !done.load(Ordering::Relaxed) {
                remove_leftovers(&target);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(tidy);
            let all: Result<Vec<_>, _> = (0..1000).map(|_| Staging::new(target.clone()).map(drop)).collect();
            done.store(true, Ordering::Relaxed);
            all.unwrap();
        });
        assert_eq!(entries(directory.path()), 0);
    }

    #[test]
    fn a_removal_that_was_killed_is_finished_by_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let leftover = directory.path().join(".warmstart-restore-0000000000000000");
        fs::create_dir_all(leftover.join("up-1/a/b/c")).unwrap();
        fs::create_dir_all(leftover.join("up-2")).unwrap();
        fs::write(leftover.join("up-3"), "a file").unwrap();
        remove_leftovers(&Root::open(directory.path()).unwrap());
        assert_eq!(entries(directory.path()), 0);
    }

    #[test]
    fn any_depth_and_any_mode_can_be_removed() {
        let directory = tempfile::tempdir().unwrap();
        let staging = Staging::new(Arc::new(Root::open(directory.path()).unwrap())).unwrap();
        let mut parent = staging.tree().handle().try_clone().unwrap();
        // Deeper than any path can be.
        for _ in 0..1000 {
            let child = make_in(&parent, b"deep").unwrap();
            fchmod(&parent, Mode::RUSR | Mode::XUSR).unwrap();
            parent = child;
        }
        drop(parent);
        drop(staging);
        assert_eq!(entries(directory.path()), 0);
    }
}
