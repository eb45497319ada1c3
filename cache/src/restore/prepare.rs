//! Everything of a tree that needs no content: directories, links, empty files, devices.

use std::{io, os::fd::OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, XattrFlags, chmodat, chownat, ftruncate, lsetxattr, mkdirat, mknodat, openat,
    symlinkat, utimensat,
};

use super::{
    dress::{about, owner, times},
    levels::{Directory, levels},
    write::{Writer, failed},
};
use crate::{
    confined::{Handles, path_at},
    error::Error,
    manifest::{Node, Record, show},
};

impl Writer {
    /// Makes everything that needs no content.
    pub(super) fn prepare(&self) -> Result<(), Error> {
        self.check_space()?;
        for level in levels(self.manifest(), self.options.limits.entries)? {
            self.each(&level, |handles, directory| {
                let made = self.make_directory(directory, handles);
                made.map_err(|error| Error::file("make directory", show(directory.path), error))
            })?;
        }
        self.each(&self.places.plain, |handles, at| {
            let record = self.manifest().record(*at);
            self.make(*at, &record, handles).map_err(|error| failed("make", &record, error))
        })
    }

    fn make_directory(&self, directory: &Directory<'_>, handles: &mut Handles<'_>) -> io::Result<()> {
        let (parent, name) = handles.parent(directory.path)?;
        let mode = directory.record.map(|at| self.mode(&self.manifest().record(at)) & 0o777 | 0o700);
        Ok(mkdirat(parent, name, Mode::from_raw_mode(mode.unwrap_or(0o777)))?)
    }

    fn make(&self, at: usize, record: &Record<'_>, handles: &mut Handles<'_>) -> io::Result<()> {
        let (parent, name) = handles.parent(record.path)?;
        match &record.node {
            // All of it is holes, or nothing.
            Node::File { size, .. } => self.make_file(at, record, parent, name, *size),
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
            Node::Directory | Node::Link { .. } => Ok(()),
        }
    }

    fn make_file(&self, at: usize, record: &Record<'_>, parent: &OwnedFd, name: &[u8], size: u64) -> io::Result<()> {
        let (mode, flags) = (self.mode(record) & 0o777, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL);
        let file = openat(parent, name, flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode))?;
        if size > 0 {
            ftruncate(&file, size)?;
        }
        self.finish_file(at, &file, record, mode)
    }

    /// Gives owner, attributes and time to what is not opened.
    fn dress_other(&self, record: &Record<'_>, parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
        let (uid, gid) = owner(record);
        self.own(record, || chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW));
        for (attribute, value) in record.attributes.iter().filter(|_| self.options.special) {
            lsetxattr(path_at(parent, name), *attribute, value, XattrFlags::empty())
                .map_err(|error| about(attribute, error))?;
        }
        Ok(utimensat(parent, name, &times(record), AtFlags::SYMLINK_NOFOLLOW)?)
    }
}
