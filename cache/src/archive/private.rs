//! A temporary directory that nobody else can look into.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use tempfile::TempDir;

use crate::error::Error;

/// A directory of mode 0700; removed with everything in it when dropped.
#[derive(Debug)]
pub(super) struct Private(TempDir);

impl Private {
    pub(super) fn new(parent: &Path) -> Result<Self, Error> {
        let made = tempfile::Builder::new()
            .prefix("warmstart-cache-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent);
        made.map(Self).map_err(|error| Error::file("make a temporary directory in", parent, error))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Private {
    /// Opens up directories that even their owner may not write, so that all of them can be removed.
    fn drop(&mut self) {
        let _ = open_up(self.path());
    }
}

fn open_up(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}
