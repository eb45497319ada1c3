//! What is known about a file, and what is restored on one.

use super::{Workspace, explain};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

/// What a path is, symlinks not followed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A socket, a device or a pipe.
    Other,
}

/// What is known about a path, symlinks not followed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of stat(2)")]
pub struct Stat {
    pub kind: Kind,
    /// Permission bits, without the type.
    pub mode: u32,
    pub size: u64,
    pub uid: u32,
    pub gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub modified: (i64, u32),
    pub device: u64,
    pub inode: u64,
}

impl From<rustix::fs::Stat> for Stat {
    fn from(stat: rustix::fs::Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            _ => Kind::Other,
        };
        Self {
            kind,
            mode: stat.st_mode & 0o7777,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            uid: stat.st_uid,
            gid: stat.st_gid,
            modified: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }
}

/// What is restored on a file; nothing is changed where it is `None`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Attributes {
    /// Permission bits; of a symlink they are nobody's business.
    pub mode: Option<u32>,
    /// User and group. Ignored where the process may not give files away.
    pub owner: Option<(u32, u32)>,
    /// Seconds and nanoseconds since 1970.
    pub modified: Option<(i64, u32)>,
}

impl Attributes {
    /// Restores them on an open file or directory.
    pub fn apply(&self, file: &File) -> io::Result<()> {
        Ok(self.apply_to(file)?)
    }

    /// The owner comes first: changing it clears bits of the mode.
    fn apply_to(&self, file: impl AsFd) -> rustix::io::Result<()> {
        if let Some((uid, gid)) = self.owner {
            tolerate(rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))))?;
        }
        if let Some(mode) = self.mode {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o7777))?;
        }
        self.modified.map_or(Ok(()), |modified| rustix::fs::futimens(&file, &timestamps(modified)))
    }
}

impl Workspace {
    /// Restores attributes on a directory or a symlink; a file's are applied while it is open.
    pub fn restore(&self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        let restore = || match self.directory(path, OFlags::NOFOLLOW) {
            Ok(directory) => attributes.apply_to(directory),
            Err(Errno::NOTDIR | Errno::LOOP) => self.restore_symlink(path, attributes),
            Err(error) => Err(error),
        };
        restore().map_err(|error| explain("restore the attributes of", path, error))
    }

    fn restore_symlink(&self, path: &Path, attributes: &Attributes) -> rustix::io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if let Some((uid, gid)) = attributes.owner {
            tolerate(rustix::fs::chownat(&parent, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags))?;
        }
        attributes.modified.map_or(Ok(()), |m| rustix::fs::utimensat(&parent, name, &timestamps(m), flags))
    }
}

/// Only root gives files away, and not to users beyond its namespace.
fn tolerate(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::PERM | Errno::INVAL) => Ok(()),
        other => other,
    }
}

fn timestamps((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: i64::from(nanoseconds) },
    }
}
