//! One runner at a time per directory.

use super::Error;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Holds a directory for this process; the system lets go of it however the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the directory, or fails at once when another runner has it.
    pub fn take(directory: &Path) -> Result<Self, Error> {
        let failed =
            |why: &dyn std::fmt::Display| Error::Lock(format!("cannot use directory {}: {why}", directory.display()));
        std::fs::create_dir_all(directory).map_err(|why| failed(&why))?;
        let path = directory.join(".runner.lock");
        let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
        let file = open.map_err(|why| failed(&why))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(Errno::WOULDBLOCK) => Err(failed(&"another warmstart-runner uses it; stop that one or name another")),
            Err(why) => Err(failed(&why)),
        }
    }

    /// Takes the directory of a `file:///` store; other stores have none.
    pub fn of_store(url: &str) -> Result<Option<Self>, Error> {
        match url.strip_prefix("file://") {
            Some(_) => Self::take(&path_of(url)?).map(Some),
            None => Ok(None),
        }
    }
}

fn path_of(url: &str) -> Result<PathBuf, Error> {
    let parsed = url::Url::parse(url).ok().and_then(|url| url.to_file_path().ok());
    parsed.ok_or_else(|| Error::Lock(format!("`{url}` names no directory of this machine")))
}
