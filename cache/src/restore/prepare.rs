//! Everything of a tree that needs no content: directories, links, empty files, devices.

use std::{
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
};

use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, XattrFlags, chmodat, chownat, ftruncate, lsetxattr, mkdirat, mknodat, openat,
        symlinkat, utimensat,
    },
    io::Errno,
};

use super::{
    dress::{about, owner, times},
    write::{Writer, failed},
};
use crate::{
    confined::{Handles, Root, split},
    error::Error,
    manifest::{Node, Record},
};

impl Writer {
    /// Makes everything that needs no content.
    pub(super) fn prepare(&self) -> Result<(), Error> {
        self.check_space()?;
        let (mut handles, mut made, mut implied) = (Handles::new(self.tree()), Vec::new(), 0);
        for record in self.manifest().records() {
            self.check_time()?;
            implied += self.ensure_parent(&record, &mut made).map_err(|error| failed("make", &record, error))?;
            if implied > self.options.limits.entries {
                let what = format!("{implied} directories that lead to files");
                return Err(Error::Limit { what, limit: self.options.limits.entries });
            }
            self.make(&record, &mut handles).map_err(|error| failed("make", &record, error))?;
        }
        Ok(())
    }

    /// Makes the directories that lead to a path, unless the manifest has them. `made` is the last parent. Gives how many
    /// it had to make.
    fn ensure_parent(&self, record: &Record<'_>, made: &mut Vec<u8>) -> io::Result<u64> {
        let parent = split(record.path).0;
        if parent == made.as_slice() {
            return Ok(0);
        }
        *made = parent.to_vec();
        // Those of the manifest come before what is in them.
        if self.manifest().find(parent).is_some() { Ok(0) } else { make_parents(self.tree(), parent) }
    }

    fn make(&self, record: &Record<'_>, handles: &mut Handles<'_>) -> io::Result<()> {
        // Most paths have content and are left to the workers: not even their directories are opened.
        if matches!(&record.node, Node::File { chunks, .. } if !chunks.is_empty()) {
            return Ok(());
        }
        let (parent, name) = handles.parent(record.path)?;
        match &record.node {
            Node::Directory => Ok(mkdirat(parent, name, Mode::from_raw_mode(self.mode(record) & 0o777 | 0o700))?),
            // All of it is holes, or nothing.
            Node::File { size, chunks, .. } if chunks.is_empty() => self.make_file(record, parent, name, *size),
            Node::Symlink { target } => {
                symlinkat(*target, parent, name)?;
                self.dress_other(record, parent, name)
            }
            Node::Device { .. } => {
                mknodat(parent, name, FileType::CharacterDevice, Mode::RUSR, 0)?;
                // It was just made: no link can be in its place.
                chmodat(parent, name, Mode::from_raw_mode(self.mode(record)), AtFlags::empty())?;
                self.dress_other(record, parent, name)
            }
            Node::File { .. } | Node::Link { .. } => Ok(()),
        }
    }

    fn make_file(&self, record: &Record<'_>, parent: &OwnedFd, name: &[u8], size: u64) -> io::Result<()> {
        let (mode, flags) = (self.mode(record) & 0o777, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL);
        let file = openat(parent, name, flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode))?;
        if size > 0 {
            ftruncate(&file, size)?;
        }
        self.dress(file, record, mode)
    }

    /// Gives owner, attributes and time to what is not opened.
    fn dress_other(&self, record: &Record<'_>, parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
        let (uid, gid) = owner(record);
        self.own(record, || chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW));
        for (attribute, value) in record.attributes.iter().filter(|_| self.options.special) {
            // No call takes a handle and a name; through the handle's own link, only the name is looked up.
            let path = [format!("/proc/self/fd/{}/", parent.as_raw_fd()).as_bytes(), name].concat();
            let path = std::ffi::OsStr::from_bytes(&path);
            lsetxattr(path, *attribute, value, XattrFlags::empty()).map_err(|error| about(attribute, error))?;
        }
        Ok(utimensat(parent, name, &times(record), AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

/// Makes the directories that lead to a path and are missing, as `mkdir -p` would; gives how many.
fn make_parents(tree: &Root, path: &[u8]) -> io::Result<u64> {
    let mut made = 0;
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    for end in slashes.chain((!path.is_empty()).then_some(path.len())) {
        let (parent, name) = tree.parent(&path[..end])?;
        match mkdirat(parent, name, Mode::from_raw_mode(0o777)) {
            Ok(()) => made += 1,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(made)
}
