//! A manifest's tree in a staging directory.

use std::{
    collections::HashSet,
    io,
    os::fd::AsFd,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use rayon::prelude::*;
use rustix::{
    fs::{fchown, fstatvfs},
    process::geteuid,
};

use super::{
    apply::{Applied, apply},
    dress::{Fresh, SETUID, finish, owner},
    places::Places,
    staging::Staging,
};
use crate::{
    confined::{Handles, Root, meta_at},
    deadline::Deadline,
    error::Error,
    manifest::{Manifest, Node, Record, show},
    options::RestoreOptions,
    stat_record::Stat,
};

/// Paths that a thread takes at a time.
const SHARE: usize = 128;

/// Writes one manifest's tree; several threads may do so at once.
#[derive(Debug)]
pub(super) struct Writer {
    manifest: Arc<Manifest>,
    pub(super) staging: Staging,
    pub(super) options: RestoreOptions,
    deadline: Deadline,
    pub(super) places: Places,
    /// For each record, the chunks that are still missing.
    missing: Vec<AtomicU32>,
    /// What each file looked like when it was complete; empty if nobody wants to know.
    pub(super) looks: Vec<OnceLock<Stat>>,
    fresh: Fresh,
    /// Whether this process may give files away.
    pub(super) chown: bool,
    disowned: AtomicBool,
    stopped: AtomicBool,
}

impl Writer {
    pub(super) fn new(
        manifest: Arc<Manifest>,
        staging: Staging,
        options: RestoreOptions,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let chunks = |record: Record<'_>| match &record.node {
            Node::File { chunks, .. } => AtomicU32::new(u32::try_from(chunks.len()).unwrap_or(u32::MAX)),
            _ => AtomicU32::new(0),
        };
        let missing = manifest.records().map(chunks).collect();
        let looks = if options.records.is_some() { manifest.len() } else { 0 };
        let looks = std::iter::repeat_with(OnceLock::new).take(looks).collect();
        let places = Places::of(&manifest);
        let fresh = Fresh::of(staging.tree()).map_err(|error| Error::file("write into the", "target", error))?;
        let chown = geteuid().is_root();
        let (disowned, stopped) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { manifest, staging, options, deadline, places, missing, looks, fresh, chown, disowned, stopped })
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(super) fn tree(&self) -> &Root {
        self.staging.tree()
    }

    /// Tells all workers that it is in vain.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn check_time(&self) -> Result<(), Error> {
        self.deadline.check("restore the cache")
    }

    pub(super) fn count(&self, bytes: u64) {
        self.options.progress.add(bytes);
    }

    /// Counts chunks of a record as written; gives whether nothing of it is missing now.
    pub(super) fn is_last(&self, record: u32, chunks: usize) -> bool {
        let chunks = u32::try_from(chunks).unwrap_or(u32::MAX);
        self.missing[record as usize].fetch_sub(chunks, Ordering::AcqRel) == chunks
    }

    /// Gives the mode that a record shall have if it gets its owner.
    pub(super) fn mode(&self, record: &Record<'_>) -> u32 {
        if self.options.keep_setuid { record.mode } else { record.mode & !SETUID }
    }

    /// Gives the mode that a file or directory has which was made with this one.
    pub(super) fn given(&self, mode: u32, record: &Record<'_>) -> u32 {
        if record.node == Node::Directory { self.fresh.directory(mode) } else { self.fresh.file(mode) }
    }

    pub(super) fn check_space(&self) -> Result<(), Error> {
        let space = fstatvfs(self.tree().handle());
        let space = space.map_err(|error| Error::file("look at the disk of", "the target", error))?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        // Holes take no space.
        let needed: u64 = self.manifest.chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
        // A file system without blocks does not know its space.
        if space.f_blocks > 0 && needed > free {
            return Err(Error::Limit {
                what: format!("cache of {needed} bytes on a disk with less free space"),
                limit: free,
            });
        }
        Ok(())
    }

    /// Gives a complete file its owner, mode, attributes and time, and looks at it; it was made with the mode `made`.
    pub(super) fn finish_file(&self, at: usize, file: impl AsFd, record: &Record<'_>, made: u32) -> io::Result<()> {
        let owned = self.own(record, || {
            let (uid, gid) = owner(record);
            fchown(&file, uid, gid)
        });
        let wanted = if owned { self.mode(record) } else { self.mode(record) & !SETUID };
        finish(&file, record, wanted, self.given(made, record), self.options.special)?;
        if let (Some(look), Some(stat)) =
            (self.looks.get(at), meta_at(&file, b"").ok().and_then(|meta| Stat::of(&meta)))
        {
            let _ = look.set(stat);
        }
        Ok(())
    }

    /// Whether something new belongs to the record's owner, or has to stay as it is.
    pub(super) fn is_own(&self, record: &Record<'_>) -> bool {
        (record.uid, record.gid) == self.fresh.owner || !self.chown
    }

    /// Gives something to its owner where it is not theirs already and this process may; gives whether it is theirs
    /// now.
    pub(super) fn own(&self, record: &Record<'_>, chown: impl FnOnce() -> rustix::io::Result<()>) -> bool {
        let owned = (record.uid, record.gid) == self.fresh.owner;
        if owned || !self.chown {
            return owned;
        }
        let owned = chown().is_ok();
        if !owned {
            self.disown();
        }
        owned
    }

    /// Notes that something could not be given to its owner.
    pub(super) fn disown(&self) {
        self.disowned.store(true, Ordering::Relaxed);
    }

    /// Gives the place of a record that is not complete.
    pub(super) fn first_missing(&self) -> Option<usize> {
        self.missing.iter().position(|missing| missing.load(Ordering::Acquire) != 0)
    }

    /// Does the same to many things on all cores, as long as there is time; neighbours share handles of directories.
    pub(super) fn each<T: Sync>(
        &self,
        items: &[T],
        work: impl Fn(&mut Handles<'_>, &T) -> Result<(), Error> + Sync,
    ) -> Result<(), Error> {
        items.par_chunks(SHARE).try_for_each(|share| {
            let mut handles = Handles::new(self.tree());
            share.iter().try_for_each(|item| self.check_time().and_then(|()| work(&mut handles, item)))
        })
    }

    /// Renames the tree into a directory; gives warnings.
    pub(super) fn commit(&self, target: &Root) -> Result<Vec<String>, Error> {
        let applied = apply(&self.staging, target, !self.options.special)?;
        let mut warnings = self.warnings();
        if let Err(error) = self.finish_directories(target, &applied) {
            warnings.push(format!("not all directories have their mode and time: {error}"));
        }
        Ok(warnings)
    }

    /// Renames change the times of directories, and only after them a directory may become read-only.
    fn finish_directories(&self, target: &Root, applied: &Applied) -> Result<(), Error> {
        let touched: HashSet<_> = applied.merged.iter().chain(&applied.moved).map(Vec::as_slice).collect();
        for record in self.manifest.records().rev().filter(|record| record.node == Node::Directory) {
            if record.mode & 0o700 != 0o700 || touched.contains(record.path) {
                self.set_directory(target, &record, 0).map_err(|error| failed("finish", &record, error))?;
            }
        }
        Ok(())
    }

    /// What is not quite as it was saved.
    fn warnings(&self) -> Vec<String> {
        let count = |is: fn(&Record<'_>) -> bool| self.manifest.records().filter(is).count();
        let setuid = |record: &Record<'_>| {
            matches!(record.node, Node::Directory | Node::File { .. }) && record.mode & SETUID != 0
        };
        let mut warnings = Vec::new();
        match if self.options.keep_setuid { 0 } else { count(setuid) } {
            0 => {}
            count => warnings.push(format!("setuid and setgid bits were dropped from {count} files or directories")),
        }
        match if self.options.special { 0 } else { count(|record| !record.attributes.is_empty()) } {
            0 => {}
            count => warnings.push(format!("extended attributes were dropped from {count} files or directories")),
        }
        if self.disowned.load(Ordering::Relaxed) {
            warnings.push("not all files could be given to their owners".into());
        }
        warnings
    }
}

pub(super) fn failed(action: &'static str, record: &Record<'_>, error: io::Error) -> Error {
    Error::file(action, show(record.path), error)
}
