//! Artifacts: which files, and the archives they travel in (protocol §6.2, §6.3).

use crate::workspace::Workspace;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;

/// How hard to compress: `ARTIFACT_COMPRESSION_LEVEL`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(missing_docs, reason = "the words are GitLab's")]
pub enum Level {
    Fastest,
    Fast,
    #[default]
    Default,
    Slow,
    Slowest,
}

impl Level {
    /// The level of that name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "fastest" => Self::Fastest,
            "fast" => Self::Fast,
            "default" => Self::Default,
            "slow" => Self::Slow,
            "slowest" => Self::Slowest,
            _ => return None,
        })
    }
}

/// What to collect; all texts are expanded already.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Globs, relative to the project directory or absolute inside it.
    pub paths: Vec<String>,
    /// Globs of what is left out.
    pub exclude: Vec<String>,
    /// What git does not track, when that is wanted too.
    pub untracked: Option<Vec<PathBuf>>,
}

/// How a line about collected files is shown in the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Severity {
    Info,
    Warning,
    Error,
}

/// A line for the job's log.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the words say it")]
pub struct Message {
    pub severity: Severity,
    pub text: String,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// Files, directories and symlinks, relative to the project directory, sorted.
    pub paths: Vec<PathBuf>,
    /// What to tell about it.
    pub messages: Vec<Message>,
}

/// Finds what an artifact or a cache names. `project` is the project directory as the job knows it (`/builds/…`).
#[must_use]
pub fn collect(workspace: &Workspace, project: &str, wanted: &Wanted) -> Collected {
    let _ = (workspace, project, wanted);
    todo!()
}

/// The formats of an upload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the words are GitLab's")]
pub enum Format {
    Zip,
    Gzip,
    Raw,
}

/// The file name of an upload: `name` is the payload's, expanded.
#[must_use]
pub fn file_name(name: Option<&str>, format: Format) -> String {
    let _ = (name, format);
    todo!()
}

/// Writes an archive of the collected paths.
pub fn write(
    workspace: &Workspace,
    paths: &[PathBuf],
    format: Format,
    level: Level,
    out: &mut File,
) -> Result<(), Error> {
    let _ = (workspace, paths, format, level, out);
    todo!()
}

/// What was extracted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Extracted {
    /// Files, directories and symlinks.
    pub entries: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

/// Extracts a zip into the workspace. Existing files are replaced; nothing is written outside.
pub fn extract<R: Read + Seek>(workspace: &Workspace, archive: R) -> Result<Extracted, Error> {
    let _ = (workspace, archive);
    todo!()
}

/// An archive that cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the archive.
    #[error("cannot {verb} {path}")]
    File {
        /// What was attempted.
        verb: &'static str,
        /// On what.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn _unused(_: &mut dyn Write) {}
