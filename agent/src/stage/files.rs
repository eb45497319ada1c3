//! The project's files, for the stages that work on them without a container: caches and artifacts.

use crate::fault::Fault;
use crate::stage::Execution;
use crate::workspace::Workspace;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A project directory that is held open.
#[derive(Debug)]
pub struct Project {
    /// Its path, as long as this lives.
    pub path: PathBuf,
    _directory: OwnedFd,
}

impl Execution {
    /// The project directory, held open: its path leads there whatever the job does to the names on the way.
    pub fn project(&self) -> std::io::Result<Project> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let confined = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let directory = rustix::fs::openat2(self.builds()?, self.below_builds()?, flags, Mode::empty(), confined)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        Ok(Project { path, _directory: directory })
    }

    /// The project directory, confined. The job may have planted links on the way to it.
    pub fn workspace(&self) -> std::io::Result<Workspace> {
        Workspace::of(self.builds()?).enter(self.below_builds()?)
    }

    /// The builds directory: as the helper container sees it where the host's own view lacks something, else the host's.
    fn builds(&self) -> std::io::Result<OwnedFd> {
        let view = self.prepared.as_ref().and_then(|prepared| prepared.view.as_ref());
        match (view, &self.builds.host) {
            (Some(view), _) => view.directory(Path::new(&self.builds.inside)),
            (None, Some(host)) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                Ok(rustix::fs::open(host, flags, Mode::empty())?)
            }
            (None, None) => Err(std::io::Error::other("only containers see it")),
        }
    }

    fn below_builds(&self) -> std::io::Result<&Path> {
        let below = Path::new(&self.directories.project).strip_prefix(&self.builds.inside);
        below.map_err(|_| std::io::Error::other("the project is not inside the builds directory"))
    }

    /// What a view that cannot be had means: without it, nobody finds the files of a job whose builds are in a volume.
    pub(super) fn without_view(&self, hidden: &[String], fault: &Fault) -> Result<(), Fault> {
        if self.builds.host.is_none() {
            let dest = &self.builds.inside;
            return Err(Fault::Configuration(format!(
                "a volume of Docker's at the builds directory ({dest}) needs an agent that runs as root: {fault}"
            )));
        }
        let paths = hidden.join(", ");
        self.log.warn(&format!(
            "{paths}: volumes inside the project directory, whose files cache and artifacts do not see: {fault}"
        ));
        Ok(())
    }
}
