//! Which files a save takes: patterns against a directory that a job may have prepared.

mod names;
mod pattern;

use std::{collections::BTreeSet, io::ErrorKind, os::unix::ffi::OsStrExt as _, path::Path};

use rustix::io::Errno;

pub(crate) use self::names::Names;
use self::pattern::{Patterns, relative};
use crate::{
    confined::{Kind, Meta, Root, join, meta_at, names},
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
pub(crate) fn select(root: &Root, directory: &Path, selection: &Selection, limit: u64) -> Result<Selected, Error> {
    let mut warnings = Vec::new();
    let patterns = Patterns::new(directory, &selection.paths, &mut warnings);
    let found = Selected { warnings, ..Selected::default() };
    let mut walk = Walk { root, patterns: &patterns, limit, found, unreadable: BTreeSet::new() };
    for path in &patterns.includes {
        walk.include(path)?;
    }
    for path in &selection.untracked {
        walk.untracked(directory, path)?;
    }
    let mut found = walk.found;
    found.entries.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    found.entries.dedup_by(|one, other| one.path == other.path);
    Ok(found)
}

struct Walk<'a> {
    root: &'a Root,
    patterns: &'a Patterns,
    limit: u64,
    found: Selected,
    /// Named already: several patterns may come across the same directory.
    unreadable: BTreeSet<Vec<u8>>,
}

impl Walk<'_> {
    fn include(&mut self, include: &pattern::Include) -> Result<(), Error> {
        let before = self.found.entries.len();
        let literal = include.path.as_slice();
        match self.root.meta(literal) {
            _ if literal.is_empty() => self.below(Vec::new(), &mut |_, _| true)?,
            Ok(meta) => self.take(literal.to_vec(), meta)?,
            Err(error) => match &include.glob {
                Some(glob) => {
                    let matcher = glob.matcher.clone();
                    self.below(glob.start.clone(), &mut |path, _| matcher.is_match(path))?;
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
        self.add(&path, meta)?;
        if meta.kind == Kind::Directory { self.below(path, &mut |_, _| true) } else { Ok(()) }
    }

    /// Walks everything below a directory and adds what `wanted` says, with all that is below that.
    fn below(&mut self, start: Vec<u8>, wanted: &mut dyn FnMut(&Path, &Meta) -> bool) -> Result<(), Error> {
        let mut open = vec![(start, false)];
        while let Some((parent, inherited)) = open.pop() {
            for (path, meta) in self.children(&parent) {
                if path.starts_with(RESERVED) || self.patterns.exclude(&path) {
                    continue;
                }
                let taken = inherited || wanted(as_path(&path), &meta);
                if taken {
                    self.add(&path, meta)?;
                }
                if meta.kind == Kind::Directory {
                    open.push((path, taken));
                }
            }
        }
        Ok(())
    }

    fn children(&mut self, parent: &[u8]) -> Vec<(Vec<u8>, Meta)> {
        let listed = self.root.directory(parent).and_then(|handle| Ok((names(&handle)?, handle)));
        match listed {
            Ok((names, handle)) => {
                let meta = |name: Vec<u8>| Some((join(parent, &name), meta_at(&handle, &name).ok()?));
                names.into_iter().filter_map(meta).collect()
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                if self.unreadable.insert(parent.to_vec()) {
                    self.warn(&show(parent), &format!("cannot be listed and is left out: {error}"));
                }
                Vec::new()
            }
        }
    }

    fn add(&mut self, path: &[u8], meta: Meta) -> Result<(), Error> {
        if meta.kind == Kind::Special {
            self.warn(&show(path), "is a socket, a device or a pipe and is left out");
            return Ok(());
        }
        self.found.entries.push(Entry { path: path.to_vec(), meta });
        if self.found.entries.len() as u64 > self.limit {
            return Err(Error::Limit { what: "number of files and directories".into(), limit: self.limit });
        }
        Ok(())
    }

    fn warn(&mut self, path: &str, reason: &str) {
        self.found.warnings.push(format!("{path}: {reason}"));
    }
}

fn is_link(error: &std::io::Error) -> bool {
    [Errno::LOOP, Errno::NOTDIR].map(|errno| Some(errno.raw_os_error())).contains(&error.raw_os_error())
}

fn as_path(path: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(path))
}
