//! A real store in which time passes as a test says, and whose clock may differ from this machine's.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use warmstart_cache::store::{Entry, Error, Etag, Object, Store, list_all};

#[derive(Clone, Debug, Default)]
pub struct Aged<S> {
    pub inner: S,
    /// How much older an object is than the inner store says.
    pub ages: Arc<Mutex<HashMap<String, Duration>>>,
    /// How far the store's clock is behind.
    pub behind: Duration,
}

impl<S: Store> Aged<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, ages: Arc::default(), behind: Duration::ZERO }
    }

    /// Makes everything that is there older.
    pub async fn pass(&self, time: Duration) {
        for entry in list_all(&self.inner, "").await.expect("list") {
            *self.ages.lock().expect("lock").entry(entry.key).or_default() += time;
        }
    }

    pub async fn pass_hours(&self, hours: u64) {
        self.pass(Duration::from_hours(hours)).await;
    }

    fn time(&self, key: &str, modified: SystemTime) -> SystemTime {
        let age = self.ages.lock().expect("lock").get(key).copied().unwrap_or_default();
        modified - age - self.behind
    }

    fn renew(&self, key: &str) {
        self.ages.lock().expect("lock").remove(key);
    }
}

impl<S: Store> Store for Aged<S> {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Option<Object>, Error> {
        let object = self.inner.get(key, range).await?;
        Ok(object.map(|object| Object { modified: object.modified.map(|time| self.time(key, time)), ..object }))
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<Etag, Error> {
        self.renew(key);
        self.inner.put(key, bytes).await
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Option<Etag>, Error> {
        self.inner.put_if_absent(key, bytes).await
    }

    async fn put_if_match(&self, key: &str, bytes: Bytes, etag: &Etag) -> Result<Option<Etag>, Error> {
        self.inner.put_if_match(key, bytes, etag).await
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, Error> {
        let entries = self.inner.list(prefix, after, limit).await?.into_iter();
        Ok(entries.map(|entry| Entry { modified: self.time(&entry.key, entry.modified), ..entry }).collect())
    }

    async fn touch(&self, key: &str) -> Result<bool, Error> {
        self.renew(key);
        self.inner.touch(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.inner.delete(key).await?;
        self.renew(key);
        Ok(())
    }
}
