//! Objects as files below a directory, private to the user who made it.
//!
//! A write goes to a temporary file below `.tmp`, is synced, and appears by rename (or by link, when it must not
//! replace anything), so a crash leaves whole objects and perhaps a temporary file, removed a day later. Every
//! writer holds a shared lock on `.lock` while its object appears; [`Store::put_if_match`] holds it alone, from
//! comparing to replacing. So several threads and processes may use one directory.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    ops::Range,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};
use walkdir::WalkDir;

use super::{Entry, Error, Etag, Object, Store, check_key, check_prefix};
use crate::digest::Digest;

/// A temporary file this old belongs to a process that is gone.
const STALE: Duration = Duration::from_hours(24);

/// A store below one directory of this machine.
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// Opens the store at `root`, making the directory (mode 0700) where it is missing.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, Error> {
        let store = Self { root: root.into() };
        let temporary = store.root.join(".tmp");
        make_directories(&temporary).map_err(|error| Error::file("create store directory", &store.root, error))?;
        remove_stale(&temporary);
        Ok(store)
    }

    /// Runs `work` on a blocking thread.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.unwrap_or_else(|error| Err(Error::file("use store directory", "", io::Error::other(error))))
    }

    fn path(&self, key: &str) -> Result<PathBuf, Error> {
        check_key(key)?;
        Ok(self.root.join(key))
    }

    fn read(&self, key: &str, range: Option<&Range<u64>>) -> Result<Option<Object>, Error> {
        let path = self.path(key)?;
        match read_part(&path, range) {
            Ok((bytes, modified)) => {
                let etag = range.is_none().then(|| etag(&bytes));
                Ok(Some(Object { bytes: bytes.into(), etag, modified: Some(modified) }))
            }
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(Error::file("read object", path, error)),
        }
    }

    /// Writes the object where `how` allows it; gives whether it did.
    fn write(&self, key: &str, bytes: &[u8], how: &How) -> Result<Option<Etag>, Error> {
        let path = self.path(key)?;
        match self.try_write(&path, bytes, how) {
            Ok(true) => Ok(Some(etag(bytes))),
            Ok(false) => Ok(None),
            Err(error) => Err(Error::file("write object", path, error)),
        }
    }

    fn try_write(&self, path: &Path, bytes: &[u8], how: &How) -> io::Result<bool> {
        let parent = path.parent().unwrap_or(&self.root);
        make_directories(parent)?;
        let mut temporary = tempfile::Builder::new().prefix("put-").tempfile_in(self.root.join(".tmp"))?;
        temporary.write_all(bytes)?;
        temporary.as_file().sync_all()?;
        let lock = self.lock(how)?;
        let written = match how {
            How::Always => temporary.persist(path).map(|_| true).map_err(|error| error.error),
            How::Absent => persist_new(&temporary, path),
            How::Match(expected) => match read_part(path, None) {
                Ok((there, _)) if etag(&there) == *expected => {
                    temporary.persist(path).map(|_| true).map_err(|error| error.error)
                }
                Ok(_) => Ok(false),
                Err(error) if is_absent(&error) => Ok(false),
                Err(error) => Err(error),
            },
        }?;
        drop(lock);
        File::open(parent)?.sync_all()?;
        Ok(written)
    }

    fn lock(&self, how: &How) -> io::Result<File> {
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.root.join(".lock"))?;
        let operation = match how {
            How::Match(_) => FlockOperation::LockExclusive,
            _ => FlockOperation::LockShared,
        };
        flock(&file, operation)?;
        Ok(file)
    }

    fn entries(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, Error> {
        check_prefix(prefix)?;
        let start = self.root.join(prefix.rsplit_once('/').map_or("", |(directory, _)| directory));
        let mut entries = Vec::new();
        for found in WalkDir::new(&start).into_iter().filter_entry(|entry| !is_hidden(entry)) {
            match found.map_err(io::Error::from).and_then(|file| self.entry(&file)) {
                Ok(Some(entry)) if entry.key.starts_with(prefix) && entry.key.as_str() > after => entries.push(entry),
                Ok(_) => {}
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(Error::file("list objects below", start, error)),
            }
        }
        entries.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        entries.truncate(limit);
        Ok(entries)
    }

    fn entry(&self, file: &walkdir::DirEntry) -> io::Result<Option<Entry>> {
        if !file.file_type().is_file() {
            return Ok(None);
        }
        let Some(key) = file.path().strip_prefix(&self.root).ok().and_then(Path::to_str) else { return Ok(None) };
        let metadata = file.metadata()?;
        Ok(Some(Entry { key: key.to_owned(), size: metadata.len(), modified: metadata.modified()? }))
    }

    fn renew(&self, key: &str) -> Result<bool, Error> {
        let path = self.path(key)?;
        match OpenOptions::new().write(true).open(&path).and_then(|file| file.set_modified(SystemTime::now())) {
            Ok(()) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(Error::file("touch object", path, error)),
        }
    }

    fn remove(&self, key: &str) -> Result<(), Error> {
        let path = self.path(key)?;
        let removed = self.lock(&How::Always).and_then(|_lock| fs::remove_file(&path));
        match removed {
            Err(error) if !is_absent(&error) => Err(Error::file("remove object", path, error)),
            _ => Ok(()),
        }
    }
}

