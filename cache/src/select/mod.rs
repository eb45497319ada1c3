//! Which files a save takes: patterns against a directory that a job may have prepared.

mod names;
mod pattern;
mod walk;

use std::{collections::BTreeSet, io::ErrorKind, os::unix::ffi::OsStrExt as _, path::Path};

use rustix::{
    fs::{AtFlags, FileType, statat},
    io::Errno,
};

pub(crate) use self::names::Names;
use self::{
    pattern::{Patterns, relative},
    walk::Walk,
};
use crate::{
    confined::{Kind, Meta, Root},
    error::Error,
    manifest::{RESERVED, show},
    options::Selection,
};

/// A path to save.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) meta: Meta,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Selected {
    /// Everything to save, sorted by path: files, directories and links.
    pub(crate) entries: Vec<Entry>,
    /// What was named or found and is not among the entries, one line each.
    pub(crate) warnings: Vec<String>,
}

/// Selects what the selection names below `root`, which was opened from `directory`.
///
/// 1. A path that exists is taken, with everything below it.
/// 2. Another one is a glob: whatever it matches is taken, with everything below it.
/// 3. What an exclusion matches, and everything below it, is left out of both.
///
/// No directory is entered through a link: a link is saved as one. Fails only when there is too much.
/// Of sockets, devices and pipes none is taken, or with `special` the devices that mark what an overlay file system hides.
pub(crate) fn select(
    root: &Root,
    directory: &Path,
    selection: &Selection,
    limit: u64,
    special: bool,
) -> Result<Selected, Error> {
    let mut warnings = Vec::new();
    let patterns = Patterns::new(directory, &selection.paths, &mut warnings);
    let found = Selected { warnings, ..Selected::default() };
    let mut selecting = Selecting { root, patterns: &patterns, limit, special, found, unreadable: BTreeSet::new() };
    for path in &patterns.includes {
        selecting.include(path)?;
    }
    for path in &selection.untracked {
        selecting.untracked(directory, path)?;
    }
    let mut found = selecting.found;
    found.entries.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    found.entries.dedup_by(|one, other| one.path == other.path);
    Ok(found)
}

struct Selecting<'a> {
    root: &'a Root,
    patterns: &'a Patterns,
    limit: u64,
    special: bool,
    found: Selected,
    /// Named already: several patterns may come across the same directory.
    unreadable: BTreeSet<Vec<u8>>,
}

impl Selecting<'_> {
    fn include(&mut self, include: &pattern::Include) -> Result<(), Error> {
        let before = self.found.entries.len();
        let literal = include.path.as_slice();
        match self.root.meta(literal) {
            _ if literal.is_empty() => self.below(Vec::new(), &|_| true)?,
            Ok(meta) => self.take(literal.to_vec(), meta)?,
            Err(error) => match &include.glob {
                Some(glob) => {
                    self.below(glob.start.clone(), &|path| glob.matcher.is_match(path))?;
                }
                None if is_link(&error) => self.warn(&include.text, "leads through a symbolic link and is left out"),
                None if error.kind() == ErrorKind::NotFound => {}
                None => self.warn(&include.text, &error.to_string()),
            },
        }
        if self.found.entries.len() == before {
            self.warn(&include.text, "no matching files");
        }
        Ok(())
    }

    fn untracked(&mut self, directory: &Path, path: &Path) -> Result<(), Error> {
        let Ok(relative) = relative(directory, path.as_os_str().as_bytes()) else {
            self.warn(&path.display().to_string(), "lies outside the directory and is left out");
            return Ok(());
        };
        match self.root.meta(&relative) {
            Ok(meta) => self.take(relative, meta),
            Err(error) => {
                self.warn(&show(&relative), &error.to_string());
                Ok(())
            }
        }
    }

    /// Takes a path and, if it is a directory, everything below it.
    fn take(&mut self, path: Vec<u8>, meta: Meta) -> Result<(), Error> {
        if path.starts_with(RESERVED) || self.patterns.exclude(&path) {
            return Ok(());
        }
        self.add(Entry { path: path.clone(), meta })?;
        if meta.kind == Kind::Directory { self.below(path, &|_| true) } else { Ok(()) }
    }

    /// Walks everything below a directory and adds what is `wanted`, with all that is below that.
    fn below(&mut self, start: Vec<u8>, wanted: &(dyn Fn(&Path) -> bool + Sync)) -> Result<(), Error> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX).saturating_sub(self.found.entries.len());
        let mut found = Walk { root: self.root, patterns: self.patterns, wanted, limit }.below(start);
        if found.entries.len() > limit {
            return Err(self.too_many());
        }
        found.unreadable.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        for (path, error) in found.unreadable {
            if self.unreadable.insert(path.clone()) {
                self.warn(&show(&path), &format!("cannot be listed and is left out: {error}"));
            }
        }
        self.found.entries.append(&mut found.entries);
        found.special.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        found.special.into_iter().try_for_each(|entry| self.add(entry))
    }

    fn add(&mut self, entry: Entry) -> Result<(), Error> {
        if entry.meta.kind == Kind::Special && !(self.special && is_whiteout(self.root, &entry.path)) {
            self.warn(&show(&entry.path), "is a socket, a device or a pipe and is left out");
            return Ok(());
        }
        self.found.entries.push(entry);
        if self.found.entries.len() as u64 > self.limit { Err(self.too_many()) } else { Ok(()) }
    }

    fn too_many(&self) -> Error {
        Error::Limit { what: "number of files and directories".into(), limit: self.limit }
    }

    fn warn(&mut self, path: &str, reason: &str) {
        self.found.warnings.push(format!("{path}: {reason}"));
    }
}

/// Whether a path is the character device 0:0.
fn is_whiteout(root: &Root, path: &[u8]) -> bool {
    let stat = root.parent(path).and_then(|(parent, name)| Ok(statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?));
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0)
}

fn is_link(error: &std::io::Error) -> bool {
    [Errno::LOOP, Errno::NOTDIR].map(|errno| Some(errno.raw_os_error())).contains(&error.raw_os_error())
}

fn as_path(path: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(path))
}
