//! Artifacts: which files, and the archives they travel in (protocol §6.2, §6.3).

mod collect;
mod glob;
mod gzip;
mod pack;
#[cfg(test)]
mod tests;
mod unpack;

pub use collect::{Collected, Message, Severity, Wanted, collect};
pub use unpack::{Extracted, extract};

use crate::workspace::Workspace;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

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

    /// Deflate's level; 0 is no compression at all.
    fn deflate(self) -> u8 {
        match self {
            Self::Fastest => 0,
            Self::Fast => 1,
            Self::Default => 5,
            Self::Slow => 7,
            Self::Slowest => 9,
        }
    }
}

/// The formats of an upload.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(missing_docs, reason = "the words are GitLab's")]
pub enum Format {
    #[default]
    Zip,
    Gzip,
    Raw,
}

impl Format {
    /// The format of that name; a missing one is zip.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "" | "zip" => Self::Zip,
            "gzip" => Self::Gzip,
            "raw" => Self::Raw,
            _ => return None,
        })
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Zip => ".zip",
            Self::Gzip => ".gz",
            Self::Raw => "",
        }
    }
}

/// An archive that cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the workspace.
    #[error(transparent)]
    File(#[from] io::Error),
    /// An entry that cannot be extracted, or must not be.
    #[error("cannot extract {name:?}: {why}")]
    Entry {
        /// The entry's name as the archive has it.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A path that the format has no place for.
    #[error("cannot put {path} into a {format} artifact: it is no regular file")]
    NotRegular {
        /// The path.
        path: String,
        /// The format.
        format: &'static str,
    },
    /// The raw format holds one file.
    #[error("a raw artifact is exactly one file, but {0} were found")]
    NotOne(usize),
    /// What is no zip, or one that ends too early.
    #[error("cannot {verb} the zip archive: {source}")]
    Zip {
        /// What was attempted.
        verb: &'static str,
        /// Why not.
        source: ::zip::result::ZipError,
    },
}

/// The file name of an upload: `name` is the payload's, expanded.
#[must_use]
pub fn file_name(name: Option<&str>, format: Format) -> String {
    let base = match name {
        None => Some("artifacts"),
        Some(name) => Path::new(name).file_name().and_then(|name| name.to_str()),
    };
    base.unwrap_or("default").to_owned() + format.extension()
}

/// Writes an archive of the collected paths. Sockets, devices, pipes and what has vanished meanwhile are skipped by
/// zip and refused by the others.
pub fn write<W: Write + Seek>(
    workspace: &Workspace,
    paths: &[PathBuf],
    format: Format,
    level: Level,
    out: &mut W,
) -> Result<(), Error> {
    match format {
        Format::Zip => pack::zip(workspace, paths, level, out),
        Format::Gzip => gzip::gzip(workspace, paths, level, out),
        Format::Raw => gzip::raw(workspace, paths, out),
    }
}
