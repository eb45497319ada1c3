//! What is kept of an executor's process.

use super::process::Process;
use crate::clock::Time;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

const NAME: &str = "executor.json";

/// `executor.json`.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Record {
    /// When the executor was started.
    pub(super) launched: Time,
    /// The pool it belongs to.
    #[serde(default)]
    pub(super) pool: String,
    /// The process; none until it is there.
    pub(super) process: Option<Process>,
}

impl Record {
    /// Reads the record of a directory; none if it is missing or damaged.
    pub(super) fn read(directory: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(directory.join(NAME)).ok()?).ok()
    }

    /// Writes the record so that a reader sees the old or the new one.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let new = directory.join(".executor.json.new");
        std::fs::write(&new, serde_json::to_vec(self)?)?;
        std::fs::rename(new, directory.join(NAME))
    }
}
