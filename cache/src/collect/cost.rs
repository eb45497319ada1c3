//! What an operation asks of the store.

use std::{
    ops::{Range, Sub},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use serde::Serialize;

use crate::store::{Entry, Error, Etag, Object, Store};

/// Requests to a store by kind; retries below it are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Listings, of up to 1,000 objects each.
    pub list: u64,
    /// Objects or parts of them.
    pub get: u64,
    /// Objects written or copied.
    pub put: u64,
    /// Objects removed.
    pub delete: u64,
    /// Bytes of what was read.
    pub bytes_read: u64,
}

impl Sub for Cost {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            list: self.list - earlier.list,
            get: self.get - earlier.get,
            put: self.put - earlier.put,
            delete: self.delete - earlier.delete,
            bytes_read: self.bytes_read - earlier.bytes_read,
        }
    }
}

/// A store that counts what it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Counted<S> {
    inner: S,
    cost: Arc<Mutex<Cost>>,
}

impl<S: Store> Counted<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, cost: Arc::default() }
    }

    pub(crate) fn cost(&self) -> Cost {
        *self.cost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, add: impl FnOnce(&mut Cost)) {
        add(&mut self.cost.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl<S: Store> Store for Counted<S> {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Option<Object>, Error> {
        self.count(|cost| cost.get += 1);
        let object = self.inner.get(key, range).await?;
        let bytes = object.as_ref().map_or(0, |object| object.bytes.len() as u64);
        self.count(|cost| cost.bytes_read += bytes);
        Ok(object)
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<Etag, Error> {
        self.count(|cost| cost.put += 1);
        self.inner.put(key, bytes).await
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Option<Etag>, Error> {
        self.count(|cost| cost.put += 1);
        self.inner.put_if_absent(key, bytes).await
    }

    async fn put_if_match(&self, key: &str, bytes: Bytes, etag: &Etag) -> Result<Option<Etag>, Error> {
        self.count(|cost| cost.put += 1);
        self.inner.put_if_match(key, bytes, etag).await
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, Error> {
        self.count(|cost| cost.list += 1);
        self.inner.list(prefix, after, limit).await
    }

    async fn touch(&self, key: &str) -> Result<bool, Error> {
        self.count(|cost| cost.put += 1);
        self.inner.touch(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.count(|cost| cost.delete += 1);
        self.inner.delete(key).await
    }
}
