//! Reading files into a manifest, on a thread that may block.

use std::{
    borrow::Cow,
    collections::HashMap,
    fs::File,
    io::{self, ErrorKind, Read as _},
    sync::Arc,
};

use rustix::fs::{Mode, OFlags, openat, readlinkat};

use crate::{
    chunk,
    confined::{Kind, Meta, Root, meta_at},
    deadline::Deadline,
    error::Error,
    manifest::{Chunk, Manifest, Node, Record, show},
    options::Progress,
    pack::{Packed, Packer},
    select::Selected,
};

/// Reads what was selected.
pub(super) struct Reader {
    pub(super) root: Arc<Root>,
    pub(super) selected: Arc<Selected>,
    pub(super) deadline: Deadline,
    pub(super) progress: Progress,
}

/// What was read: a manifest whose packs were all sent, and what is not in it.
pub(super) struct Output {
    pub(super) manifest: Manifest,
    pub(super) warnings: Vec<String>,
}

/// What is at a path.
enum Found {
    Directory,
    File { size: u64, chunks: Vec<Chunk> },
    Symlink(Vec<u8>),
    Link(Vec<u8>),
}

/// Why a file is not saved, though the save goes on.
enum Trouble {
    /// This file only.
    Skip(String),
    /// Packs can no longer be sent.
    Stop(io::Error),
}

impl Reader {
    /// Reads every file and gives the manifest; `send` takes the packs.
    pub(super) fn read(&self, base: &Manifest, send: impl FnMut(Packed) -> io::Result<()>) -> Result<Output, Error> {
        let stopped = |error| Error::file("pack", "files", error);
        let mut packer = Packer::new(base, send).map_err(stopped)?;
        let (mut manifest, mut warnings, mut linked) = (Manifest::default(), Vec::new(), HashMap::new());
        self.progress.begin(self.selected.entries.values().map(Meta::file_size).sum());
        for (path, meta) in &self.selected.entries {
            self.deadline.check("save the cache")?;
            match self.node(path, meta, &mut linked, &mut packer) {
                Ok((meta, found)) => manifest.push(&record(path, &meta, &found)),
                Err(Trouble::Skip(reason)) => warnings.push(format!("{}: {reason}", show(path))),
                Err(Trouble::Stop(error)) => return Err(stopped(error)),
            }
        }
        Ok(Output { manifest: packer.finish(manifest).map_err(stopped)?, warnings })
    }

    /// Reads what is at a path, with the metadata that its content had.
    fn node<Send: FnMut(Packed) -> io::Result<()>>(
        &self,
        path: &[u8],
        meta: &Meta,
        linked: &mut HashMap<((u32, u32), u64), Vec<u8>>,
        packer: &mut Packer<Send>,
    ) -> Result<(Meta, Found), Trouble> {
        match meta.kind {
            Kind::Directory => Ok((*meta, Found::Directory)),
            Kind::Symlink => self.symlink(path, meta),
            Kind::Special => Err(Trouble::Skip("is a socket, a device or a pipe and is left out".into())),
            Kind::File => {
                let identity = (meta.device, meta.inode);
                if let Some(to) = linked.get(&identity) {
                    return Ok((*meta, Found::Link(to.clone())));
                }
                let read = self.file(path, packer)?;
                if meta.links > 1 {
                    linked.insert(identity, path.to_vec());
                }
                Ok(read)
            }
        }
    }

    fn symlink(&self, path: &[u8], meta: &Meta) -> Result<(Meta, Found), Trouble> {
        let read = self.root.parent(path).and_then(|(parent, name)| Ok(readlinkat(parent, name, Vec::new())?));
        match read {
            Ok(target) => Ok((*meta, Found::Symlink(target.into_bytes()))),
            Err(error) => Err(skip(&error)),
        }
    }

    /// Reads a file that stays the same meanwhile; one that changes gets a second chance.
    fn file<Send: FnMut(Packed) -> io::Result<()>>(
        &self,
        path: &[u8],
        packer: &mut Packer<Send>,
    ) -> Result<(Meta, Found), Trouble> {
        for _ in 0..2 {
            if let Some(read) = self.try_file(path, packer)? {
                return Ok(read);
            }
        }
        Err(Trouble::Skip("keeps changing while it is read and is left out".into()))
    }

    fn try_file<Send: FnMut(Packed) -> io::Result<()>>(
        &self,
        path: &[u8],
        packer: &mut Packer<Send>,
    ) -> Result<Option<(Meta, Found)>, Trouble> {
        let (file, before) = self.open(path).map_err(|error| skip(&error))?;
        if before.kind != Kind::File {
            return Err(Trouble::Skip("is no longer a file and is left out".into()));
        }
        let (mut chunks, mut stopped): (Vec<Chunk>, _) = (Vec::new(), false);
        // One byte more than it had shows that it grows, and a file that never ends is left.
        let size = chunk::cut((&file).take(before.size + 1), |content| {
            self.deadline.check("save the cache").map_err(io::Error::other)?;
            self.progress.add(content.len() as u64);
            match packer.add(content) {
                Ok(chunk) => chunks.push(chunk),
                Err(error) => {
                    stopped = true;
                    return Err(error);
                }
            }
            Ok(())
        });
        match size {
            Err(error) if stopped => Err(Trouble::Stop(error)),
            Err(error) => Err(skip(&error)),
            Ok(size) => {
                let after = meta_at(&file.into(), b"").map_err(|error| skip(&error))?;
                let same = after == before && size == before.size;
                Ok(same.then_some((before, Found::File { size, chunks })))
            }
        }
    }

    /// Opens a file, whatever has taken its place meanwhile: neither a link nor a pipe leads or holds us anywhere.
    fn open(&self, path: &[u8]) -> io::Result<(File, Meta)> {
        let (parent, name) = self.root.parent(path)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let handle = openat(parent, name, flags, Mode::empty())?;
        let meta = meta_at(&handle, b"")?;
        Ok((handle.into(), meta))
    }
}

fn skip(error: &io::Error) -> Trouble {
    Trouble::Skip(match error.kind() {
        ErrorKind::NotFound => "vanished while the cache was saved".into(),
        _ => format!("cannot be read and is left out: {error}"),
    })
}

fn record<'a>(path: &'a [u8], meta: &Meta, found: &'a Found) -> Record<'a> {
    let node = match found {
        Found::Directory => Node::Directory,
        Found::File { size, chunks } => Node::File { size: *size, chunks: chunks.into(), holes: Cow::default() },
        Found::Symlink(target) => Node::Symlink { target },
        Found::Link(to) => Node::Link { to },
    };
    let Meta { mode, uid, gid, mtime, .. } = *meta;
    Record { path, mode, uid, gid, mtime, attributes: Vec::new(), node }
}
