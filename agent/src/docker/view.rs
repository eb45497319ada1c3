//! The files of a container as its own processes see them: what is mounted there is part of it.

use crate::docker::container::Container;
use crate::fault::{Fault, causes};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use std::os::fd::OwnedFd;
use std::path::Path;

/// The root directory of a running container, held open.
#[derive(Debug)]
pub struct View(OwnedFd);

impl View {
    /// Opens it by the container's first process. Only root may.
    pub async fn of(container: &Container) -> Result<Self, Fault> {
        let process = container.process().await?;
        let path = format!("/proc/{process}/root");
        let opened = openat2(CWD, &path, DIRECTORY | OFlags::PATH, Mode::empty(), ResolveFlags::empty());
        opened.map(Self).map_err(|error| Fault::System(format!("cannot open {path}: {}", causes(&error))))
    }

    /// Opens a directory by its path in the container; links on the way are the container's own.
    pub fn directory(&self, path: &Path) -> std::io::Result<OwnedFd> {
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(openat2(&self.0, path, DIRECTORY | OFlags::RDONLY, Mode::empty(), inside)?)
    }
}

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
