//! From an archive into a private directory.
//!
//! Paths are resolved from the directory's handle, component by component and never through a link, so that neither
//! `..` nor a link of the archive's own leads outside. An archive that tries is refused as a whole.

use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    os::fd::OwnedFd,
    path::Path,
};

use rustix::{
    fs::{
        AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chmodat, chownat, linkat, mkdirat, openat, symlinkat,
        unlinkat, utimensat,
    },
    io::Errno,
};
use tar::{Archive, Entry};

use super::{
    entry::{Attributes, Node, attributes, clean, node},
    input::{Allowance, Bounded, decompress},
};
use crate::{
    confined::{Kind, Root, directory_at, meta_at, split},
    error::Error,
    manifest::{RESERVED, show},
    options::Limits,
};

/// Unpacks an archive into `directory`, which nobody else uses; gives a warning for each entry that is left out.
pub(super) fn unpack(name: &str, input: impl Read, directory: &Path, limits: Limits) -> Result<Vec<String>, Error> {
    let root = Root::open(directory).map_err(|error| Error::file("open", directory, error))?;
    let unreadable = |error: io::Error| Error::damaged(name, format!("is no archive that can be read: {error}"));
    let mut unpack = Unpack { name, root, limits, entries: 0, bytes: 0, directories: Vec::new(), warnings: Vec::new() };
    let allowance = Allowance::new();
    let inner = decompress(input).map_err(unreadable)?;
    let mut archive = Archive::new(Bounded { inner, allowance: allowance.clone() });
    for entry in archive.entries().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        allowance.renew(entry.size());
        unpack.entry(entry)?;
    }
    unpack.finish()
}

struct Unpack<'a> {
    name: &'a str,
    root: Root,
    limits: Limits,
    entries: u64,
    bytes: u64,
    /// What directories get at the end, when everything is in them.
    directories: Vec<(Vec<u8>, Attributes)>,
    warnings: Vec<String>,
}

impl Unpack<'_> {
    fn entry(&mut self, mut entry: Entry<'_, impl Read>) -> Result<(), Error> {
        let shown = show(&entry.path_bytes());
        let refuse = |reason: &str| Error::damaged(self.name, format!("entry {shown:?} {reason}"));
        let node = node(&entry).map_err(refuse)?;
        let path = clean(&entry.path_bytes()).map_err(refuse)?;
        let attributes = attributes(&mut entry).map_err(|error| refuse(&error.to_string()))?;
        self.count(entry.size())?;
        if node == Node::Nothing || path.is_empty() {
            return Ok(());
        }
        if node == Node::Special || path.starts_with(RESERVED) {
            self.warnings.push(format!("{shown}: is a device, a pipe or reserved and is left out"));
            return Ok(());
        }
        self.make(&path, &node, attributes, &mut entry).map_err(|error| match error.raw_os_error() {
            Some(code) if [Errno::LOOP, Errno::NOTDIR].iter().any(|errno| errno.raw_os_error() == code) => {
                Error::damaged(self.name, format!("entry {shown:?} leads through a link or a file"))
            }
            _ => Error::damaged(self.name, format!("entry {shown:?} cannot be unpacked: {error}")),
        })
    }

    /// Counts before anything is written.
    fn count(&mut self, size: u64) -> Result<(), Error> {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(size);
        let Limits { bytes, entries } = self.limits;
        for (what, has, limit) in [("bytes", self.bytes, bytes), ("entries", self.entries, entries)] {
            if has > limit {
                return Err(Error::Limit { what: format!("archive of {has} or more {what}"), limit });
            }
        }
        Ok(())
    }

    fn make(&mut self, path: &[u8], node: &Node, with: Attributes, content: &mut impl Read) -> io::Result<()> {
        let (parent, name) = split(path);
        let parent = self.make_directory(parent)?;
        match node {
            Node::Directory => {
                self.make_directory(path)?;
                self.directories.push((path.to_vec(), with));
                return Ok(());
            }
            Node::File => write(&parent, name, content)?,
            Node::Symlink { target } => {
                remove(&parent, name)?;
                symlinkat(&target[..], &parent, name)?;
            }
            Node::Link { to } => return self.link(to, &parent, name),
            Node::Special | Node::Nothing => return Ok(()),
        }
        apply(&parent, name, with, matches!(node, Node::Symlink { .. }))
    }

    /// Opens a directory, making it and those above it where they are missing.
    fn make_directory(&self, path: &[u8]) -> io::Result<OwnedFd> {
        match self.root.directory(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let (above, name) = split(path);
                let parent = self.make_directory(above)?;
                mkdirat(&parent, name, Mode::RWXU)?;
                directory_at(&parent, name)
            }
            opened => opened,
        }
    }

    /// Gives a file that was unpacked before another name.
    fn link(&self, to: &[u8], parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
        let (above, first) = self.root.parent(to)?;
        if meta_at(&above, first)?.kind != Kind::File {
            return Err(io::Error::other("its link names no file of the archive"));
        }
        remove(parent, name)?;
        Ok(linkat(&above, first, parent, name, AtFlags::empty())?)
    }

    /// Gives directories their attributes, those below before those above: the latter may forbid to enter them.
    fn finish(mut self) -> Result<Vec<String>, Error> {
        self.directories.sort_by(|one, other| other.0.cmp(&one.0));
        for (path, attributes) in &self.directories {
            let applied = self.root.parent(path).and_then(|(parent, name)| apply(&parent, name, *attributes, false));
            applied.map_err(|error| Error::damaged(self.name, format!("directory {}: {error}", show(path))))?;
        }
        Ok(self.warnings)
    }
}

fn write(parent: &OwnedFd, name: &[u8], content: &mut impl Read) -> io::Result<()> {
    remove(parent, name)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?;
    io::copy(content, &mut File::from(file)).map(drop)
}

/// Makes room for an entry that comes twice: the last one stays, as with tar.
fn remove(parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Sets owner (root only), mode and time of what was just made: its name is no link of another's.
fn apply(parent: &OwnedFd, name: &[u8], with: Attributes, link: bool) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        let (uid, gid) = (Uid::from_raw(with.uid), Gid::from_raw(with.gid));
        chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    if !link {
        chmodat(parent, name, Mode::from_raw_mode(with.mode), AtFlags::empty())?;
    }
    let time = Timespec { tv_sec: with.mtime.0, tv_nsec: with.mtime.1.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
