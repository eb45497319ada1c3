//! A directory whose inside cannot lead outside.
//!
//! Every path is resolved from the directory's handle, component by component, and never through a symbolic link,
//! so neither a link planted by a job nor a `..` from a manifest ever reaches another place.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, Mode, OFlags, ResolveFlags, StatxFlags, openat, openat2, statx},
    io::Errno,
};

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
    Symlink,
    /// A socket, a device, a pipe.
    Special,
}

/// What is known of a path without opening it. Two that are equal belong to an unchanged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) mtime: (i64, u32),
    pub(crate) ctime: (i64, u32),
    pub(crate) device: (u32, u32),
    pub(crate) inode: u64,
    pub(crate) links: u32,
}

impl Meta {
    /// Gives the bytes of a file, none for anything else.
    pub(crate) fn file_size(&self) -> u64 {
        if self.kind == Kind::File { self.size } else { 0 }
    }
}

/// The handle of a directory.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    /// Opens a directory by an ordinary path, which may lead through links: the caller trusts it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(openat(CWD, path, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY, Mode::empty())?))
    }

    /// Takes a handle as the root of paths below it.
    pub(crate) fn of(handle: OwnedFd) -> Self {
        Self(handle)
    }

    pub(crate) fn handle(&self) -> &OwnedFd {
        &self.0
    }

    /// Opens the directory at a relative path; the empty path is the root itself. `ELOOP` or `ENOTDIR` where a
    /// component is a link.
    pub(crate) fn directory(&self, path: &[u8]) -> io::Result<OwnedFd> {
        if path.is_empty() {
            return self.0.try_clone();
        }
        if path.split(|byte| *byte == b'/').any(|component| matches!(component, b"" | b"." | b"..")) {
            return Err(Errno::INVAL.into());
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match openat2(&self.0, path, DIRECTORY | OFlags::RDONLY, Mode::empty(), resolve) {
            // An old kernel, or a container whose filter does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => self.directory_by_steps(path),
            opened => Ok(opened?),
        }
    }

    fn directory_by_steps(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let mut handle = self.0.try_clone()?;
        for component in path.split(|byte| *byte == b'/') {
            handle = openat(&handle, component, DIRECTORY | OFlags::RDONLY, Mode::empty())?;
        }
        Ok(handle)
    }

    /// Opens the directory that holds a path, and gives the path's own name in it.
    pub(crate) fn parent<'path>(&self, path: &'path [u8]) -> io::Result<(OwnedFd, &'path [u8])> {
        let (parent, name) = split(path);
        Ok((self.directory(parent)?, name))
    }

    /// Tells what is at a path; a link is a link.
    pub(crate) fn meta(&self, path: &[u8]) -> io::Result<Meta> {
        let (parent, name) = self.parent(path)?;
        meta_at(&parent, name)
    }
}

/// How many directories [`Handles`] keeps open.
const KEPT: usize = 16;

/// Handles of directories below a root, the latest kept open: neighbouring paths share them.
#[derive(Debug)]
pub(crate) struct Handles<'root> {
    root: &'root Root,
    open: VecDeque<(Vec<u8>, OwnedFd)>,
}

impl<'root> Handles<'root> {
    pub(crate) fn new(root: &'root Root) -> Self {
        Self { root, open: VecDeque::with_capacity(KEPT) }
    }

    /// Gives what [`Root::directory`] opens. Directories must not be moved meanwhile.
    pub(crate) fn directory(&mut self, path: &[u8]) -> io::Result<&OwnedFd> {
        let known = self.open.iter().position(|(known, _)| known == path);
        if known.is_none() {
            let handle = self.root.directory(path)?;
            self.open.truncate(KEPT - 1);
            self.open.push_front((path.to_vec(), handle));
        }
        Ok(&self.open[known.unwrap_or(0)].1)
    }

    /// Gives the directory that holds a path, and the path's own name in it.
    pub(crate) fn parent<'path>(&mut self, path: &'path [u8]) -> io::Result<(&OwnedFd, &'path [u8])> {
        let (parent, name) = split(path);
        Ok((self.directory(parent)?, name))
    }
}

/// Splits a relative path into its parent (empty for the root) and its name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Joins a parent (empty for the root) and a name.
pub(crate) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

/// Opens a directory by its name in another; never through a link.
pub(crate) fn directory_at(parent: &OwnedFd, name: &[u8]) -> io::Result<OwnedFd> {
    Ok(openat(parent, name, DIRECTORY | OFlags::RDONLY, Mode::empty())?)
}

/// Tells what a name in a directory is; the empty name is the handle itself.
pub(crate) fn meta_at(parent: impl AsFd, name: &[u8]) -> io::Result<Meta> {
    let stat = statx(parent, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    let mode = u32::from(stat.stx_mode);
    let kind = match mode & 0o170_000 {
        0o040_000 => Kind::Directory,
        0o100_000 => Kind::File,
        0o120_000 => Kind::Symlink,
        _ => Kind::Special,
    };
    Ok(Meta {
        kind,
        mode: mode & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        size: stat.stx_size,
        mtime: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
        ctime: (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
        device: (stat.stx_dev_major, stat.stx_dev_minor),
        inode: stat.stx_ino,
        links: stat.stx_nlink,
    })
}

/// Gives a path to a name in a directory, for calls that take no handle: through the handle's own link, only the name
/// is looked up.
pub(crate) fn path_at(parent: &OwnedFd, name: &[u8]) -> Vec<u8> {
    [format!("/proc/self/fd/{}/", parent.as_raw_fd()).as_bytes(), name].concat()
}

/// Lists the names in a directory, sorted.
pub(crate) fn names(directory: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn no_path_leads_through_a_link_or_upwards() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(inside.path().join("a/b")).unwrap();
        symlink(outside.path(), inside.path().join("link")).unwrap();
        symlink(".", inside.path().join("a/self")).unwrap();
        let root = Root::open(inside.path()).unwrap();
        for open in [Root::directory, Root::directory_by_steps] {
            assert!(open(&root, b"a/b").is_ok());
            for path in [&b"link"[..], b"link/x", b"a/self", b"a/self/b"] {
                assert!(open(&root, path).is_err(), "{}", path.escape_ascii());
            }
        }
        for path in [&b"a/.."[..], b"..", b"/", b"/tmp", b"a/./b", b"a//b"] {
            assert!(root.directory(path).is_err(), "{}", path.escape_ascii());
        }
        assert_eq!(root.meta(b"link").unwrap().kind, Kind::Symlink);
    }
}
