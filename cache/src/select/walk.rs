//! Walking what lies below a directory, on several threads.

use std::{
    io::{self, ErrorKind},
    mem::MaybeUninit,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use rayon::prelude::*;
use rustix::{fs::RawDir, io::Errno};

use super::{Entry, as_path, pattern::Patterns};
use crate::{
    confined::{Kind, Meta, Root, join, meta_at},
    manifest::{MAX_PATH, RESERVED},
};

/// Room for some hundred names at a time.
const NAMES: usize = 32 << 10;

/// What is walked, and what is taken of it.
pub(super) struct Walk<'a> {
    pub(super) root: &'a Root,
    pub(super) patterns: &'a Patterns,
    /// Whether a path is taken, with everything below it.
    pub(super) wanted: &'a (dyn Fn(&Path) -> bool + Sync),
    /// Little is walked in vain beyond so many entries.
    pub(super) limit: usize,
}

/// What a walk found, in no order.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
    /// Sockets, devices and pipes that were wanted.
    pub(super) special: Vec<Entry>,
    /// Directories that cannot be listed, and why.
    pub(super) unreadable: Vec<(Vec<u8>, io::Error)>,
    /// Directories to walk next.
    below: Vec<Directory>,
}

#[derive(Debug)]
struct Directory {
    path: Vec<u8>,
    /// Whether everything in it is taken.
    taken: bool,
}

impl Walk<'_> {
    /// Finds everything that is wanted below a directory: one level after the other, its directories shared out.
    pub(super) fn below(&self, start: Vec<u8>) -> Found {
        let mut all = Found::default();
        let mut level = vec![Directory { path: start, taken: false }];
        while !level.is_empty() && all.entries.len() <= self.limit {
            for found in self.level(&level) {
                all.entries.extend(found.entries);
                all.special.extend(found.special);
                all.unreadable.extend(found.unreadable);
                all.below.extend(found.below);
            }
            level = std::mem::take(&mut all.below);
        }
        all
    }

    fn level(&self, level: &[Directory]) -> Vec<Found> {
        let walked = AtomicUsize::new(0);
        let start = || (Found::default(), Vec::with_capacity(NAMES));
        let walk = |(mut found, mut buffer): (Found, Vec<u8>), directory: &Directory| {
            if walked.load(Ordering::Relaxed) <= self.limit {
                let before = found.entries.len();
                self.directory(directory, buffer.spare_capacity_mut(), &mut found);
                walked.fetch_add(found.entries.len() - before, Ordering::Relaxed);
            }
            (found, buffer)
        };
        level.par_iter().fold(start, walk).map(|(found, _)| found).collect()
    }

    /// Takes what is in a directory: all of it or, if it cannot be listed to its end, nothing.
    fn directory(&self, directory: &Directory, buffer: &mut [MaybeUninit<u8>], found: &mut Found) {
        let before = (found.entries.len(), found.special.len(), found.below.len());
        let Err(error) = self.list(directory, buffer, found) else { return };
        found.entries.truncate(before.0);
        found.special.truncate(before.1);
        found.below.truncate(before.2);
        if error.kind() != ErrorKind::NotFound {
            found.unreadable.push((directory.path.clone(), error));
        }
    }

    fn list(&self, directory: &Directory, buffer: &mut [MaybeUninit<u8>], found: &mut Found) -> io::Result<()> {
        let handle = self.root.directory(&directory.path)?;
        let mut names = RawDir::new(&handle, buffer);
        while let Some(name) = names.next() {
            let name = name?;
            let name = name.file_name().to_bytes();
            // What cannot be looked at has vanished.
            if name != b"."
                && name != b".."
                && let Ok(meta) = meta_at(&handle, name)
            {
                self.path(join(&directory.path, name), meta, directory.taken, found);
            }
        }
        Ok(())
    }

    fn path(&self, path: Vec<u8>, meta: Meta, taken: bool, found: &mut Found) {
        if path.starts_with(RESERVED) || self.patterns.exclude(&path) {
            return;
        }
        let taken = taken || (self.wanted)(as_path(&path));
        // Its directory can be listed, but no restore takes such a path.
        if path.len() > MAX_PATH {
            if taken {
                found.unreadable.push((path, Errno::NAMETOOLONG.into()));
            }
            return;
        }
        if meta.kind == Kind::Directory {
            found.below.push(Directory { path: path.clone(), taken });
        }
        match meta.kind {
            _ if !taken => {}
            Kind::Special => found.special.push(Entry { path, meta }),
            _ => found.entries.push(Entry { path, meta }),
        }
    }
}
