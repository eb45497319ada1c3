//! What can be done only when everything is there: links, directories' times.

use std::io;

use rustix::fs::{AtFlags, fchown, linkat, utimensat};

use super::{
    dress::{finish, owner, times},
    write::{Writer, failed},
};
use crate::{
    confined::{Handles, Root, meta_at},
    error::Error,
    manifest::{Node, Record},
    stat_record::Stat,
};

impl Writer {
    /// Completes the tree in its staging directory.
    pub(super) fn complete(&self) -> Result<(), Error> {
        if let Some(at) = self.first_missing() {
            return Err(failed("complete", &self.manifest().record(at), io::ErrorKind::UnexpectedEof.into()));
        }
        self.make_links()?;
        self.each(&self.places.directories, |handles, at| {
            let record = self.manifest().record(*at);
            self.complete_directory(&record, handles).map_err(|error| failed("finish", &record, error))
        })
    }

    fn make_links(&self) -> Result<(), Error> {
        let tree = self.tree();
        let (mut sources, mut targets) = (Handles::new(tree), Handles::new(tree));
        for at in &self.places.links {
            let record = self.manifest().record(*at);
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
        if self.is_own(record) && mode == self.given(mode & 0o777, record) && !self.has_attributes(record) {
            let (parent, name) = handles.parent(record.path)?;
            return Ok(utimensat(parent, name, &times(record), AtFlags::SYMLINK_NOFOLLOW)?);
        }
        self.set_directory(self.tree(), record, 0o700)
    }

    fn has_attributes(&self, record: &Record<'_>) -> bool {
        self.options.special && !record.attributes.is_empty()
    }

    /// Sets everything of a directory; `extra` is added to its mode.
    pub(super) fn set_directory(&self, root: &Root, record: &Record<'_>, extra: u32) -> io::Result<()> {
        let handle = root.directory(record.path)?;
        let (uid, gid) = owner(record);
        if self.chown && fchown(&handle, uid, gid).is_err() {
            self.disown();
        }
        let unknown = u32::MAX;
        finish(handle, record, self.mode(record) | extra, unknown, self.options.special)
    }

    /// Tells what every file of the complete tree looks like, as a stat record says it. Only its own rename changes
    /// that, and of what has several names, the links that were made after it was looked at.
    pub(super) fn stats(&self) -> Vec<Option<Stat>> {
        let mut stats: Vec<_> = self.looks.iter().map(|look| look.get().copied()).collect();
        let mut handles = Handles::new(self.tree());
        for at in &self.places.links {
            let Node::Link { to } = self.manifest().record(*at).node else { continue };
            let look = handles.parent(to).and_then(|(parent, name)| meta_at(parent, name));
            let stat = look.ok().and_then(|meta| Stat::of(&meta));
            stats[*at] = stat;
            if let Some(first) = self.manifest().find(to) {
                stats[first] = stat;
            }
        }
        stats
    }
}
