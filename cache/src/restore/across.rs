//! Copying what no rename moves: from the staging tree to a directory of the target where something else is mounted.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{
        AtFlags, Gid, Mode, OFlags, Uid, chownat, fchmod, fchown, futimens, linkat, mkdirat, openat, readlinkat,
        symlinkat, utimensat,
    },
    io::Errno,
};

use super::dress::modified;
use crate::confined::{Kind, Meta, Root, join, names};

/// Copies these names of a directory with all that is below them, and with owners, modes, times and hard links.
pub(super) fn copy(from: &OwnedFd, names: &[Vec<u8>], to: &Root) -> io::Result<()> {
    let mut copy = Copy { from: Root::of(from.try_clone()?), to, first: HashMap::new() };
    let (mut ahead, mut directories) = (names.to_vec(), Vec::new());
    while let Some(path) = ahead.pop() {
        let meta = copy.from.meta(&path)?;
        if meta.kind == Kind::Directory {
            ahead.extend(copy.directory(&path)?);
            directories.push((path, meta));
        } else {
            copy.other(path, &meta)?;
        }
    }
    // What is made in a directory changes its time: the innermost come first.
    directories.iter().rev().try_for_each(|(path, meta)| dress(to.directory(path)?, meta))
}

struct Copy<'a> {
    from: Root,
    to: &'a Root,
    /// The first name of each file that has several.
    first: HashMap<((u32, u32), u64), Vec<u8>>,
}

impl Copy<'_> {
    /// Makes a directory; gives the paths in it.
    fn directory(&self, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let (parent, name) = self.to.parent(path)?;
        mkdirat(parent, name, Mode::RWXU)?;
        Ok(names(&self.from.directory(path)?)?.iter().map(|name| join(path, name)).collect())
    }

    fn other(&mut self, path: Vec<u8>, meta: &Meta) -> io::Result<()> {
        let (to, name) = self.to.parent(&path)?;
        if let Some(first) = self.first.get(&(meta.device, meta.inode)) {
            let (parent, old) = self.to.parent(first)?;
            return Ok(linkat(parent, old, to, name, AtFlags::empty())?);
        }
        let (from, _) = self.from.parent(&path)?;
        match meta.kind {
            Kind::File => file(&from, &to, name, meta)?,
            Kind::Symlink => symlink(&from, &to, name, meta)?,
            Kind::Directory | Kind::Special => return Err(Errno::XDEV.into()),
        }
        if meta.links > 1 {
            self.first.insert((meta.device, meta.inode), path);
        }
        Ok(())
    }
}

fn file(from: &OwnedFd, to: &OwnedFd, name: &[u8], meta: &Meta) -> io::Result<()> {
    let (read, write) = (OFlags::RDONLY, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL);
    let open = |parent, flags| openat(parent, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::RUSR);
    let (mut from, mut to) = (File::from(open(from, read)?), File::from(open(to, write)?));
    io::copy(&mut from, &mut to)?;
    dress(to, meta)
}

fn symlink(from: &OwnedFd, to: &OwnedFd, name: &[u8], meta: &Meta) -> io::Result<()> {
    symlinkat(readlinkat(from, name, Vec::new())?, to, name)?;
    let (uid, gid) = owner(meta);
    tolerate(chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW))?;
    Ok(utimensat(to, name, &modified(meta.mtime), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Owner first: a change of it takes bits of the mode.
fn dress(handle: impl AsFd, meta: &Meta) -> io::Result<()> {
    let (uid, gid) = owner(meta);
    tolerate(fchown(&handle, uid, gid))?;
    fchmod(&handle, Mode::from_raw_mode(meta.mode))?;
    Ok(futimens(&handle, &modified(meta.mtime))?)
}

fn owner(meta: &Meta) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))
}

/// What is mounted may know no owners, or not those of the tree.
fn tolerate(owned: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match owned {
        Err(Errno::PERM | Errno::INVAL | Errno::NOTSUP) => Ok(()),
        other => other,
    }
}
