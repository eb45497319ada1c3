//! A directory that a job may have filled with traps, and that nothing done through this handle can leave.
//!
//! Every path is resolved by the kernel (`openat2` with `RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS`): a symlink inside
//! the directory is followed only while it stays inside. Paths are relative and may hold any bytes but NUL; the empty
//! path is the directory itself.

mod attributes;
mod remove;
#[cfg(test)]
mod tests;
mod walk;

pub use attributes::{Attributes, Kind, Stat};
pub use remove::remove_tree;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Bytes of a path that the kernel takes no more, Linux's own.
const PATH_MAX: usize = 4096;

/// A confined directory.
#[derive(Debug)]
pub struct Workspace {
    root: OwnedFd,
}

impl Workspace {
    /// Opens a directory of the host. The path itself is trusted: where a job may have put a symlink in its place,
    /// open the directory above and [`enter`](Self::enter).
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| explain("open", path, error))?;
        Ok(Self { root })
    }

    /// Takes a handle of a directory.
    #[must_use]
    pub fn of(root: OwnedFd) -> Self {
        Self { root }
    }

    /// A workspace of a directory inside this one.
    pub fn enter(&self, path: &Path) -> io::Result<Self> {
        let root = self.resolve(path, OFlags::PATH | OFlags::DIRECTORY).map_err(|e| explain("enter", path, e))?;
        Ok(Self { root })
    }

    /// Opens a regular file for reading; a symlink in its place is an error.
    pub fn read(&self, path: &Path) -> io::Result<File> {
        // Without O_NONBLOCK a pipe in the file's place would hang us.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = File::from(self.resolve(path, flags).map_err(|error| explain("open", path, error))?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is no regular file", path.display())));
        }
        Ok(file)
    }

    /// Creates a new file with exactly that mode; what has the name already, is an error.
    pub fn create(&self, path: &Path, mode: u32) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(mode & 0o7777);
        let create = || {
            let file = self.openat2(path, flags, mode)?;
            rustix::fs::fchmod(&file, mode)?;
            Ok(file)
        };
        create().map(File::from).map_err(|error| explain("create", path, error))
    }

    /// Creates a directory and all missing parents, with exactly that mode. An existing directory stays as it is.
    pub fn create_directories(&self, path: &Path, mode: u32) -> io::Result<()> {
        if self.enter(path).is_ok() {
            return Ok(());
        }
        let mut ancestors: Vec<_> = path.ancestors().filter(|ancestor| ancestor.file_name().is_some()).collect();
        ancestors.reverse();
        for ancestor in ancestors {
            self.create_directory(ancestor, mode).map_err(|error| explain("create the directory", ancestor, error))?;
        }
        self.enter(path).map(drop)
    }

    /// Creates a symlink at `path`; its target is stored as it is.
    pub fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        let create = || {
            let (parent, name) = self.parent(path)?;
            rustix::fs::symlinkat(target, parent, name)
        };
        create().map_err(|error| explain("create the symlink", path, error))
    }

    /// The target of a symlink.
    pub fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let read = || {
            let (parent, name) = self.parent(path)?;
            rustix::fs::readlinkat(parent, name, Vec::new())
        };
        let target = read().map_err(|error| explain("read the symlink", path, error))?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    /// Gives a file a second name.
    pub fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let link = || {
            let (from_parent, from_name) = self.parent(from)?;
            let (to_parent, to_name) = self.parent(to)?;
            rustix::fs::linkat(from_parent, from_name, to_parent, to_name, AtFlags::empty())
        };
        link().map_err(|error| explain("link to", to, error))
    }

    /// Moves what is at `from`, replacing a file or an empty directory at `to`.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let rename = || {
            let (from_parent, from_name) = self.parent(from)?;
            let (to_parent, to_name) = self.parent(to)?;
            rustix::fs::renameat(from_parent, from_name, to_parent, to_name)
        };
        rename().map_err(|error| explain("move to", to, error))
    }

    /// What is at the path; the last component is not followed. `None` when there is nothing.
    pub fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        match self.stat_at(path) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(explain("look at", path, error)),
        }
    }

    /// The names in a directory, sorted.
    pub fn names(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let names = self.directory(path, OFlags::empty()).and_then(|directory| list(&directory));
        names.map_err(|error| explain("read the directory", path, error))
    }

    /// Opens a directory to read its names or to set its attributes.
    fn directory(&self, path: &Path, more: OFlags) -> rustix::io::Result<OwnedFd> {
        self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY | more)
    }

    fn stat_at(&self, path: &Path) -> rustix::io::Result<Stat> {
        if path.as_os_str().is_empty() {
            return rustix::fs::fstat(&self.root).map(Stat::from);
        }
        // A name whose directory can be reached is no path of its own if it is too long for the kernel.
        if path.as_os_str().len() >= PATH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let (parent, name) = self.parent(path)?;
        rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map(Stat::from)
    }

    fn create_directory(&self, path: &Path, mode: u32) -> rustix::io::Result<()> {
        let mode = Mode::from_raw_mode(mode & 0o7777);
        let (parent, name) = self.parent(path)?;
        match rustix::fs::mkdirat(&parent, name, mode) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(()),
            Err(error) => return Err(error),
        }
        // The process's umask took bits away.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::fchmod(rustix::fs::openat(&parent, name, flags, Mode::empty())?, mode)
    }

    /// The directory that holds the last component, and that component.
    fn parent<'a>(&self, path: &'a Path) -> rustix::io::Result<(OwnedFd, &'a OsStr)> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let parent = self.resolve(path.parent().unwrap_or(Path::new("")), OFlags::PATH | OFlags::DIRECTORY)?;
        Ok((parent, name))
    }

    fn resolve(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        self.openat2(path, flags, Mode::empty())
    }

    /// The one place where a path becomes a file.
    fn openat2(&self, path: &Path, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        // EAGAIN: something was renamed meanwhile and the kernel cannot tell whether the path stayed inside.
        for _ in 0..1000 {
            match rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, mode, resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }
}

/// The names in an open directory, sorted.
fn list(directory: &OwnedFd) -> rustix::io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort();
    Ok(names)
}

/// One line that says what was attempted on what, and why not.
fn explain(verb: &str, path: &Path, error: Errno) -> io::Error {
    let source = io::Error::from(error);
    let why = match error {
        Errno::XDEV => "it leads out of its directory".to_owned(),
        Errno::NOSYS => "this kernel has no openat2, Linux 5.6 or newer is needed".to_owned(),
        _ => source.to_string(),
    };
    io::Error::new(source.kind(), format!("cannot {verb} {}: {why}", path.display()))
}
