//! Owners, modes, times and attributes.

use std::{io, os::fd::AsFd};

use rustix::{
    fs::{
        AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, fchmod, fsetxattr, futimens,
        openat, unlinkat,
    },
    io::Errno,
};

use crate::{
    confined::{Root, meta_at},
    manifest::Record,
};

/// Bits that make a program run as somebody else.
pub(super) const SETUID: u32 = 0o6000;

/// What the system makes of something new in a directory: what need not be set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fresh {
    /// The bits of a mode that pass the process's mask or the directory's access control list.
    mask: u32,
    /// What directories inherit.
    inherited: u32,
    pub(super) owner: (u32, u32),
}

impl Fresh {
    /// Tries it out with a file.
    pub(super) fn of(tree: &Root) -> io::Result<Self> {
        let (name, flags) = (&b"probe"[..], OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC);
        let probe = openat(tree.handle(), name, flags, Mode::from_raw_mode(0o777))?;
        let (file, directory) = (meta_at(&probe, b"")?, meta_at(tree.handle(), b"")?);
        unlinkat(tree.handle(), name, AtFlags::empty())?;
        let inherited = directory.mode & 0o7000;
        Ok(Self { mask: file.mode & 0o777, inherited, owner: (file.uid, file.gid) })
    }

    /// Gives the mode that a file has which was made with this one.
    pub(super) fn file(&self, mode: u32) -> u32 {
        mode & self.mask
    }

    /// Gives the mode that a directory has which was made with this one.
    pub(super) fn directory(&self, mode: u32) -> u32 {
        mode & self.mask | self.inherited
    }
}

pub(super) fn times(record: &Record<'_>) -> Timestamps {
    modified(record.mtime)
}

/// The time of modification alone, of seconds and nanoseconds.
pub(super) fn modified((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let mtime = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: omit, last_modification: mtime }
}

pub(super) fn owner(record: &Record<'_>) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(record.uid)), Some(Gid::from_raw(record.gid)))
}

/// Sets the mode if it is another than `has`, then attributes, then the time. The owner comes before: a change of owner
/// takes bits of the mode, and capabilities.
pub(super) fn finish(handle: impl AsFd, record: &Record<'_>, mode: u32, has: u32, special: bool) -> io::Result<()> {
    if mode != has {
        fchmod(&handle, Mode::from_raw_mode(mode))?;
    }
    if special {
        for (name, value) in &record.attributes {
            fsetxattr(&handle, *name, value, XattrFlags::empty()).map_err(|error| about(name, error))?;
        }
    }
    Ok(futimens(&handle, &times(record))?)
}

pub(super) fn about(name: &[u8], error: Errno) -> io::Error {
    io::Error::new(io::Error::from(error).kind(), format!("attribute {}: {error}", name.escape_ascii()))
}
