//! What callers may choose and what they get to know.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Serialize;

use crate::{scope::Key, stat_record::Records};

/// What a cache may hold; beyond it nothing is saved, and nothing restored.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Files, directories and links together.
    pub entries: u64,
}

impl Limits {
    /// No limit but those of the format.
    pub(crate) const NONE: Self = Self { bytes: u64::MAX, entries: u64::MAX };
}

impl Default for Limits {
    /// 100 GiB in a million entries.
    fn default() -> Self {
        Self { bytes: 100 << 30, entries: 1_000_000 }
    }
}

/// How far a save or restore has come, to be read from anywhere while it runs.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<(AtomicU64, AtomicU64)>);

impl Progress {
    /// Gives the bytes done and the bytes in all; both are 0 until the amount is known.
    #[must_use]
    pub fn get(&self) -> (u64, u64) {
        (self.0.0.load(Ordering::Relaxed), self.0.1.load(Ordering::Relaxed))
    }

    pub(crate) fn begin(&self, total: u64) {
        self.0.0.store(0, Ordering::Relaxed);
        self.0.1.store(total, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.0.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// How to restore.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// After this long it is a miss.
    pub deadline: Duration,
    /// A cache beyond these is a miss.
    pub limits: Limits,
    /// Keep setuid and setgid bits instead of dropping them with a warning.
    pub keep_setuid: bool,
    /// Restore extended attributes, capabilities and the 0:0 devices of overlay file systems: for trees of the agent's
    /// own choosing, never for what a job may have written. Without it a cache with a device is a miss, and attributes
    /// are dropped with a warning.
    pub special: bool,
    /// Patterns as in [`Selection::paths`], for the paths of the cache: what they name is restored, and nothing else.
    /// Everything, if there are none.
    pub paths: Vec<String>,
    /// Where to note what the files look like, so that the next save need not read and send them.
    pub records: Option<Records>,
    /// The key of that save, if it is not the first of the keys.
    pub asked: Option<Key>,
    /// Counts the bytes written.
    pub progress: Progress,
}

impl Default for RestoreOptions {
    /// Ten minutes, the usual limits, no setuid, nothing special, all paths, no record.
    fn default() -> Self {
        Self {
            deadline: Duration::from_mins(10),
            limits: Limits::default(),
            keep_setuid: false,
            special: false,
            paths: Vec::new(),
            records: None,
            asked: None,
            progress: Progress::default(),
        }
    }
}

/// What a restore came to. That nothing was found, or that it was damaged, is an answer and no error.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Restored {
    /// Whether the directory now has the cache's files. If not, it is as it was.
    pub hit: bool,
    /// The key that was found.
    pub key: Option<String>,
    /// Whether it was the first of the keys.
    pub exact: bool,
    /// Files restored, links included, directories not.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why nothing was restored, or why it was not the first key; one line.
    pub reason: Option<String>,
    /// What is not quite as it was saved; one line each.
    pub warnings: Vec<String>,
    /// Why a key gave nothing, for each that did not, in their order; one line each.
    #[serde(skip)]
    pub misses: Vec<String>,
}

/// What to save, relative to the directory.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Paths and globs (`*`, `**`, `?`, `[…]`, `{a,b}`); `!` in front excludes. A name that exists literally is
    /// that file or directory, whatever characters it has.
    pub paths: Vec<String>,
    /// Files to save as well, such as those git does not track; exclusions apply to them too.
    pub untracked: Vec<PathBuf>,
}

/// How to save.
#[derive(Clone, Debug)]
pub struct SaveOptions {
    /// After this long the save is given up.
    pub deadline: Duration,
    /// More than this is not saved.
    pub limits: Limits,
    /// Save extended attributes, capabilities and the 0:0 devices of overlay file systems: for trees of the agent's own
    /// choosing. Without it devices are left out with a warning, and attributes silently.
    pub special: bool,
    /// Where to find what a restore or save noted of these files: what did not change is neither read nor sent.
    pub records: Option<Records>,
    /// Counts the bytes read.
    pub progress: Progress,
}

impl Default for SaveOptions {
    /// Ten minutes, the usual limits, nothing special, everything is sent.
    fn default() -> Self {
        Self {
            deadline: Duration::from_mins(10),
            limits: Limits::default(),
            special: false,
            records: None,
            progress: Progress::default(),
        }
    }
}

/// What a save came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Saved {
    /// Whether the key now gives these files.
    pub saved: bool,
    /// The key.
    pub key: String,
    /// Files saved, links included, directories not.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes sent to the store.
    pub sent: u64,
    /// Why nothing was saved or sent; one line.
    pub reason: Option<String>,
    /// What is not in the cache though it was named or found; one line each.
    pub warnings: Vec<String>,
}
