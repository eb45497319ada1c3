//! A directory that a job may have filled with traps, and that nothing done through this handle can leave.
//!
//! Every path is resolved by the kernel (`openat2` with `RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS`): a symlink inside
//! the directory is followed only while it stays inside. Paths are relative and may be any bytes but NUL.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A confined directory.
#[derive(Debug)]
#[allow(dead_code)]
pub struct Workspace {
    root: OwnedFd,
}

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
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the fields are those of stat(2)")]
pub struct Stat {
    pub kind: Kind,
    pub mode: u32,
    pub size: u64,
    pub uid: u32,
    pub gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub modified: (i64, u32),
    pub accessed: (i64, u32),
    pub device: u64,
    pub inode: u64,
}

impl Workspace {
    /// Opens a directory of the host.
    pub fn open(path: &Path) -> io::Result<Self> {
        let _ = path;
        todo!()
    }

    /// A workspace of a directory inside this one.
    pub fn enter(&self, path: &Path) -> io::Result<Self> {
        let _ = path;
        todo!()
    }

    /// Opens a file for reading. A last component that is a symlink is followed only inside.
    pub fn read(&self, path: &Path) -> io::Result<File> {
        let _ = path;
        todo!()
    }

    /// Creates a new file; what has the name already, is an error.
    pub fn create(&self, path: &Path, mode: u32) -> io::Result<File> {
        let _ = (path, mode);
        todo!()
    }

    /// Creates a directory and all missing parents.
    pub fn create_directories(&self, path: &Path, mode: u32) -> io::Result<()> {
        let _ = (path, mode);
        todo!()
    }

    /// Creates a symlink at `path`; its target is stored as it is.
    pub fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        let _ = (target, path);
        todo!()
    }

    /// The target of a symlink.
    pub fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let _ = path;
        todo!()
    }

    /// Gives a file a second name.
    pub fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _ = (from, to);
        todo!()
    }

    /// Moves what is at `from`, replacing a file or an empty directory at `to`.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _ = (from, to);
        todo!()
    }

    /// Removes whatever is at the path, a directory with all it holds; nothing there is fine.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        let _ = path;
        todo!()
    }

    /// What is at the path; the last component is not followed. `None` when there is nothing.
    pub fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        let _ = path;
        todo!()
    }

    /// The names in a directory, sorted.
    pub fn names(&self, path: &Path) -> io::Result<Vec<std::ffi::OsString>> {
        let _ = path;
        todo!()
    }

    /// Calls `visit` for everything below a directory, parents first, siblings sorted, symlinks not followed.
    pub fn walk(&self, path: &Path, visit: &mut dyn FnMut(&Path, &Stat)) -> io::Result<()> {
        let _ = (path, visit);
        todo!()
    }
}
