//! Objects in this process's memory, for tests and trials.

use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;

use super::{Entry, Error, Etag, Object, Store, check_key, check_prefix};
use crate::digest::Digest;

/// A store that ends with the last of its clones.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    objects: Arc<Mutex<BTreeMap<String, (Bytes, SystemTime)>>>,
}

impl Memory {
    /// Gives a store with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, (Bytes, SystemTime)>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes if `allowed` says so of the version that is there now.
    fn write(&self, key: &str, bytes: Bytes, allowed: impl Fn(Option<Etag>) -> bool) -> Result<Option<Etag>, Error> {
        check_key(key)?;
        let mut objects = self.objects();
        if !allowed(objects.get(key).map(|(bytes, _)| etag(bytes))) {
            return Ok(None);
        }
        let etag = etag(&bytes);
        objects.insert(key.to_owned(), (bytes, SystemTime::now()));
        Ok(Some(etag))
    }
}

impl Store for Memory {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Option<Object>, Error> {
        check_key(key)?;
        let found = self.objects().get(key).cloned();
        Ok(found.map(|(bytes, modified)| match range {
            Some(range) => Object { bytes: part(&bytes, &range), etag: None, modified: Some(modified) },
            None => Object { etag: Some(etag(&bytes)), bytes, modified: Some(modified) },
        }))
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<Etag, Error> {
        let etag = etag(&bytes);
        self.write(key, bytes, |_| true)?;
        Ok(etag)
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Option<Etag>, Error> {
        self.write(key, bytes, |there| there.is_none())
    }

    async fn put_if_match(&self, key: &str, bytes: Bytes, etag: &Etag) -> Result<Option<Etag>, Error> {
        self.write(key, bytes, |there| there.as_ref() == Some(etag))
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, Error> {
        check_prefix(prefix)?;
        let start = Bound::Excluded(after.to_owned());
        let entry = |(key, (bytes, modified)): (&String, &(Bytes, SystemTime))| Entry {
            key: key.clone(),
            size: bytes.len() as u64,
            modified: *modified,
        };
        let objects = self.objects();
        let matching = objects.range((start, Bound::Unbounded)).filter(|(key, _)| key.starts_with(prefix));
        Ok(matching.take(limit).map(entry).collect())
    }

    async fn touch(&self, key: &str) -> Result<bool, Error> {
        check_key(key)?;
        let mut objects = self.objects();
        let found = objects.get_mut(key);
        Ok(found.map(|(_, modified)| *modified = SystemTime::now()).is_some())
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        check_key(key)?;
        self.objects().remove(key);
        Ok(())
    }
}

fn etag(bytes: &[u8]) -> Etag {
    Etag(Digest::of(bytes).to_string())
}

/// The bytes of a range that are there.
fn part(bytes: &Bytes, range: &Range<u64>) -> Bytes {
    let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(at(range.start)..at(range.end).max(at(range.start)))
}
