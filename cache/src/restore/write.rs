//! A manifest's tree in a staging directory.

use std::{
    collections::HashSet,
    io,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use rustix::{
    fs::{AtFlags, fchown, fstatvfs, linkat, utimensat},
    process::geteuid,
};

use super::{
    apply::{Applied, apply},
    dress::{Fresh, SETUID, finish, owner, times},
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

/// Writes one manifest's tree; several threads may do so at once.
#[derive(Debug)]
pub(super) struct Writer {
    manifest: Arc<Manifest>,
    pub(super) staging: Staging,
    pub(super) options: RestoreOptions,
    deadline: Deadline,
    /// For each record, the chunks that are still missing.
    missing: Vec<AtomicU32>,
    fresh: Fresh,
    /// Whether this process may give files away.
    chown: bool,
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
        let fresh = Fresh::of(staging.tree()).map_err(|error| Error::file("write into the", "target", error))?;
        let chown = geteuid().is_root();
        let (disowned, stopped) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { manifest, staging, options, deadline, missing, fresh, chown, disowned, stopped })
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

    /// Gives a file its owner, mode, attributes and time; it was made with the mode `made`.
    pub(super) fn dress(&self, file: impl AsFd, record: &Record<'_>, made: u32) -> io::Result<()> {
        let owned = self.own(record, || {
            let (uid, gid) = owner(record);
            fchown(&file, uid, gid)
        });
        let wanted = if owned { self.mode(record) } else { self.mode(record) & !SETUID };
        finish(file, record, wanted, self.given(made, record), self.options.special)
    }

    /// Gives something to its owner where it is not theirs already and this process may; gives whether it is theirs
    /// now.
    pub(super) fn own(&self, record: &Record<'_>, chown: impl FnOnce() -> rustix::io::Result<()>) -> bool {
        let owned = (record.uid, record.gid) == self.fresh.owner;
        if owned || !self.chown {
            return owned;
        }
        let owned = chown().is_ok();
        self.disowned.fetch_or(!owned, Ordering::Relaxed);
        owned
    }

    /// Completes the tree in its staging directory.
    pub(super) fn complete(&self) -> Result<(), Error> {
        let missing = self.missing.iter().position(|missing| missing.load(Ordering::Acquire) != 0);
        if let Some(at) = missing {
            return Err(failed("complete", &self.manifest.record(at), io::ErrorKind::UnexpectedEof.into()));
        }
        let mut handles = Handles::new(self.tree());
        self.make_links()?;
        for record in self.manifest.records().rev().filter(|record| record.node == Node::Directory) {
            self.complete_directory(&record, &mut handles).map_err(|error| failed("finish", &record, error))?;
        }
        Ok(())
    }

    fn make_links(&self) -> Result<(), Error> {
        let tree = self.tree();
        let (mut sources, mut targets) = (Handles::new(tree), Handles::new(tree));
        for record in self.manifest.records() {
            let Node::Link { to } = record.node else { continue };
            self.check_time()?;
            let mut link = || {
                let ((from, old), (parent, name)) = (sources.parent(to)?, targets.parent(record.path)?);
                Ok(linkat(from, old, parent, name, AtFlags::empty())?)
            };
            link().map_err(|error| failed("link", &record, error))?;
        }
        Ok(())
    }

    /// Gives a directory its owner, mode, attributes and time, once everything is in it. It stays writable for its
    /// owner until it has been renamed.
    fn complete_directory(&self, record: &Record<'_>, handles: &mut Handles<'_>) -> io::Result<()> {
        let mode = self.mode(record) | 0o700;
        let plain = (record.uid, record.gid) == self.fresh.owner || !self.chown;
        if plain && mode == self.given(mode & 0o777, record) && !self.has_attributes(record) {
            let (parent, name) = handles.parent(record.path)?;
            return Ok(utimensat(parent, name, &times(record), AtFlags::SYMLINK_NOFOLLOW)?);
        }
        self.set_directory(self.tree(), record, 0o700)
    }

    fn has_attributes(&self, record: &Record<'_>) -> bool {
        self.options.special && !record.attributes.is_empty()
    }

    /// Sets everything of a directory; `extra` is added to its mode.
    fn set_directory(&self, root: &Root, record: &Record<'_>, extra: u32) -> io::Result<()> {
        let handle = root.directory(record.path)?;
        let (uid, gid) = owner(record);
        if self.chown && fchown(&handle, uid, gid).is_err() {
            self.disowned.store(true, Ordering::Relaxed);
        }
        let unknown = u32::MAX;
        finish(handle, record, self.mode(record) | extra, unknown, self.options.special)
    }

    /// Renames the tree into a directory; gives warnings.
    pub(super) fn commit(&self, target: &Root) -> Result<Vec<String>, Error> {
        let applied = apply(&self.staging, target)?;
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

    /// Looks at every file of the finished tree: what a stat record says, unless its own rename changes that.
    pub(super) fn look(&self) -> Vec<Option<Stat>> {
        let mut handles = Handles::new(self.tree());
        let mut look = |record: Record<'_>| match record.node {
            Node::File { .. } | Node::Link { .. } => {
                let (parent, name) = handles.parent(record.path).ok()?;
                Stat::of(&meta_at(parent, name).ok()?)
            }
            _ => None,
        };
        self.manifest.records().map(&mut look).collect()
    }
}

pub(super) fn failed(action: &'static str, record: &Record<'_>, error: io::Error) -> Error {
    Error::file(action, show(record.path), error)
}
