//! What files looked like when they were known to be what a manifest says.
//!
//! A restore and a save write one; the next save of the same key in the same directory reads it. It need not read
//! a file that still looks the same, nor send what the manifest has. The record lies outside the directory, and
//! outside the reach of a job where the caller can arrange it: who can write it can make a save lie.

use std::{
    fs,
    io::{self, Write as _},
    os::{fd::AsRawFd as _, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    confined::{Kind, Meta, Root},
    deadline::GRACE,
    digest::Digest,
    scope::{Key, Scope},
};

const VERSION: u8 = 1;
/// The kernel's clock for times of files ticks this coarsely, with a margin: what was written so shortly before the
/// record was made may have been written again afterwards and look the same.
const TICK: Duration = Duration::from_millis(20);
/// A larger record is none of ours.
const MAX_SIZE: u64 = 256 << 20;

/// Where stat records are kept, and of which store.
#[derive(Clone, Debug)]
pub struct Records {
    directory: PathBuf,
    store: String,
}

impl Records {
    /// Keeps records in `directory`, made where it is missing. `store` is anything that tells stores apart, such as
    /// the address.
    pub fn new(directory: impl Into<PathBuf>, store: impl Into<String>) -> Self {
        Self { directory: directory.into(), store: store.into() }
    }

    fn path(&self, scope: &Scope, key: &Key, root: &Root) -> io::Result<PathBuf> {
        let target = fs::read_link(format!("/proc/self/fd/{}", root.handle().as_raw_fd()))?;
        let name = [self.store.as_bytes(), scope.to_string().as_bytes(), key.as_str().as_bytes()].join(&0);
        let name = Digest::of(&[&name, target.as_os_str().as_bytes()].join(&0));
        Ok(self.directory.join(name.to_string()))
    }

    /// Forgets the record of a key in a directory: it is about to change.
    pub(crate) fn remove(&self, scope: &Scope, key: &Key, root: &Root) {
        if let Ok(path) = self.path(scope, key, root) {
            let _ = fs::remove_file(path);
        }
    }

    /// Gives the record of a key in a directory, if there is one that can be relied on.
    pub(crate) fn load(&self, scope: &Scope, key: &Key, root: &Root) -> Option<StatRecord> {
        let path = self.path(scope, key, root).ok()?;
        let known = fs::metadata(&path).ok()?.len() <= MAX_SIZE;
        let stored = known.then(|| fs::read(&path).ok()).flatten()?;
        let (digest, body) = stored.split_first_chunk()?;
        let record: StatRecord = (Digest(*digest) == Digest::of(body)).then(|| postcard::from_bytes(body).ok())??;
        let now = Moment::now().ok()?;
        (record.version == VERSION && record.scope == *scope && record.moment.is_recent(&now)).then_some(record)
    }

    /// Writes a record. Nothing depends on it: trouble costs the next save its time.
    pub(crate) fn store(&self, key: &Key, root: &Root, record: &StatRecord) -> io::Result<()> {
        let path = self.path(&record.scope, key, root)?;
        fs::create_dir_all(&self.directory)?;
        remove_old(&self.directory);
        let body = postcard::to_stdvec(record).map_err(io::Error::other)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(&Digest::of(&body).0)?;
        file.write_all(&body)?;
        file.persist(path)?;
        Ok(())
    }
}

/// Removes records that are too old to be relied on.
fn remove_old(directory: &Path) {
    for file in fs::read_dir(directory).into_iter().flatten().flatten() {
        let modified = file.metadata().and_then(|metadata| metadata.modified());
        let age = modified.map(|time| SystemTime::now().duration_since(time).unwrap_or_default());
        if age.is_ok_and(|age| age > GRACE) {
            let _ = fs::remove_file(file.path());
        }
    }
}

/// A manifest whose objects are known to be complete, and what its files looked like.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct StatRecord {
    version: u8,
    scope: Scope,
    /// The key under which the manifest was found: the one that was asked for, or a fallback.
    pub(crate) key: Key,
    pub(crate) manifest: Digest,
    /// When the manifest's ref was written, in seconds since 1970.
    pub(crate) created: i64,
    moment: Moment,
    /// One for each path of the manifest; none for what is no file.
    stats: Vec<Option<Stat>>,
}

impl StatRecord {
    /// Makes the record of a manifest whose files look like this, and looked so at `moment`.
    pub(crate) fn new(
        scope: &Scope,
        key: &Key,
        manifest: Digest,
        created: Timestamp,
        moment: Moment,
        stats: Vec<Option<Stat>>,
    ) -> Self {
        let (scope, key, created) = (scope.clone(), key.clone(), created.as_second());
        Self { version: VERSION, scope, key, manifest, created, moment, stats }
    }

    /// Whether the file of the manifest's path at this place surely has the content that the manifest says.
    pub(crate) fn is_unchanged(&self, at: usize, meta: &Meta) -> bool {
        let latest = self.moment.clock.saturating_sub(i128::try_from(TICK.as_nanos()).unwrap_or(0));
        let settled = nanoseconds(meta.ctime) < latest;
        settled && self.stats.get(at).is_some_and(|known| known.is_some() && *known == Stat::of(meta))
    }
}

/// What tells whether a file was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Stat {
    size: u64,
    mtime: (i64, u32),
    ctime: (i64, u32),
    device: (u32, u32),
    inode: u64,
}

impl Stat {
    pub(crate) fn of(meta: &Meta) -> Option<Self> {
        let Meta { size, mtime, ctime, device, inode, .. } = *meta;
        (meta.kind == Kind::File).then_some(Self { size, mtime, ctime, device, inode })
    }
}

/// A time on two clocks: the one of files, and the one that nobody sets.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Moment {
    /// Nanoseconds since 1970.
    clock: i128,
    /// Which run of the kernel the next is counted in.
    boot: String,
    /// Seconds since the kernel started, sleep included.
    running: i64,
}

impl Moment {
    /// Gives the time. A record's is taken before anybody may write to its files unnoticed: before they are looked
    /// at, or before they are renamed to where others see them.
    pub(crate) fn now() -> io::Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let uptime = fs::read_to_string("/proc/uptime")?;
        let running = uptime.split('.').next().and_then(|seconds| seconds.parse().ok());
        let running = running.ok_or_else(|| io::Error::other("/proc/uptime says no time"))?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        Ok(Self { clock: i128::try_from(since.as_nanos()).map_err(io::Error::other)?, boot, running })
    }

    /// Whether so little time has passed that no collection can have removed what was complete then.
    fn is_recent(&self, now: &Self) -> bool {
        let limit = i64::try_from(GRACE.as_secs() / 2).unwrap_or(i64::MAX);
        self.boot == now.boot && (0..limit).contains(&(now.running - self.running))
    }
}

fn nanoseconds((seconds, rest): (i64, u32)) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(rest)
}
