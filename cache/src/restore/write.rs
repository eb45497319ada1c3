//! Writing a manifest's tree into a staging directory.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use rustix::{
    fs::{
        AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chownat, fchmod, fchown, fstatvfs,
        ftruncate, futimens, linkat, mkdirat, openat, symlinkat, utimensat,
    },
    io::Errno,
    process::{getegid, geteuid},
};

use super::{
    apply::apply,
    plan::{Plan, Run},
    staging::Staging,
};
use crate::{
    confined::{Root, split},
    deadline::Deadline,
    digest::Digest,
    error::Error,
    manifest::{Manifest, Node, Record, show},
    options::RestoreOptions,
    pack::open_frame,
};

/// Bits that make a program run as somebody else.
const SETUID: u32 = 0o6000;

/// Writes one manifest's tree; several threads may do so at once.
#[derive(Debug)]
pub(super) struct Writer {
    manifest: Arc<Manifest>,
    staging: Staging,
    options: RestoreOptions,
    deadline: Deadline,
    /// For each record, the chunks that are still missing.
    missing: Vec<AtomicU32>,
    /// Whether this process may give files away.
    chown: bool,
    dropped: AtomicU64,
    disowned: AtomicBool,
}

impl Writer {
    pub(super) fn new(manifest: Arc<Manifest>, staging: Staging, options: RestoreOptions, deadline: Deadline) -> Self {
        let chunks = |record: Record<'_>| match &record.node {
            Node::File { chunks, .. } => AtomicU32::new(u32::try_from(chunks.len()).unwrap_or(u32::MAX)),
            _ => AtomicU32::new(0),
        };
        let missing = manifest.records().map(chunks).collect();
        let chown = geteuid().is_root();
        let (dropped, disowned) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { manifest, staging, options, deadline, missing, chown, dropped, disowned }
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Makes everything that needs no content: directories, links, empty files.
    pub(super) fn prepare(&self) -> Result<(), Error> {
        self.check_space()?;
        let (mut parent, mut implied) = (Vec::new(), 0);
        for record in self.manifest.records() {
            self.deadline.check("restore the cache")?;
            implied += self.prepare_record(&record, &mut parent).map_err(|error| failed("make", &record, error))?;
            if implied > self.options.limits.entries {
                let what = format!("{implied} directories that lead to files");
                return Err(Error::Limit { what, limit: self.options.limits.entries });
            }
        }
        Ok(())
    }

    fn check_space(&self) -> Result<(), Error> {
        let tree = self.staging.tree().handle();
        let space = fstatvfs(tree).map_err(|error| Error::file("look at the disk of", "the target", error))?;
        let (free, needed) = (space.f_bavail.saturating_mul(space.f_frsize), self.manifest.totals().bytes);
        // A file system without blocks does not know its space.
        if space.f_blocks > 0 && needed > free {
            return Err(Error::Limit {
                what: format!("cache of {needed} bytes on a disk with less free space"),
                limit: free,
            });
        }
        Ok(())
    }

    /// Gives how many directories that are not in the manifest it had to make. `made` is the last parent.
    fn prepare_record(&self, record: &Record<'_>, made: &mut Vec<u8>) -> io::Result<u64> {
        let tree = self.staging.tree();
        let (parent, name) = split(record.path);
        let mut implied = 0;
        if parent != made.as_slice() {
            implied = make_parents(tree, parent)?;
            *made = parent.to_vec();
        }
        self.make(record, &tree.directory(parent)?, name).map(|()| implied)
    }