impl Store for Directory {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Option<Object>, Error> {
        let key = key.to_owned();
        self.run(move |store| store.read(&key, range.as_ref())).await
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<Etag, Error> {
        let key = key.to_owned();
        self.run(move |store| store.write(&key, &bytes, &How::Always).map(|_| etag(&bytes))).await
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Option<Etag>, Error> {
        let key = key.to_owned();
        self.run(move |store| store.write(&key, &bytes, &How::Absent)).await
    }

    async fn put_if_match(&self, key: &str, bytes: Bytes, etag: &Etag) -> Result<Option<Etag>, Error> {
        let (key, how) = (key.to_owned(), How::Match(etag.clone()));
        self.run(move |store| store.write(&key, &bytes, &how)).await
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, Error> {
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        self.run(move |store| store.entries(&prefix, &after, limit)).await
    }

    async fn touch(&self, key: &str) -> Result<bool, Error> {
        let key = key.to_owned();
        self.run(move |store| store.renew(&key)).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        let key = key.to_owned();
        self.run(move |store| store.remove(&key)).await
    }
}

/// When a write may happen.
enum How {
    Always,
    Absent,
    Match(Etag),
}

fn etag(bytes: &[u8]) -> Etag {
    Etag(Digest::of(bytes).to_string())
}

/// Makes a directory and its parents, private to this user.
fn make_directories(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn persist_new(temporary: &tempfile::NamedTempFile, path: &Path) -> io::Result<bool> {
    match fs::hard_link(temporary.path(), path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn read_part(path: &Path, range: Option<&Range<u64>>) -> io::Result<(Vec<u8>, SystemTime)> {
    let mut file = File::open(path)?;
    let modified = file.metadata()?.modified()?;
    let mut bytes = Vec::new();
    match range {
        None => file.read_to_end(&mut bytes)?,
        Some(range) => {
            file.seek(SeekFrom::Start(range.start))?;
            file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes)?
        }
    };
    Ok((bytes, modified))
}

/// Nothing is stored there: no such file, or a key that goes on below it.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory)
}

fn is_hidden(entry: &walkdir::DirEntry) -> bool {
    entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".")
}

/// Removes what writers that were killed have left behind. Nothing depends on it, so trouble here is none.
fn remove_stale(temporary: &Path) {
    let Ok(files) = fs::read_dir(temporary) else { return };
    for file in files.flatten() {
        let age =
            file.metadata().and_then(|metadata| metadata.modified()).map(|time| SystemTime::now().duration_since(time));
        if matches!(age, Ok(Ok(age)) if age > STALE) {
            let _ = fs::remove_file(file.path());
        }
    }
}