    fn make(&self, record: &Record<'_>, directory: &OwnedFd, name: &[u8]) -> io::Result<()> {
        match &record.node {
            Node::Directory => match mkdirat(directory, name, Mode::RWXU) {
                Err(Errno::EXIST) => Ok(()),
                made => Ok(made?),
            },
            // All of it is holes, or nothing.
            Node::File { chunks, .. } if chunks.is_empty() => self.set_file(&create(directory, name)?, record),
            Node::Symlink { target } => {
                symlinkat(*target, directory, name)?;
                self.own(|uid, gid| chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW), record);
                Ok(utimensat(directory, name, &times(record), AtFlags::SYMLINK_NOFOLLOW)?)
            }
            Node::Device { .. } => Err(Errno::PERM.into()),
            Node::File { .. } | Node::Link { .. } => Ok(()),
        }
    }

    /// Verifies and writes what a run of a pack (`stored`) has for us.
    pub(super) fn write_run(&self, plan: &Plan, run: &Run, stored: &[u8], object: &str) -> Result<(), Error> {
        for wanted in &run.frames {
            let frame = &self.manifest.frames[wanted.frame as usize];
            let start = (frame.offset - run.start) as usize;
            let content = open_frame(frame, &stored[start..start + frame.size as usize])
                .map_err(|reason| Error::damaged(object, reason))?;
            for piece in &plan.pieces[wanted.pieces.clone()] {
                self.deadline.check("restore the cache")?;
                let record = self.manifest.record(piece.record as usize);
                let Node::File { chunks, .. } = &record.node else { continue };
                let chunk = &chunks[piece.chunk as usize];
                let bytes = &content[chunk.offset as usize..][..chunk.length as usize];
                if Digest::of(bytes) != chunk.digest {
                    return Err(Error::damaged(object, "a chunk does not have the content of its digest"));
                }
                self.write_piece(piece.record, piece.at, bytes).map_err(|error| failed("write", &record, error))?;
            }
        }
        Ok(())
    }

    fn write_piece(&self, number: u32, at: u64, bytes: &[u8]) -> io::Result<()> {
        let record = self.manifest.record(number as usize);
        let (parent, name) = self.staging.tree().parent(record.path)?;
        let file = create(&parent, name)?;
        // What is all zeros stays a hole.
        if bytes.iter().any(|byte| *byte != 0) {
            file.write_all_at(bytes, at)?;
        }
        self.options.progress.add(bytes.len() as u64);
        // The last one to write finishes the file, whichever chunk it has.
        if self.missing[number as usize].fetch_sub(1, Ordering::AcqRel) == 1 {
            self.set_file(&file, &record)
        } else {
            Ok(())
        }
    }

    /// Completes the tree in its staging directory.
    pub(super) fn complete(&self) -> Result<(), Error> {
        self.check_complete()?;
        self.make_links()?;
        self.set_directories(self.staging.tree(), Mode::RWXU)
    }

    /// Renames the tree into a directory; gives warnings.
    pub(super) fn commit(&self, target: &Root) -> Result<Vec<String>, Error> {
        apply(&self.staging, target)?;
        let mut warnings = Vec::new();
        // Renames have changed times, and only now may a directory become read-only.
        if let Err(error) = self.set_directories(target, Mode::empty()) {
            warnings.push(format!("not all directories have their mode and time: {error}"));
        }
        match self.dropped.load(Ordering::Relaxed) {
            0 => {}
            count => warnings.push(format!("setuid and setgid bits were dropped from {count} files or directories")),
        }
        if self.disowned.load(Ordering::Relaxed) {
            warnings.push("not all files could be given to their owners".into());
        }
        Ok(warnings)
    }

    fn check_complete(&self) -> Result<(), Error> {
        match self.missing.iter().position(|missing| missing.load(Ordering::Acquire) != 0) {
            None => Ok(()),
            Some(at) => Err(failed("complete", &self.manifest.record(at), io::ErrorKind::UnexpectedEof.into())),
        }
    }

    fn make_links(&self) -> Result<(), Error> {
        let tree = self.staging.tree();
        for record in self.manifest.records() {
            let Node::Link { to } = record.node else { continue };
            let link = || {
                let ((from, old), (parent, name)) = (tree.parent(to)?, tree.parent(record.path)?);
                Ok(linkat(from, old, parent, name, AtFlags::empty())?)
            };
            link().map_err(|error| failed("link", &record, error))?;
        }
        Ok(())
    }

    /// Gives directories their owners, modes and times, those inside first. `extra` is added to each mode.
    fn set_directories(&self, root: &Root, extra: Mode) -> Result<(), Error> {
        for record in self.manifest.records().rev().filter(|record| record.node == Node::Directory) {
            let set = || {
                let handle = root.directory(record.path)?;
                self.own(|uid, gid| fchown(&handle, Some(uid), Some(gid)), &record);
                fchmod(&handle, Mode::from_raw_mode(self.mode(&record)) | extra)?;
                Ok(futimens(&handle, &times(&record))?)
            };
            set().map_err(|error| failed("finish", &record, error))?;
        }
        let count = |record: &Record<'_>| {
            matches!(record.node, Node::Directory | Node::File { .. }) && record.mode & SETUID != 0
        };
        if !self.options.keep_setuid {
            self.dropped.store(self.manifest.records().filter(count).count() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Gives a file its size, owner, mode and time, in this order: a change of owner takes bits of the mode.
    fn set_file(&self, file: &File, record: &Record<'_>) -> io::Result<()> {
        if let Node::File { size, .. } = record.node {
            ftruncate(file, size)?;
        }
        let owned = self.own(|uid, gid| fchown(file, Some(uid), Some(gid)), record);
        let mode = if owned { self.mode(record) } else { self.mode(record) & !SETUID };
        fchmod(file, Mode::from_raw_mode(mode))?;
        Ok(futimens(file, &times(record))?)
    }

    fn mode(&self, record: &Record<'_>) -> u32 {
        if self.options.keep_setuid { record.mode } else { record.mode & !SETUID }
    }

    /// Gives something to its owner where this process may; gives whether it is theirs now.
    fn own(&self, chown: impl FnOnce(Uid, Gid) -> rustix::io::Result<()>, record: &Record<'_>) -> bool {
        if !self.chown {
            return record.uid == geteuid().as_raw() && record.gid == getegid().as_raw();
        }
        let owned = chown(Uid::from_raw(record.uid), Gid::from_raw(record.gid)).is_ok();
        self.disowned.fetch_or(!owned, Ordering::Relaxed);
        owned
    }
}

/// Makes the directories that lead to a path and are missing, as `mkdir -p` would; gives how many.
fn make_parents(tree: &Root, path: &[u8]) -> io::Result<u64> {
    let mut made = 0;
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    for end in slashes.chain((!path.is_empty()).then_some(path.len())) {
        let (parent, name) = tree.parent(&path[..end])?;
        match mkdirat(parent, name, Mode::from_raw_mode(0o777)) {
            Ok(()) => made += 1,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(made)
}

/// Opens a file for writing, made if it is missing; never through a link.
fn create(parent: &impl std::os::fd::AsFd, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?.into())
}

fn times(record: &Record<'_>) -> Timestamps {
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let mtime = Timespec { tv_sec: record.mtime.0, tv_nsec: record.mtime.1.into() };
    Timestamps { last_access: omit, last_modification: mtime }
}

fn failed(action: &'static str, record: &Record<'_>, error: io::Error) -> Error {
    Error::file(action, show(record.path), error)
}
